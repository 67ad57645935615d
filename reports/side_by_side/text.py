"""The comparison of studies as plain text, and the lines that its page shows as well."""

from __future__ import annotations

from collections.abc import Sequence

from accounting.ledger.records import VERDICT_RULES
from accounting.words.names import PRUNE, label_text, unit_text
from accounting.words.quantities import macs_short, macs_text
from accounting.words.task import task
from reports.answers.refusal_text import reason_text
from reports.answers.values import Refused
from reports.answers.verdict_words import provisional_text, ratio_text, whole_verdict_text
from reports.compare.rule import ALPHA
from reports.page.compared import Item
from reports.side_by_side.values import (
    Agreement,
    Aspect,
    Finding,
    Key,
    OwnKey,
    RatioApart,
    Reason,
    SideBySide,
    Subject,
    TargetRow,
)
from reports.words.wording import NOT_MEASURED, number, number_estimate, percent, percent_interval

AGREEMENT_TEXT = {Agreement.SAME: "same", Agreement.DIFFERENT: "different", Agreement.UNKNOWN: "not known"}
WHY = {
    Reason.OTHER_UNITS: "they are in {distinct}, and no rate converts them",
    Reason.OTHER_DEVICES: "an hour of one device is not an hour of another: {against}",
    Reason.MIXED_MODELS: "hours on GPUs of several models, without a declared rate, are added up in {studies}",
    Reason.DEVICES_UNKNOWN: "some ledger does not say which devices it held",
    Reason.OTHER_COST_RULES: "they are counted by cost rules {each}, of which version 1 has exports in them",
    Reason.SAME_HOURS: "all are {first_of_each}",
    Reason.OTHER_DATA: "they are of other images, which the fingerprints of the data tell apart",
    Reason.DATA_UNKNOWN: "some study does not say which images it read (no fingerprint of its data)",
    Reason.SAME_DATA: "all are of the same images, by the fingerprint of the data",
    Reason.NO_RATIO: "there is none of {studies}",
    Reason.OTHER_PAIRS: "they are of other pairs: {against}",
    Reason.TRAINED_AGAIN: "the studies agree in all that is on record, and some in their seed, which trains the same "
    "networks again, but for code and machine, so they are not independent; give each repeat its own seed",
    Reason.REPEATS: "the studies agree in all that is on record, so they repeat each other",
    Reason.EACH_WITHIN_ONE: "each is within one study, on its own devices; the studies differ in {aspects}: {cause}",
    Reason.OF_ONE_STUDY: "each is of one study, on its own data and devices, and all are drawn by verdict rules "
    "{verdict_rules} here, whatever older reports say; what they say holds for the study's own parent, data and recipe",
    Reason.COMMON_TARGETS: "all have {targets} MACs",
    Reason.NO_COMMON_TARGET: "no target is in all of them; as shares of the parent's MACs they are shown side by side",
}
"""The sentence for each reason; :func:`why_text` fills it."""
TITLES = {
    OwnKey.DECLARED_PARENT: "Parent's declared cost",
    OwnKey.UNIT: "Unit",
    OwnKey.DEVICES: "Devices",
    OwnKey.PAIR: "Headline",
    OwnKey.MARGIN: "a* below the lower median",
    OwnKey.COST_RULES: "Cost rules",
    OwnKey.SETTINGS: "Other settings",
}
"""What aspects are called, apart from the number of classes, which the task names."""
ROW_HEADERS = (
    "study",
    "target",
    "of the parent",
    "a*",
    "cost ratio",
    "prune",
    "challenger",
    "test {metric}",
    "cheapest",
    "verdict",
)


def row_headers() -> tuple[str, ...]:
    """The headings of the cells of :func:`row_cells`."""
    return tuple(task().fill(header) for header in ROW_HEADERS)


def as_text(found: SideBySide) -> str:
    """The whole comparison, for a terminal."""
    lines = [f"{study.name}: {study.answer.short}" for study in found.studies]
    lines += ["", *(finding_line(finding) for finding in found.findings)]
    lines += [ratio_line(apart) for apart in found.ratios]
    for agreement in (Agreement.DIFFERENT, Agreement.UNKNOWN, Agreement.SAME):
        lines += _aspects([aspect for aspect in found.aspects if aspect.agreement is agreement], agreement, found)
    for study in found.studies:
        lines += ["", f"{study.name}: {number(study.total_h)} {unit_text(study.unit)} in all"]
        lines += [f"  {row_line(row, study.challenger)}" for row in study.rows]
        lines += [f"  warning: {warning}" for warning in study.warnings]
    return "\n".join(lines)


def finding_line(finding: Finding) -> str:
    """A finding as a line such as ``hours cannot be compared: …``."""
    can = {True: "can be compared", False: "cannot be compared", None: "may not be comparable"}[finding.can]
    return f"{subject_text(finding)} {can}: {why_text(finding)}"


