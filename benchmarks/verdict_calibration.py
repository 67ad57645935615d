"""How often the verdict is right, by the product's rules and those of version 1, on studies with a known true ratio.

    nice python -m benchmarks.verdict_calibration --studies 2000 --out benchmarks/results/verdict_calibration.csv

The true ratio of a scenario is that of the costs to reach the population's a* (the lower of the two routes' median
final accuracies over 20,000 replicates without noise, minus the margin), as a geometric mean over replicates, on curves
that are straight within an epoch, since nothing is measured there. The price of search is then set so that the ratio is
that of the cell. In ``covers_within_epochs``, it is read from curves with 40 points per epoch. There is one row per
scenario, number of replicates, true ratio and rules: coverage and bias of the ratio among studies that give an
interval, and the share of each verdict. A true ratio of 1 gets more studies. The benchmark counts studies and times
nothing.
"""

from __future__ import annotations

import argparse
import csv
import math
import platform
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy
from scipy import stats

from accounting.ledger.records import VERDICT_RULES
from benchmarks import verdict_rules_1
from benchmarks.simulated_studies import FINE, NUM_CLASSES, Route, Scenario, Studies, simulated
from reports.compare.field import AtTarget, judge_field
from reports.compare.judge import Effort, Judged, judge, judge_pooled
from reports.compare.log_ratio import log_ratio
from reports.compare.reach import SLOPE_STEP, Floats, common_level, slope_of, sway_of
from reports.compare.rule import ALPHA, SHOWN, Decision, look_alpha

MARGIN = 0.01
POPULATION = 20_000
REPLICATES = (2, 3, 5, 10)
RATIOS = (0.5, 0.7, 1.0, 1.25, 1.5, 2.0, 4.0)
MORE_WHERE_EQUAL = 5
FIRST_PLANNED = 3
SCENARIOS = (
    Scenario("full"),
    Scenario("free", is_parent_free=True),
    Scenario("mild", is_parent_free=True, pruned_top1=0.82),
    Scenario("compete", candidate_epochs=6, candidate_gap=0.0),
    Scenario("plateau", finetune_epochs=12),
    Scenario("budget", budget=1.1),
    Scenario("targets", num_targets=3),
    Scenario("looks"),
    Scenario("collapsed", collapse=1.0),
    Scenario("collapses_at_times", collapse=0.15),
)
LOOKS = "looks"
MOST_AT_ONCE = 1000
REFUSED = ("not_reached", "not_comparable")


COUNTED = (
    "num_intervals", "num_covering", "num_covering_within", "sum_of_logs", "num_false_anywhere", "num_reaching",
    "num_refused_reaching",
)  # fmt: skip


@dataclass
class Tally:
    """The outcomes of one cell's studies under one version of the rules."""

    rules: int
    truth: float
    truth_within: float
    verdicts: Counter[str] = field(default_factory=Counter)
    num_intervals: int = 0
    num_covering: int = 0
    num_covering_within: int = 0
    sum_of_logs: float = 0.0
    num_false_anywhere: int = 0
    num_reaching: int = 0
    num_refused_reaching: int = 0

    def add(self, verdict: str, mean: float, low: float, high: float) -> None:
        """Add one study; the mean and bounds are logarithms, NaN if there is no interval."""
        self.verdicts[verdict] += 1
        if not math.isnan(low):
            self.num_intervals += 1
            self.num_covering += low <= math.log(self.truth) <= high
            self.num_covering_within += low <= math.log(self.truth_within) <= high
            self.sum_of_logs += mean - math.log(self.truth)

    def join(self, other: Tally) -> None:
        """Add the studies of another tally."""
        self.verdicts += other.verdicts
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def reached(self, verdict: str) -> None:
        """Count one study in which both routes reached a* in every replicate."""
        self.num_reaching += 1
        self.num_refused_reaching += verdict in REFUSED

    def is_false(self, verdict: str) -> bool:
        """Whether a verdict is false; at a true ratio of 1, any winner is."""
        wrong = {v.value for v in SHOWN}
        if self.truth != 1:
            wrong = {"challenger" if self.truth > 1 else "base"}
        return verdict in wrong

    def row(self) -> dict[str, object]:
        """The columns of this tally in the table."""
        num = sum(self.verdicts.values())
        false = sum(count for verdict, count in self.verdicts.items() if self.is_false(verdict))
        right = sum(self.verdicts[v.value] for v in SHOWN) - false if self.truth != 1 else 0
        refused = sum(self.verdicts[verdict] for verdict in REFUSED)
        return {
            "rules": self.rules,
            "studies": num,
            "coverage": _share(self.num_covering, self.num_intervals),
            "covers_within_epochs": _share(self.num_covering_within, self.num_intervals),
            "bias": round(math.exp(self.sum_of_logs / self.num_intervals), 3) if self.num_intervals else "",
            "shown_rightly": _share(right, num) if self.truth != 1 else "",
            "shown_falsely": _share(false, num),
            "shown_falsely_at_most": round(upper_bound(false, num), 4),
            "false_at_any_target": _share(self.num_false_anywhere, num) if self.num_false_anywhere else "",
            "tie": _share(self.verdicts["tie"], num),
            "insufficient_evidence": _share(self.verdicts["insufficient_evidence"], num),
            "not_reached": _share(self.verdicts["not_reached"], num),
            "not_comparable": _share(self.verdicts["not_comparable"], num),
            "refused": _share(refused, num),
            "all_reached": _share(self.num_reaching, num) if self.num_reaching else "",
            "refused_where_all_reached": _share(self.num_refused_reaching, self.num_reaching),
        }


