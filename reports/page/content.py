"""The content of a report's page, as plain values for its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from accounting.cost.shares import POLICIES
from accounting.study.facts import REHEARSAL
from accounting.words.json_values import Fields, changed_text
from accounting.words.names import PRUNE, is_method, label_rank, label_text, unit_text
from accounting.words.quantities import macs_short, macs_text
from accounting.words.task import task
from reports.answers.pays_text import at_target, break_even_sentences, declared_sentence
from reports.answers.refusal_text import unjudged_text
from reports.answers.text import accuracy_sentence
from reports.answers.values import Measured
from reports.answers.whole import WholeAnswer
from reports.data.frames import Frames
from reports.data.networks import Network
from reports.measure.kinds import missing_routes
from reports.page.compared import compared_table
from reports.page.ledger_content import audit_lines, balance_table, totals_table, work_line
from reports.page.marks import mark_of
from reports.page.method_lines import METHOD
from reports.page.optional_content import OPTIONAL_FIGURES, optional_sections
from reports.page.page_table import PageTable
from reports.page.provenance import provenance
from reports.page.section import Captioned, Section
from reports.page.verdict_content import contender_table, how_to_read, parts_table, policy_table
from reports.sentences.caveats import caveat_sentences
from reports.sentences.growth import changes_sentences
from reports.sentences.levels import level_sentences, with_level
from reports.sentences.standing import standing_sentences
from reports.sentences.undelivered import undelivered_sentence
from reports.words.wording import POLICY_SHORT, number, percent, percent_estimate, points_estimate

if TYPE_CHECKING:  # imports Matplotlib
    from reports.page.render import Rendered

REACH, RATIO, SPENT, SIZE, PER_HOUR = (
    "Cost to reach each {quality}", "What the ratio depends on", "Where the cost went", "{Quality} against MACs",
    "{Quality} per device-hour",
)  # fmt: skip
PLACES = {
    REACH: ("anytime",),
    RATIO: ("ratio_by_accuracy", "ratio_by_target", "break_even"),
    SPENT: ("cost_by_phase", "planned_actual", "schedule"),
    SIZE: ("accuracy_macs",),
    PER_HOUR: ("accuracy_per_hour",),
}
"""Headings in the order of the page, with the figures below each."""
PLACED_FIGURES = frozenset(name for names in PLACES.values() for name in names) | OPTIONAL_FIGURES
REHEARSED, COMPARED, VERDICT, NETWORKS, COUNTED = (
    "What the rehearsal changed", "What was compared", "Verdict", "Delivered networks", "How cost was counted",
)  # fmt: skip

LEDGER_ALONE = "The parent's declared cost is in no figure here: these are the ledger's own."


@dataclass(frozen=True)
class PageContent:
    """What the template shows, under the names that it uses; ``answer_json`` is the content of ``answer.json``."""

    study: str
    dataset: str
    unit: str
    headline: str
    warnings: Sequence[str]
    sections: Sequence[Section]
    answer_json: Fields


def page_content(whole: WholeAnswer, figures: Mapping[str, Rendered], left_out: Sequence[str] = ()) -> PageContent:
    """Everything that a study's page shows; ``left_out``: sentences about files that it could not use."""
    frames, answers = whole.frames, whole.answers
    measured = [given for given in answers if isinstance(given, Measured)]
    rehearsal = "" if frames.info.rehearsal is None else REHEARSAL.capitalize()
    undelivered = [undelivered_sentence(left, frames.unit) for left in frames.undelivered]
    grown = changes_sentences(answers[0].question.growth, answers[0].question.extensions)
    standing = standing_sentences(frames.audit.standing)
    state = [text for text in (rehearsal, *standing, _state(whole, measured), *undelivered, *grown) if text]
    placed = {
        title: Section(task().fill(title), [figures[name] for name in names if name in figures])
        for title, names in PLACES.items()
    }
    declared = frames.info.declared_parent
    if declared is not None:
        placed[REACH] = replace(placed[REACH], lines=[declared_sentence(declared)])
        for title in (SPENT, PER_HOUR):
            placed[title] = replace(placed[title], lines=[LEDGER_ALONE])
    changes = [changed_text(change) for change in frames.info.rehearsal or ()]
    sections = [
        Section(REHEARSED, lines=changes),
        Section(COMPARED, tables=[Captioned(compared_table(whole.study, measured))]),
        _verdict(whole, measured),
        placed[REACH],
        _ratio(placed[RATIO], whole, measured),
        placed[SPENT],
        _size(placed[SIZE], frames, measured),
        placed[PER_HOUR],
        _networks(frames),
        *optional_sections(frames, figures),
        *(Section(figure.title, [figure]) for name, figure in figures.items() if name not in PLACED_FIGURES),
        _counted(frames, left_out),
        provenance(frames),
    ]
    return PageContent(
        study=frames.info.name,
        dataset=frames.info.dataset,
        unit=unit_text(frames.unit),
        headline=whole.short,
        warnings=state,
        sections=[section for section in sections if not section.is_empty],
        answer_json=whole.as_json(),
    )