def subject_text(finding: Finding) -> str:
    """What a finding is about."""
    return task().qualities if finding.subject is Subject.QUALITIES else finding.subject.replace("_", " ")


def title_text(key: Key) -> str:
    """What an aspect is called."""
    if isinstance(key, Item):
        return key.heading
    return task().outputs.capitalize() if key is OwnKey.CLASSES else TITLES[key]


def why_text(finding: Finding) -> str:
    """Why that can be compared, or why not."""
    first = finding.aspects[0].values if finding.aspects else ()
    is_one = len(finding.aspects) == 1
    return WHY[finding.reason].format(
        each=" and ".join(first),
        distinct=" and ".join(dict.fromkeys(first)),
        against=" against ".join(first),
        first_of_each=" of ".join(aspect.values[0] for aspect in finding.aspects),
        aspects=", ".join(title_text(aspect.key).lower() for aspect in finding.aspects),
        cause="it may be the cause of a difference" if is_one else "no single one of these is shown to be a cause",
        studies=", ".join(finding.studies),
        targets=", ".join(map(macs_text, finding.targets)),
        verdict_rules=VERDICT_RULES,
    )


def ratio_line(apart: RatioApart) -> str:
    """How a study's cost ratio compares with the first study's."""
    factor = apart.factor
    if factor.low is None or factor.high is None:
        evidence, said = f"n = {factor.n}, no interval", "a difference is not shown"
    else:
        evidence = f"95 % interval {number(factor.low)} to {number(factor.high)}, Welch, n = {factor.n}"
        said = "a difference is not shown" if factor.low <= 1 <= factor.high else "they differ"
    return f"the cost ratio of {apart.study} is {number(factor.value)}× that of {apart.first} ({evidence}): {said}"


def row_line(row: TargetRow, challenger: str) -> str:
    """A target of a study in one line."""
    found = row.comparison
    if found is None:
        return f"at {target_text(row)}: {_verdict(row)}"
    costs = ", ".join(f"{label_text(label)} {number_estimate(cost)}" for label, cost in row.costs.items())
    ratio = "" if row.cost_ratio.value is None else f"; {label_text(challenger)} / prune {_ratio(row)}"
    best = "" if row.cheapest is None else f"; lowest cost: {label_text(row.cheapest)}"
    unit = unit_text(row.given.question.unit)
    return f"at {target_text(row)}, {unit} to {percent(found.level)}: {costs}{ratio}: {_verdict(row)}{best}"


def target_text(row: TargetRow) -> str:
    """A target as text, such as ``0.6M MACs (50 % of the parent)``."""
    share = "" if row.share is None else f" ({100 * row.share:.0f} % of the parent)"
    return f"{macs_short(row.given.question.target)} MACs{share}"


def row_cells(row: TargetRow, challenger: str) -> tuple[str, ...]:
    """A target of a study as cells, with the headings of :func:`row_headers`."""
    costs = [number_estimate(row.costs[label]) if label in row.costs else NOT_MEASURED for label in (PRUNE, challenger)]
    tested = ", ".join(f"{label_text(label)} {percent_interval(top1)}" for label, top1 in row.test_top1.items())
    return (
        row.study,
        macs_short(row.given.question.target),
        NOT_MEASURED if row.share is None else f"{100 * row.share:.0f} %",
        percent(None if row.comparison is None else row.comparison.level),
        NOT_MEASURED if row.cost_ratio.value is None else _ratio(row),
        *costs,
        tested or NOT_MEASURED,
        NOT_MEASURED if row.cheapest is None else label_text(row.cheapest),
        _verdict(row),
    )


def _verdict(row: TargetRow) -> str:
    """The verdict in words, or that there is no answer, and why."""
    if row.comparison is not None:
        few = provisional_text(row.n, row.given.question.replicates)
        return f"{whole_verdict_text(row.comparison, row.comparison.challenger)}{few}"
    return f"no answer: {reason_text(row.given)}" if isinstance(row.given, Refused) else "no answer"


def _ratio(row: TargetRow) -> str:
    """The cost ratio with the interval from which the verdict was read."""
    return ratio_text(row.cost_ratio, ALPHA if row.comparison is None else row.comparison.alpha)


def _aspects(aspects: Sequence[Aspect], agreement: Agreement, found: SideBySide) -> list[str]:
    if not aspects:
        return []
    lines = ["", f"{AGREEMENT_TEXT[agreement]}:"]
    for aspect in aspects:
        title = title_text(aspect.key)
        if len(set(aspect.values)) == 1:
            lines.append(f"  {title}: {aspect.values[0]}")
        else:
            lines.append(f"  {title}:")
            lines += [f"    {study.name}: {value}" for study, value in zip(found.studies, aspect.values, strict=True)]
    return lines