def upper_bound(count: int, num: int) -> float:
    """One-sided 95 % upper bound of a proportion (Clopper and Pearson)."""
    return float(stats.beta.ppf(0.95, count + 1, num - count)) if count < num else 1.0


def true_ratio(scenario: Scenario, seed: int, per_epoch: int = 1) -> float:
    """Search / pruning costs at the population's a*, a geometric mean over replicates (and targets, if several)."""
    whole = replace(scenario, budget=np.inf, collapse=0.0)
    studies = simulated(whole, 1, POPULATION, np.random.default_rng(seed), is_true=True, per_epoch=per_epoch)
    logs = []
    for prune, search in zip(studies.prune, studies.search, strict=True):
        level = common_level([prune.steps.final()[0], search.steps.final()[0]], MARGIN)
        assert level is not None
        sides = [
            part for route in (search, prune) for part in (route.steps.cost_near(level, MARGIN)[0], route.spent[0])
        ]
        logs.append(log_ratio(*sides).mean or 0.0)
    return math.exp(math.fsum(logs) / len(logs))


def efforts(route: Route, levels: Floats) -> Callable[[int, int, Floats], Effort]:
    """A function (study, n, sway) → what the route showed and spent in the first ``n`` replicates of that study."""
    finals, near = route.steps.final(), route.steps.cost_near
    costs = near(levels[:, None], MARGIN)
    slopes = slope_of(*(near(levels[:, None] + step, MARGIN) for step in (-SLOPE_STEP, SLOPE_STEP)))
    finals = np.where(route.delivered, finals, np.nan)
    return lambda study, n, sway: Effort(
        finals[study, :n], costs[study, :n], route.spent[study, :n], slopes[study, :n], sway
    )


def finals_of(routes: Sequence[Route], n: int) -> list[Floats]:
    """Final accuracies of each route, shape (studies, n); NaN where it delivered nothing."""
    return [np.where(route.delivered, route.steps.final(), np.nan)[:, :n] for route in routes]


def levels_of(routes: Sequence[Route], n: int) -> Floats:
    """The level a* of each study from its first ``n`` replicates; NaN if it has none."""
    finals = finals_of(routes, n)
    found = [common_level([of_one[study] for of_one in finals], MARGIN) for study in range(len(finals[0]))]
    return np.array([math.nan if level is None else level for level in found])


