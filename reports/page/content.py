"""What stands on a report's page, as plain values for its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accounting.cost.shares import POLICIES
from accounting.ledger.records import VERDICT_RULES
from accounting.words.names import PRUNE, is_method, label_rank, label_text, unit_text
from accounting.words.quantities import macs_short, macs_text
from reports.answers import no_verdict as one_route
from reports.answers.as_json import Fields
from reports.answers.no_verdict import missing_routes
from reports.answers.text import accuracy_sentence
from reports.answers.values import Measured
from reports.answers.whole import Line, WholeAnswer
from reports.compare.verdict import cheaper_route
from reports.data.frames import Frames
from reports.data.levels import with_level
from reports.page.ledger_content import audit_lines, balance_table, totals_table, work_line
from reports.page.optional_content import OPTIONAL_FIGURES, Section, optional_sections
from reports.page.optional_tables import further_table
from reports.page.page_table import PageTable
from reports.words.wording import POLICY_SHORT, number, number_over_interval, percent, percent_estimate, points_estimate

if TYPE_CHECKING:  # it imports Matplotlib
    from reports.page.render import Rendered


PLACED_FIGURES = frozenset({"anytime", "cost_by_phase", "accuracy_macs", "accuracy_per_hour"}) | OPTIONAL_FIGURES


@dataclass(frozen=True)
class PageContent:
    """What the template shows, by the names it uses; ``answer_json`` is what ``answer.json`` holds."""

    study: str
    dataset: str
    unit: str
    headline: str
    answers: list[Line]
    no_verdict: str
    state: str | None
    undelivered: tuple[str, ...]
    extended: str | None
    figures: dict[str, Rendered]
    further_figures: list[Rendered]
    accuracies: PageTable
    accuracy_sentences: list[str]
    networks: PageTable
    verdicts: PageTable
    further_verdicts: PageTable
    sections: list[Section]
    totals: PageTable
    work: str
    balances: PageTable
    audit: list[str]
    warnings: list[str]
    environment: PageTable
    answer_json: Fields


def page_content(whole: WholeAnswer, figures: Mapping[str, Rendered]) -> PageContent:
    """Everything that the page of a study shows."""
    frames, answers = whole.frames, whole.answers
    missing = missing_routes(frames.info)
    question = answers[0].question
    measured = [given for given in answers if isinstance(given, Measured)]
    return PageContent(
        study=frames.info.name,
        dataset=frames.info.dataset,
        unit=unit_text(frames.unit),
        headline=whole.headline,
        answers=whole.lines,
        no_verdict=f"The study has no {' and no '.join(missing)} route, so there is no verdict."
        if missing
        else "No target has networks from both routes yet, so there is no verdict.",
        state=_state(frames, measured),
        undelivered=frames.undelivered,
        extended=question.extended,
        figures=dict(figures),
        further_figures=[figure for name, figure in figures.items() if name not in PLACED_FIGURES],
        accuracies=_accuracy_table(measured, frames.num_classes),
        accuracy_sentences=[accuracy_sentence(given) for given in measured],
        networks=_network_table(frames),
        verdicts=_verdict_table(measured, frames.unit),
        further_verdicts=further_table(answers, frames.unit),
        sections=optional_sections(frames, figures),
        totals=totals_table(frames),
        work=work_line(frames),
        balances=balance_table(frames),
        audit=audit_lines(frames),
        warnings=list(frames.warnings),
        environment=_environment_table(frames),
        answer_json=whole.as_json(),
    )


def _state(frames: Frames, measured: Sequence[Measured]) -> str | None:
    """One line on what is missing; None for a complete study."""
    if missing_routes(frames.info):
        few = [macs_text(target) for target in one_route.unfinished(frames)]
        planned = frames.info.replicates
        return (
            f"This study is not complete: fewer networks than the {planned} planned at {', '.join(few)} MACs."
            if few
            else None
        )
    missing = [macs_text(t) for t in frames.info.targets if t not in {given.question.target for given in measured}]
    partial = [macs_text(given.question.target) for given in measured if not given.is_complete]
    parts = [f"no answer yet at {', '.join(missing)} MACs"] if missing else []
    parts += [f"fewer replicates than the {frames.info.replicates} planned at {', '.join(partial)} MACs"] * bool(
        partial
    )
    return f"This study is not complete: {'; '.join(parts)}." if parts else None


def _accuracy_table(measured: Sequence[Measured], classes: int | None) -> PageTable:
    rows = []
    for given in measured:
        difference = points_estimate(given.headline.difference)
        for label in sorted(filter(_is_listed, given.accuracy), key=label_rank):
            both = given.accuracy[label]
            cells = [macs_text(given.question.target), label_text(label)]
            cells += [with_level(percent_estimate(top1), top1, classes) for top1 in (both.test_top1, both.val_top1)]
            rows.append([*cells, difference if label == PRUNE else ""])
    headers = ["target (MACs)", "networks", "test top-1", "val top-1", "prune − search, test top-1"]
    return PageTable(headers, rows, text_columns=(1,))


def _network_table(frames: Frames) -> PageTable:
    unit = unit_text(frames.unit)
    rows = [
        [
            macs_text(n.target),
            label_text(n.label),
            str(n.replicate),
            *(with_level(percent(top1), top1, frames.num_classes) for top1 in (n.val_top1, n.test_top1)),
        ]
        + [_count(n.macs), f"{_count(n.nonzero_params)} / {_count(n.params)}"]
        + [number(n.cost_h[policy]) for policy in POLICIES]
        + [_per_hour(n.top1_per_hour())]
        for n in sorted(frames.delivered, key=lambda n: (n.target, label_rank(n.label), n.replicate))
        if _is_listed(n.label)
    ]
    headers = [
        "target (MACs)",
        "network",
        "repli\u00adcate",
        "val top-1",
        "test top-1",
        "MACs",
        "non-zero / all params",
    ]
    headers += [f"{unit}, {POLICY_SHORT[policy]}" for policy in POLICIES]
    headers += [f"test % per {unit[:-1]}"]
    return PageTable(headers, rows, text_columns=(1,))


def _verdict_table(measured: Sequence[Measured], unit: str) -> PageTable:
    rows = []
    for given in measured:
        for policy, costs in given.headline.by_policy.items():
            totals = (costs.total[route] for route in (costs.challenger, PRUNE))
            cells = map(number_over_interval, [costs.cost_ratio, *totals, costs.total_cost_ratio])
            verdict = cheaper_route(costs.verdict, costs.challenger).replace("_", " ")
            start = [macs_text(given.question.target), POLICY_SHORT[policy], verdict]
            rows.append([*start, *cells, str(given.headline.n)])
    headers = ["target (MACs)", "charge policy", "cheaper", "search / prune, to equal accuracy"]
    headers += [f"search, total {unit_text(unit)}", f"prune, total {unit_text(unit)}", "search / prune, total", "n"]
    return PageTable(headers, rows, text_columns=(1, 2))


def _environment_table(frames: Frames) -> PageTable:
    """The environment of the study, nested keys joined with dots; then devices and the versions of the rules."""
    rows = [[key, value] for key, value in _flat("", frames.environment)]
    devices = {(d.name or d.device, d.device_kind, d.node) for s in frames.view.sessions for d in s.capacity}
    rows += [["device", f"{name} ({kind}) on node {node}"] for name, kind, node in sorted(devices)]
    rows += [["cost rules", frames.cost_rules], ["verdict rules", str(VERDICT_RULES)]]
    return PageTable(["", ""], rows, text_columns=(0, 1))


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            pair for key, inner in value.items() for pair in _flat(f"{prefix}.{key}" if prefix else str(key), inner)
        ]
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]


def _is_listed(label: str) -> bool:
    """Whether a kind of network stands in the page's main tables; single methods have a table of their own."""
    return not is_method(label)


def _count(value: int | None) -> str:
    return "–" if value is None else macs_short(value)


def _per_hour(value: float | None) -> str:
    return number(None if value is None else 100 * value)