def _verdict(whole: WholeAnswer, measured: Sequence[Measured]) -> Section:
    frames = whole.frames
    if not measured:
        missing = missing_routes(frames.info)
        reason = (
            f"This is a {REHEARSAL}, so there is no verdict."
            if frames.info.rehearsal is not None
            else f"There is no verdict: {unjudged_text(whole.study.unjudged)}."
            if whole.study.unjudged is not None
            else f"The study has no {' and no '.join(missing)} route, so there is no verdict."
            if missing
            else "No target has networks from both routes yet, so there is no verdict."
        )
        return Section(VERDICT, lines=whole.sentences, warnings=[reason])
    at_declared = "" if frames.info.declared_parent is None else " (the parent at its declared cost)"
    caption = (
        f"Each contender at each target, all work charged{at_declared}, the cheapest first; ratios above 1: pruning is "
        "cheaper."
    )
    by_policy = Captioned(
        policy_table(measured, frames.unit),
        "The same under each charge policy, with what everything cost in the end. Ratios are geometric means.",
        "Under other charge policies",
    )
    return Section(
        VERDICT,
        warnings=level_sentences(frames.delivered, frames.num_classes),
        tables=[Captioned(contender_table(whole.study, measured), caption), by_policy],
        folds=[("How to read this", how_to_read(measured)), ("In full sentences", whole.sentences)],
    )


def _ratio(section: Section, whole: WholeAnswer, measured: Sequence[Measured]) -> Section:
    """The section on cost ratios: figures, who pays for what, and break-evens in words."""
    frames = whole.frames
    table = Captioned(
        parts_table(measured, frames.unit),
        "What each contender had been charged when it reached a*: means over the replicates that did, all work charged.",
        "Who pays for what: each contender’s cost in parts",
    )
    lines = [
        text
        for given in measured
        if given.pays is not None and (against := given.pays.against.get(given.headline.challenger)) is not None
        for text in break_even_sentences(against, frames.unit, given.pays.parent_h, at_target(given.question.target))
    ]
    said = [line.sentence for line in whole.pays_lines]
    folds = [("Break-even at each target", lines)] if lines else []
    return Section(section.title, section.figures, [table] if table.table.rows else [], said, folds)


def _size(section: Section, frames: Frames, measured: Sequence[Measured]) -> Section:
    table = Captioned(
        _accuracy_table(measured, frames.num_classes),
        "Mean ± one standard deviation over replicates; the difference is paired by replicate, with its 95 % interval.",
        f"{task().qualities.capitalize()} on validation and test",
    )
    lines = [accuracy_sentence(given) for given in measured]
    return Section(section.title, section.figures, [table] if table.table.rows else [], lines)