def present(studies: Studies, n: int, alpha: float = ALPHA) -> Iterator[tuple[Judged, list[Judged], bool]]:
    """The product's judgement of each study from its first ``n`` replicates: the headline, and each target's.

    The third item says whether both routes reached a* in every replicate at every target.
    """
    pairs = []
    for prune, search in zip(studies.prune, studies.search, strict=True):
        levels = levels_of([prune, search], n)
        pairs.append((levels, finals_of([prune, search], n), efforts(prune, levels), efforts(search, levels)))
    for study in range(len(studies.prune[0].spent)):
        at = [None if math.isnan(levels[study]) else float(levels[study]) for levels, *_ in pairs]
        both = []
        for _, finals, base, challenger in pairs:
            sway = sway_of([of_one[study] for of_one in finals])
            both.append((base(study, n, sway), challenger(study, n, sway)))
        judged = judge(both, at, alpha=alpha, num_classes=NUM_CLASSES)
        whole = judge_pooled(judged, alpha)
        assert whole is not None
        yield whole, judged, all(one.num_reached == n for pair in both for one in pair)


def bounds(found: Judged) -> tuple[float, float, float]:
    """Mean and bounds of a judgement's ratio, as logarithms; NaN if it is refused or has none."""
    decision: Decision = found.decision
    if found.guarded is not None or decision.low is None or decision.high is None or found.ratio.mean is None:
        return math.nan, math.nan, math.nan
    return found.ratio.mean, math.log(decision.low), math.log(decision.high)


def planned_cell(studies: Studies, n: int, truth: tuple[float, float]) -> tuple[Tally, Tally]:
    """Tallies of studies that end when planned, under the present rules and version 1."""
    new, old = Tally(VERDICT_RULES, *truth), Tally(1, *truth)
    for whole, judged, all_reached in present(studies, n):
        new.add(whole.verdict.value, *bounds(whole))
        if all_reached:
            new.reached(whole.verdict.value)
        new.num_false_anywhere += len(judged) > 1 and any(new.is_false(found.verdict.value) for found in judged)
    by_target = [
        verdict_rules_1.log_ratios(prune, search)[:, :n]
        for prune, search in zip(studies.prune, studies.search, strict=True)
    ]
    each = [verdict_rules_1.judged(logs)[3] for logs in by_target]
    mean, low, high, verdicts = verdict_rules_1.judged(np.mean(by_target, axis=0))
    for place, verdict in enumerate(verdicts):
        old.add(verdict, mean[place], low[place], high[place])
        old.num_false_anywhere += len(each) > 1 and any(old.is_false(of_one[place]) for of_one in each)
    return new, old


def looked_at_cell(studies: Studies, n: int, truth: tuple[float, float]) -> tuple[Tally, Tally]:
    """Tallies of three-replicate studies, extended by one up to ``n`` until a route is shown to be cheaper."""
    first = min(FIRST_PLANNED, n)
    new, old = Tally(VERDICT_RULES, *truth), Tally(1, *truth)
    at_n = [list(present(studies, many, look_alpha(many - first))) for many in range(first, n + 1)]
    logs = verdict_rules_1.log_ratios(studies.prune[0], studies.search[0])
    before = [verdict_rules_1.judged(logs[:, :many]) for many in range(first, n + 1)]
    for study in range(len(logs)):
        whole = next((found[study][0] for found in at_n if found[study][0].verdict in SHOWN), at_n[-1][study][0])
        new.add(whole.verdict.value, *bounds(whole))
        mean, low, high, verdicts = next((b for b in before if b[3][study] in ("base", "challenger")), before[-1])
        old.add(verdicts[study], mean[study], low[study], high[study])
    return new, old


def cells(
    num_studies: int, replicates: Sequence[int], ratios: Sequence[float], seed: int = 0
) -> Iterator[dict[str, object]]:
    """One row per scenario, number of replicates, true ratio and version of the rules."""
    for scenario in SCENARIOS:
        place = zlib.crc32(scenario.name.encode())
        own, within = true_ratio(scenario, seed), true_ratio(scenario, seed, FINE)
        for truth in ratios:
            rng = np.random.default_rng([seed, place, round(1000 * truth)])
            cell = looked_at_cell if scenario.name == LOOKS else planned_cell
            both = {n: [Tally(rules, truth, truth * within / own) for rules in (VERDICT_RULES, 1)] for n in replicates}
            for many in _batches(num_studies * (MORE_WHERE_EQUAL if truth == 1 else 1)):
                studies = priced(simulated(scenario, many, max(replicates), rng), truth / own)
                for n, tallies in both.items():
                    for tally, found in zip(tallies, cell(studies, n, (truth, truth * within / own)), strict=True):
                        tally.join(found)
            for n, tallies in both.items():
                for tally in tallies:
                    yield {"scenario": scenario.name, "n": n, "true_ratio": truth, **tally.row()}


