"""Read several studies and find what can be compared between them. Nothing that a study names is executed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from accounting.audit.rules import rules_text
from accounting.cost.equivalence import equivalence_text
from accounting.cost.shares import ledger_h
from accounting.words.names import label_text, unit_text
from reports.answers.refusal import parent_macs
from reports.answers.values import Measured
from reports.answers.whole import WholeAnswer
from reports.data.frames import Frames, load_frames
from reports.distributions import t_quantile
from reports.errors import NotAStudy
from reports.page.compared import Item, compared_items, parent_text
from reports.side_by_side.settings import settings
from reports.side_by_side.values import (
    Agreement,
    Aspect,
    Compared,
    Finding,
    Key,
    OwnKey,
    RatioApart,
    Reason,
    SideBySide,
    Subject,
    TargetRow,
)
from reports.statistics import CONFIDENCE, Estimate

UNKNOWN = "not on record"
PER_STUDY = (Item.COMPARED_AT, Item.REPLICATES, Item.CONTENDERS)
"""Aspects that follow from a study's results or size, so a difference is not one in what was asked."""
BY_OWN_RULE = (Item.DATA, Item.PARENT, Item.COST)
"""Items whose agreement is decided by a rule of their own, not only by their text."""


def side_by_side(folders: Sequence[Path]) -> SideBySide:
    """Compare the studies in these folders, in this order.

    Raises:
        NotAStudy, LedgerError: as in :func:`reports.data.source.load_source`; ``NotAStudy`` also if their tasks differ.

    """
    wholes = [WholeAnswer(load_frames(folder)) for folder in folders]
    _check_tasks(wholes, folders)
    names = _names([whole.frames.info.name for whole in wholes], folders)
    studies = tuple(_compared(w, name, folder) for w, name, folder in zip(wholes, names, folders, strict=True))
    aspects = _aspects(wholes)
    return SideBySide(studies, aspects, _findings(studies, aspects, wholes), _ratios_apart(studies, wholes))


def _check_tasks(wholes: Sequence[WholeAnswer], folders: Sequence[Path]) -> None:
    """Raise ``NotAStudy`` if the studies have different tasks, since then they have no quality in common."""
    tasks = [whole.frames.info.task.name for whole in wholes]
    if len(set(tasks)) > 1:
        each = ", ".join(f"{folder} is of {task}" for folder, task in zip(folders, tasks, strict=True))
        raise NotAStudy(f"{each}: their qualities do not measure one thing; compare studies of one task")


