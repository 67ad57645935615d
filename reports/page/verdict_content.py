"""The verdict of every contender at every target as one table, and how to read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accounting.cost.shares import HEADLINE_POLICY, POLICIES
from accounting.words.names import PRUNE, label_text, unit_text
from accounting.words.quantities import macs_text
from accounting.words.task import task
from reports.answers.study import JudgedStudy
from reports.answers.values import Comparison, Measured
from reports.answers.verdict_words import interval_text, provisional_text, verdict_text
from reports.compare.guards import Obstacle
from reports.compare.rule import ALPHA, TIE_FACTOR
from reports.compare.values import CostComparison
from reports.page.marks import Mark, mark_of
from reports.page.page_table import PageTable
from reports.sentences.levels import with_level
from reports.statistics import Estimate, mean_interval
from reports.words.wording import (
    NOT_MEASURED,
    POLICY_SHORT,
    number_over_interval,
    percent_over_interval,
    with_range,
)

REFERENCE = "what the others are compared with"


def contender_table(study: JudgedStudy, measured: Sequence[Measured]) -> PageTable:
    """One row per contender and target, the cheapest first within a target; pruning is the reference."""
    rows: list[list[str]] = []
    marks: list[Mark] = []
    unit = unit_text(study.frames.unit)
    for given in measured:
        of_target = [_reference(study, given), *(_row(study, given, one) for one in (given.headline, *given.further))]
        for _, label, cells in sorted(of_target, key=lambda row: row[0]):
            rows.append([macs_text(given.question.target), label_text(label), *cells])
            marks.append(mark_of(label, _route(study, label, given.question.target)))
    headers = [
        "target (MACs)",
        "contender",
        f"{unit} to reach a*",
        "× pruning’s cost",
        f"test {task().metric}",
        "reached a*",
    ]
    return PageTable([*headers, "verdict"], rows, text_columns=(1, 6), marks=marks, mark_column=1)


def policy_table(measured: Sequence[Measured], unit: str) -> PageTable:
    """One row per target, contender and charge policy: ratio, verdict and totals."""
    rows = [
        [macs_text(given.question.target), label_text(one.challenger), POLICY_SHORT[policy]]
        + [number_over_interval(estimate) for estimate in _estimates(one.by_policy[policy])]
        + [_verdict(one.by_policy[policy], one.challenger), str(one.n)]
        for given in measured
        for one in (given.headline, *given.further)
        for policy in POLICIES
    ]
    headers = ["target (MACs)", "contender", "charge policy", "× pruning’s cost to a*", f"its total {unit_text(unit)}"]
    headers += [f"pruning’s total {unit_text(unit)}", "× pruning’s total", "verdict", "n"]
    return PageTable(headers, rows, text_columns=(1, 2, 7))


def parts_table(measured: Sequence[Measured], unit: str) -> PageTable:
    """The parts of each contender's cost to a*: the parent's pretraining, other shared work, the cost of one more target."""
    rows, marks = [], []
    for given in measured:
        for parts in given.pays.parts if given.pays is not None else ():
            if parts.total.value is not None:
                each = (parts.pretraining, parts.shared, parts.own, parts.total)
                cells = [with_range(one) for one in each]
                rows.append([macs_text(given.question.target), label_text(parts.label), *cells, str(parts.total.n)])
                marks.append(mark_of(parts.label))
    is_declared = any(given.question.declared is not None for given in measured)
    parent = "parent, as declared" if is_declared else "parent’s pretraining"
    headers = ["target (MACs)", "contender", parent, "other shared work", "this target’s own"]
    headers += [f"{unit_text(unit)} to a*", "n"]
    return PageTable(headers, rows, text_columns=(1,), marks=marks, mark_column=1)


def how_to_read(measured: Sequence[Measured]) -> list[str]:
    """How to read the table: one or two sentences on each of its parts."""
    levels = sorted({one.by_policy[HEADLINE_POLICY].alpha for g in measured for one in (g.headline, *g.further)})
    lines = [
        f"a* is one {task().quality} for all contenders of a target: what the networks of both routes of the "
        "headline reach. Cost to "
        "reach a* is the mean of what was charged until a network within the target’s MACs first had it, over the "
        "replicates that did; what was spent where it was not reached is in the ratio, as a lower bound.",
        "× pruning’s cost is the geometric mean, paired by replicate, of the contender’s cost over pruning’s: 2 means twice "
        "as expensive as pruning, 0.5 half as expensive. Its interval is below it.",
    ]
    if levels and levels[0] < ALPHA:
        said = ", ".join(
            dict.fromkeys(interval_text(level).partition(" ")[0] + " %" for level in (levels[0], levels[-1]))
        )
        lines.append(
            "Several contenders, targets or looks share one error of 5 %, so intervals are wider than 95 % "
            f"({said}): verdict and interval agree."
        )
    lines += [
        "A verdict names the cheaper one where the interval excludes 1 and the ratio is more than 5 % from 1, and says "
        f"“by more than {TIE_FACTOR}×” where the interval excludes that, too. Each row compares with pruning alone. The "
        "headline and the sentences below say which contender is the cheapest of all: it is called so only where it is "
        "shown to be cheaper than each other one, at the levels of these rows.",
        f"Test {task().metric} was read once for each delivered network: mean over replicates with its 95 % interval.",
    ]
    return lines


def _reference(study: JudgedStudy, given: Measured) -> tuple[float, str, list[str]]:
    """The row of the base: pruning, by its first method if there are several."""
    label, costs = study.contenders.pair[0], given.headline.headline
    cost = costs.to_quality[PRUNE]
    cells = [_cost(cost), "1", _top1(study, given, label), _reached(costs, PRUNE), REFERENCE]
    return _rank(cost), label, cells


def _row(study: JudgedStudy, given: Measured, one: Comparison) -> tuple[float, str, list[str]]:
    costs, label = one.headline, one.challenger
    cost = costs.to_quality[label]
    ratio = NOT_MEASURED if costs.guarded is not None else number_over_interval(costs.cost_ratio)
    cells = [_cost(cost), ratio, _top1(study, given, label), _reached(costs, label)]
    few = provisional_text(one.n, given.question.replicates)
    return _rank(cost), label, [*cells, f"{_verdict(costs, label)}{few}"]


def _verdict(costs: CostComparison, label: str) -> str:
    if costs.guarded is not None and costs.guarded.obstacle is Obstacle.NOT_REACHED and not costs.instead:
        who = {0: ": pruning", 1: ""}.get(costs.guarded.place or 0, "")
        return f"not reached{who} ({costs.guarded.limit:.0f} replicates are needed)"
    said = verdict_text(costs, label).removeprefix(f"{label_text(label)} is ").replace(" for which is cheaper", "")
    if costs.instead:
        named = " and ".join(label_text(one.label) for one in costs.instead)
        said += f": {named} {'is' if len(costs.instead) == 1 else 'are'} {task().as_good} and cheaper"
    return said


def _cost(cost: Estimate) -> str:
    return NOT_MEASURED if cost.value is None else number_over_interval(cost)


def _top1(study: JudgedStudy, given: Measured, label: str) -> str:
    found = _test_top1(study, label, given.question.target)
    return with_level(percent_over_interval(found), found, study.frames.num_classes)


def _test_top1(study: JudgedStudy, label: str, target: int) -> Estimate:
    contender = study.contender(label, target)
    networks = {} if contender is None else study.contenders.delivered(contender, target)
    values = [network.test_top1 for network in networks.values() if network.test_top1 is not None]
    return mean_interval(values, at_least=0.0, at_most=1.0)


def _reached(costs: CostComparison, label: str) -> str:
    return f"{costs.num_reached[label]} of {costs.num_entered[label]}"


def _rank(cost: Estimate) -> float:
    return float("inf") if cost.value is None else cost.value


def _route(study: JudgedStudy, label: str, target: int) -> str | None:
    contender = study.contender(label, target)
    return None if contender is None else contender.route


def _estimates(costs: CostComparison) -> Iterator[Estimate]:
    yield costs.cost_ratio
    yield costs.total[costs.challenger]
    yield costs.total[PRUNE]
    yield costs.total_cost_ratio