def _batches(num: int) -> Iterator[int]:
    """Batch sizes that add up to ``num`` and whose arrays fit in memory."""
    while num > 0:
        yield min(num, MOST_AT_ONCE)
        num -= MOST_AT_ONCE


def priced(studies: Studies, factor: float) -> Studies:
    """The same studies with the costs of search multiplied by ``factor``."""
    return replace(studies, search=[route.scaled(factor) for route in studies.search])


def contender_cells(num_studies: int, replicates: Sequence[int], seed: int = 0) -> Iterator[dict[str, object]]:
    """Three and five contenders of equal cost: how often any is called the cheapest, or a control `neither`."""
    scenario = Scenario("contenders")
    own = true_ratio(scenario, seed)
    for num_direct in (1, 3):
        rng = np.random.default_rng([seed, num_direct])
        studies = priced(simulated(scenario, num_studies, max(replicates), rng, num_direct=num_direct), 1 / own)
        studies = replace(studies, direct=[route.scaled(_same_price(studies, route)) for route in studies.direct])
        for n in replicates:
            yield {"scenario": f"contenders_{num_direct + 2}", "n": n, "true_ratio": 1.0, **_claims(studies, n)}


def _same_price(studies: Studies, route: Route) -> float:
    """The factor that makes a contender cost as much as pruning (geometric mean over all replicates and studies)."""
    levels = levels_of([studies.prune[0], studies.search[0]], studies.prune[0].spent.shape[1])[:, None]
    costs = [found.steps.cost_of(levels) for found in (studies.prune[0], route)]
    both = np.isfinite(costs[0]) & np.isfinite(costs[1])
    return float(np.exp(np.mean(np.log(costs[0][both]) - np.log(costs[1][both]))))


def _claims(studies: Studies, n: int) -> dict[str, object]:
    levels = levels_of([studies.prune[0], studies.search[0]], n)
    routes = {"prune": studies.prune[0], "search": studies.search[0]}
    routes |= {f"direct_{place}": route for place, route in enumerate(studies.direct)}
    given = {label: efforts(route, levels) for label, route in routes.items()}
    controls = [label for label in routes if label.startswith("direct")]
    false = neither = false_rows = 0
    finals = finals_of([routes["prune"], routes["search"]], n)
    for study in np.flatnonzero(~np.isnan(levels)):
        sway = sway_of([of_one[study] for of_one in finals])
        of_all = {label: effort(int(study), n, sway) for label, effort in given.items()}
        level = float(levels[study])
        headline = judge([(of_all["prune"], of_all["search"])], [level], num_classes=NUM_CLASSES)[0]
        at = AtTarget(of_all, level, headline, controls)
        found = judge_field([at], ("prune", "search"), MARGIN, num_classes=NUM_CLASSES)[0]
        is_neither, is_shown = bool(found.instead), found.cheapest is not None and found.cheapest.is_shown
        false_rows += any(one.verdict in SHOWN for one in found.rows.values())
        false += is_neither or is_shown
        neither += is_neither
    num = len(levels)
    return {
        "rules": VERDICT_RULES,
        "studies": num,
        "shown_falsely": _share(false, num),
        "shown_falsely_at_most": round(upper_bound(false, num), 4),
        "neither": _share(neither, num),
        "any_row_false": _share(false_rows, num),
    }


def _share(count: int, num: int) -> float | str:
    return round(count / num, 4) if num else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    rows = [*cells(given.studies, REPLICATES, RATIOS), *contender_cells(given.studies, REPLICATES)]
    versions = {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__}
    names = list(dict.fromkeys([*(name for row in rows for name in row), *versions]))
    with given.out.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, **versions} for row in rows)
    sys.stdout.write(f"{len(rows)} rows in {given.out}\n")


if __name__ == "__main__":
    main()