def _names(given: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """The names of the studies; those that share a name also get their folder."""
    count = Counter(given)
    return [name if count[name] == 1 else f"{name} ({folder})" for name, folder in zip(given, folders, strict=True)]


def _compared(whole: WholeAnswer, name: str, folder: Path) -> Compared:
    frames, limit = whole.frames, parent_macs(whole.frames)
    return Compared(
        name=name,
        folder=str(folder),
        answer=whole,
        total_h=ledger_h(frames.view).get(frames.view.device_kind, 0.0),
        rows=tuple(
            TargetRow(name, None if limit is None else given.question.target / limit, given) for given in whole.answers
        ),
    )


def _aspects(wholes: Sequence[WholeAnswer]) -> tuple[Aspect, ...]:
    frames = [whole.frames for whole in wholes]
    said = [_said(whole) for whole in wholes]
    pairs = [" and ".join(map(label_text, whole.study.contenders.pair)) for whole in wholes]
    return (
        _data(frames, said),
        _parent(frames, said),
        _aspect(OwnKey.CLASSES, [_text(f.num_classes) for f in frames]),
        *(
            _aspect(item, [one.get(item, "none") for one in said])
            for item in dict.fromkeys(item for one in said for item in one)
            if item not in BY_OWN_RULE
        ),
        _aspect(OwnKey.DECLARED_PARENT, [_declared(f) for f in frames]),
        _aspect(OwnKey.UNIT, [unit_text(f.unit) for f in frames]),
        _aspect(OwnKey.DEVICES, [_devices(f) for f in frames]),
        _aspect(OwnKey.PAIR, pairs),
        _aspect(OwnKey.MARGIN, [f"{100 * f.info.margin:g} % of images" for f in frames]),
        _aspect(OwnKey.COST_RULES, [rules_text(f.cost_rules) or UNKNOWN for f in frames]),
        settings([f.document for f in frames]),
    )


def _said(whole: WholeAnswer) -> dict[Item, str]:
    return compared_items(whole.study, [given for given in whole.answers if isinstance(given, Measured)])


def _data(frames: Sequence[Frames], said: Sequence[Mapping[Item, str]]) -> Aspect:
    """Whether the data are the same: the same files, wherever they are; unknown without their fingerprints."""
    prints = [(frame.document.facts.get("data") or {}).get("fingerprint") for frame in frames]
    values = tuple(
        f"{one.get(Item.DATA, UNKNOWN)}; fingerprint {str(mark)[:12] if mark else UNKNOWN}"
        for one, mark in zip(said, prints, strict=True)
    )
    if len({frame.info.dataset for frame in frames}) > 1:
        return Aspect(Item.DATA, values, Agreement.DIFFERENT)
    if not all(prints):
        return Aspect(Item.DATA, values, Agreement.UNKNOWN)
    return Aspect(Item.DATA, values, Agreement.SAME if len(set(prints)) == 1 else Agreement.DIFFERENT)


def _parent(frames: Sequence[Frames], said: Sequence[Mapping[Item, str]]) -> Aspect:
    """Whether the parents are the same network with the same initial weights; their accuracy, a result, may differ."""
    values = [one.get(Item.PARENT, UNKNOWN) for one in said]
    sums = [frame.document.facts.get("checkpoint_sha256") for frame in frames]
    is_same = len({parent_text(frame) for frame in frames}) == 1 and len(set(sums)) == 1
    return Aspect(Item.PARENT, tuple(values), Agreement.SAME if is_same else Agreement.DIFFERENT)


def _aspect(key: Key, values: Sequence[str]) -> Aspect:
    if UNKNOWN in values:
        return Aspect(key, tuple(values), Agreement.UNKNOWN)
    same = len({tuple(sorted(re.split("[;:,] ", value))) for value in values}) == 1  # in any order
    return Aspect(key, tuple(values), Agreement.SAME if same else Agreement.DIFFERENT)


def _text(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _declared(frames: Frames) -> str:
    declared = frames.info.declared_parent
    return "none" if declared is None else f"{declared.text} ({declared.source})"


def _devices(frames: Frames) -> str:
    """The names of the devices that attempts could hold, without amounts, since costs are per device.

    With a declared equivalence, what an hour on each counts as is part of it.
    """
    kind = frames.view.device_kind
    names = {d.name or UNKNOWN for session in frames.view.sessions for d in session.capacity if d.device_kind == kind}
    declared = equivalence_text(frames.view.equivalence)
    return "; ".join([", ".join(sorted(names)) or UNKNOWN, *([declared] if declared else [])])


def _seed(whole: WholeAnswer) -> object:
    return whole.frames.document.config.get("seed", 0)


def _findings(
    studies: Sequence[Compared], aspects: Sequence[Aspect], wholes: Sequence[WholeAnswer]
) -> tuple[Finding, ...]:
    by_key = {aspect.key: aspect for aspect in aspects}
    return (
        _hours(studies, by_key),
        _qualities(by_key),
        _ratios(studies, by_key, shared_seed=len({_seed(whole) for whole in wholes}) < len(wholes)),
        Finding(Subject.VERDICTS, True, Reason.OF_ONE_STUDY),
        _targets(studies),
    )


def _hours(studies: Sequence[Compared], aspects: Mapping[Key, Aspect]) -> Finding:
    unit, devices, rules = aspects[OwnKey.UNIT], aspects[OwnKey.DEVICES], aspects[OwnKey.COST_RULES]
    if unit.agreement is Agreement.DIFFERENT:
        return Finding(Subject.HOURS, False, Reason.OTHER_UNITS, (unit,))
    if mixed := tuple(study.name for study in studies if study.answer.frames.caveats.gpu_hours):
        return Finding(Subject.HOURS, False, Reason.MIXED_MODELS, studies=mixed)
    if devices.agreement is Agreement.DIFFERENT:
        return Finding(Subject.HOURS, False, Reason.OTHER_DEVICES, (devices,))
    if devices.agreement is Agreement.UNKNOWN:
        return Finding(Subject.HOURS, None, Reason.DEVICES_UNKNOWN, (devices,))
    if rules.agreement is Agreement.DIFFERENT:
        return Finding(Subject.HOURS, False, Reason.OTHER_COST_RULES, (rules,))
    return Finding(Subject.HOURS, True, Reason.SAME_HOURS, (unit, devices))


def _qualities(aspects: Mapping[Key, Aspect]) -> Finding:
    data, classes = of = (aspects[Item.DATA], aspects[OwnKey.CLASSES])
    if data.agreement is Agreement.DIFFERENT or classes.agreement is Agreement.DIFFERENT:
        return Finding(Subject.QUALITIES, False, Reason.OTHER_DATA, of)
    if data.agreement is Agreement.UNKNOWN:
        return Finding(Subject.QUALITIES, None, Reason.DATA_UNKNOWN, of)
    return Finding(Subject.QUALITIES, True, Reason.SAME_DATA, of)


def _ratios(studies: Sequence[Compared], aspects: Mapping[Key, Aspect], *, shared_seed: bool) -> Finding:
    """Whether the cost ratios can be compared: device time cancels out, so studies on different machines can be."""
    lacking = tuple(study.name for study in studies if study.ratio.value is None)
    if lacking:
        return Finding(Subject.COST_RATIOS, False, Reason.NO_RATIO, studies=lacking)
    if aspects[OwnKey.PAIR].agreement is Agreement.DIFFERENT:
        return Finding(Subject.COST_RATIOS, False, Reason.OTHER_PAIRS, (aspects[OwnKey.PAIR],))
    differing = tuple(_differing(aspects.values()))
    if differing:
        return Finding(Subject.COST_RATIOS, True, Reason.EACH_WITHIN_ONE, differing)
    if shared_seed:
        return Finding(Subject.COST_RATIOS, False, Reason.TRAINED_AGAIN)
    return Finding(Subject.COST_RATIOS, True, Reason.REPEATS)


def _targets(studies: Sequence[Compared]) -> Finding:
    each = [{row.given.question.target for row in study.rows} for study in studies]
    common = tuple(sorted(set.intersection(*each)))
    if common:
        return Finding(Subject.TARGETS, True, Reason.COMMON_TARGETS, targets=common)
    return Finding(Subject.TARGETS, False, Reason.NO_COMMON_TARGET)


def _differing(aspects: Iterable[Aspect]) -> Iterator[Aspect]:
    """The aspects in which studies do not agree, apart from those that follow from their results or size."""
    return (each for each in aspects if each.agreement is not Agreement.SAME and each.key not in PER_STUDY)


def _ratios_apart(studies: Sequence[Compared], wholes: Sequence[WholeAnswer]) -> tuple[RatioApart, ...]:
    first = studies[0]
    found = []
    for study, whole in zip(studies[1:], wholes[1:], strict=True):
        pairs = {one.study.contenders.pair for one in (wholes[0], whole)}
        if first.ratio.value is None or study.ratio.value is None or len(pairs) > 1:
            continue
        differing = tuple(aspect.key for aspect in _differing(_aspects([wholes[0], whole])))
        if not differing and _seed(whole) == _seed(wholes[0]):
            continue  # the same networks again, so not independent
        found.append(RatioApart(study.name, first.name, _factor(study.ratio, first.ratio), differing))
    return tuple(found)


def _factor(above: Estimate, below: Estimate) -> Estimate:
    """``above`` / ``below`` for two independent geometric means, with Welch's interval on the logarithms."""
    n = min(above.n, below.n)
    value = math.log(float(above.value or 1.0)) - math.log(float(below.value or 1.0))
    if above.sd is None or below.sd is None or n < 2:
        return Estimate(math.exp(value), None, None, None, n)
    parts = [one.sd**2 / one.n for one in (above, below) if one.sd is not None]
    error = math.sqrt(sum(parts))
    degrees = error**4 / (parts[0] ** 2 / (above.n - 1) + parts[1] ** 2 / (below.n - 1))
    half = t_quantile(0.5 + CONFIDENCE / 2, degrees) * error
    return Estimate(math.exp(value), math.exp(value - half), math.exp(value + half), None, n)