def _networks(frames: Frames) -> Section:
    table = _network_table(frames)
    if not table.rows:
        return Section(NETWORKS, warnings=["No network has been delivered yet."])
    caption = (
        "MACs count each layer's multiply-accumulates times its share of non-zero weights. Work that serves several "
        "networks is in the cost of each, so costs do not add up. Each network is in "
        "models/<target>/<network>/<replicate> of the study."
    )
    lines = [] if frames.info.declared_parent is None else [LEDGER_ALONE]
    return Section(NETWORKS, tables=[Captioned(table, caption, f"Each of the {len(table.rows)} networks")], lines=lines)


def _counted(frames: Frames, left_out: Sequence[str]) -> Section:
    audit = audit_lines(frames)
    tables = [Captioned(totals_table(frames), "What all sessions together held.")]
    balances = balance_table(frames)
    if balances.rows:
        tables.append(Captioned(balances, "Per session and device.", "By session and device"))
    return Section(
        COUNTED,
        tables=tables,
        lines=[*map(task().fill, METHOD), work_line(frames), f"Audit. {audit[0]}", *audit[1:]],
        warnings=(*caveat_sentences(frames.caveats), *left_out),
    )


def _state(whole: WholeAnswer, measured: Sequence[Measured]) -> str | None:
    """A line that says what is missing; None for a complete study."""
    frames = whole.frames
    if missing_routes(frames.info):
        few = [macs_text(target) for target in whole.alone.unfinished]
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
    rows, marks = [], []
    for given in measured:
        difference = points_estimate(given.headline.difference)
        for label in sorted(filter(_is_listed, given.accuracy), key=label_rank):
            both = given.accuracy[label]
            cells = [macs_text(given.question.target), label_text(label)]
            cells += [with_level(percent_estimate(top1), top1, classes) for top1 in (both.test_top1, both.val_top1)]
            rows.append([*cells, difference if label == PRUNE else ""])
            marks.append(mark_of(label))
    challenger = label_text(measured[0].headline.challenger) if measured else ""
    headers = [
        "target (MACs)",
        "networks",
        f"test {task().metric}",
        f"val {task().metric}",
        f"prune − {challenger}, test {task().metric}",
    ]
    return PageTable(headers, rows, text_columns=(1,), marks=marks, mark_column=1)


def _network_table(frames: Frames) -> PageTable:
    unit = unit_text(frames.unit)
    shown = [
        n
        for n in sorted(frames.delivered, key=lambda n: (n.target, label_rank(n.label), n.replicate))
        if _is_listed(n.label)
    ]
    has_sizes = any(n.image_size is not None for n in shown)

    def size_text(n: Network) -> str:
        return "the dataset's" if n.image_size is None else f"{n.image_size} px"

    rows = [
        [
            macs_text(n.target),
            label_text(n.label),
            str(n.replicate),
            *(with_level(percent(top1), top1, frames.num_classes) for top1 in (n.val_top1, n.test_top1)),
        ]
        + [_count(n.macs), *([size_text(n)] if has_sizes else []), f"{_count(n.nonzero_params)} / {_count(n.params)}"]
        + [number(n.cost_h[policy]) for policy in POLICIES]
        for n in shown
    ]
    headers = [
        "target (MACs)",
        "network",
        "replicate",
        f"val {task().metric}",
        f"test {task().metric}",
        "MACs",
        *(["image size"] if has_sizes else []),
        "non-zero / all params",
    ]
    headers += [f"{unit}, {POLICY_SHORT[policy]}" for policy in POLICIES]
    marks = [mark_of(n.label, n.route) for n in shown]
    return PageTable(headers, rows, text_columns=(1,), marks=marks, mark_column=1)


def _is_listed(label: str) -> bool:
    """Whether a kind of network is listed in the page's main tables; single methods have a table of their own."""
    return not is_method(label)


def _count(value: int | None) -> str:
    return "–" if value is None else macs_short(value)
