"""Judgements from arrays: two contenders at each target, a control that makes both needless, and the cheapest of all.

The same functions judge a study and the simulated ones of ``benchmarks/verdict_calibration.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.compare.guards import LEAST_REACHED, Guarded, chance_limit, guard
from reports.compare.log_ratio import NO_RATIO, LogRatio, log_ratio, pooled
from reports.compare.reach import Floats
from reports.compare.rule import ALPHA, Decision, Verdict, decide, holm


@dataclass(frozen=True)
class Effort:
    """What a contender showed and spent at one target, by replicate.

    ``final`` is its final accuracy (NaN: no network), ``cost`` that to reach the common accuracy (infinite: not reached),
    ``spent`` all that it was charged (NaN: it is not done there, so that the replicate does not enter).
    """

    final: Floats
    cost: Floats
    spent: Floats

    @property
    def entered(self) -> Floats:
        """Final accuracies of the replicates in which it is done."""
        return self.final[~np.isnan(self.spent)]

    @property
    def num_reached(self) -> int:
        """Replicates in which it is done and reached the accuracy."""
        return int((np.isfinite(self.cost) & ~np.isnan(self.spent)).sum())

    @property
    def median(self) -> float:
        """Median final accuracy; a replicate without a network counts as the lowest, and NaN is none at all."""
        if not len(self.entered):
            return math.nan
        found = float(np.median(np.where(np.isnan(self.entered), -np.inf, self.entered)))
        return found if math.isfinite(found) else math.nan


@dataclass(frozen=True)
class Judged:
    """A comparison of challenger and base: the ratio challenger / base, what guarded it, and the decision.

    ``verdict`` is the guard's where one held, else the decision's.
    """

    ratio: LogRatio
    guarded: Guarded | None
    decision: Decision

    @property
    def verdict(self) -> Verdict:
        """What it says."""
        return self.guarded.verdict if self.guarded is not None else self.decision.verdict


@dataclass(frozen=True)
class Cheapest:
    """The contender that reached the common accuracy at the lowest cost, and every other one's cost over its.

    It ``is_shown`` where each of the others, on its simultaneous interval, costs more. ``ratios`` and ``decisions`` are by
    the other's label.
    """

    label: str
    ratios: dict[str, LogRatio]
    decisions: dict[str, Decision]

    @property
    def is_shown(self) -> bool:
        """Whether it is cheaper than each other contender."""
        return bool(self.decisions) and all(found.verdict is Verdict.BASE for found in self.decisions.values())


def ratio_of(challenger: Effort, base: Effort) -> LogRatio:
    """Costs of ``challenger`` over those of ``base``."""
    return log_ratio(challenger.cost, challenger.spent, base.cost, base.spent)


def judge(
    pairs: Sequence[tuple[Effort, Effort]],
    levels: Sequence[float | None],
    *,
    alpha: float = ALPHA,
    num_classes: int | None = None,
    controls: Sequence[float | None] | None = None,
) -> list[Judged]:
    """(base, challenger) at each target, corrected for the number of targets by Holm's procedure."""
    floors = [None] * len(pairs) if controls is None else controls
    guards = [
        guard(
            [base.entered, challenger.entered],
            [base.num_reached, challenger.num_reached],
            level,
            num_classes=num_classes,
            control=floor,
        )
        for (base, challenger), level, floor in zip(pairs, levels, floors, strict=True)
    ]
    ratios = [
        NO_RATIO if level is None else ratio_of(challenger, base)
        for (base, challenger), level in zip(pairs, levels, strict=True)
    ]
    tested = [None if held else ratio.p_value() for ratio, held in zip(ratios, guards, strict=True)]
    at = holm(tested, alpha)
    return [Judged(r, held, decide(r, a)) for r, held, a in zip(ratios, guards, at, strict=True)]


def judge_pooled(judged: Sequence[Judged], alpha: float = ALPHA) -> Judged | None:
    """All targets whose costs can be compared as one ratio, which is the study's one primary claim; None without targets.

    Where no target can be compared, the first one's guard is that of the whole.
    """
    if not judged:
        return None
    comparable = [found for found in judged if found.guarded is None]
    ratio = pooled([found.ratio for found in comparable])
    return Judged(ratio, None if comparable else judged[0].guarded, decide(ratio, alpha))


def judge_controls(
    targets: Sequence[Mapping[str, Effort]],
    pair: tuple[str, str],
    controls: Sequence[str],
    margin: float,
    *,
    alpha: float = ALPHA,
    num_classes: int | None = None,
) -> list[dict[str, tuple[Decision, Decision]]]:
    """By target the controls that make both contenders of ``pair`` needless: as accurate, and shown to be cheaper than each.

    As accurate: the control's median final accuracy is at most ``margin`` below the better of the two, and not near chance.
    Cheaper: both decisions (base / control, challenger / control) are for the control, at the level that Holm's procedure
    gives to the less sure one of them among all controls and targets.
    """
    claims: list[tuple[int, str, list[LogRatio]]] = []
    for place, efforts in enumerate(targets):
        if not all(name in efforts for name in pair):
            continue
        best = max((efforts[name].median for name in pair if not math.isnan(efforts[name].median)), default=math.nan)
        for label in controls:
            if label in efforts and _is_as_accurate(efforts[label], best - margin, num_classes):
                claims.append((place, label, [ratio_of(efforts[name], efforts[label]) for name in pair]))
    levels = holm([_largest([ratio.p_value() for ratio in ratios]) for _, _, ratios in claims], alpha)
    found: list[dict[str, tuple[Decision, Decision]]] = [{} for _ in targets]
    for (place, label, ratios), level in zip(claims, levels, strict=True):
        first, second = (decide(ratio, level) for ratio in ratios)
        if first.verdict is Verdict.BASE and second.verdict is Verdict.BASE:
            found[place][label] = first, second
    return found


def cheapest(targets: Sequence[Mapping[str, Effort]], reference: str, alpha: float = ALPHA) -> list[Cheapest | None]:
    """By target the cheapest contender; claims of being cheaper are corrected over contenders and targets together.

    Contenders that reached the common accuracy in fewer than two replicates (one, where there is one) do not compete; the
    costs of the others are ranked by their ratios to ``reference``'s, or to the first's where that does not compete.
    """
    best: list[tuple[str, dict[str, LogRatio]] | None] = [_ranked(efforts, reference) for efforts in targets]
    claims = [(place, label) for place, found in enumerate(best) if found for label in found[1]]
    p_values = [found[1][label].p_value() for place, label in claims if (found := best[place])]
    levels = dict(zip(claims, holm(p_values, alpha), strict=True))
    return [
        found and Cheapest(found[0], found[1], {name: decide(r, levels[place, name]) for name, r in found[1].items()})
        for place, found in enumerate(best)
    ]


def _ranked(efforts: Mapping[str, Effort], reference: str) -> tuple[str, dict[str, LogRatio]] | None:
    competing = {
        label: effort
        for label, effort in efforts.items()
        if effort.num_reached >= min(LEAST_REACHED, max(1, len(effort.entered)))
    }
    if not competing:
        return None
    base = competing.get(reference, next(iter(competing.values())))
    means = {label: ratio_of(effort, base).mean for label, effort in competing.items()}
    label = min(means, key=lambda name: math.inf if means[name] is None else float(means[name] or 0.0))
    others = {name: ratio_of(effort, competing[label]) for name, effort in competing.items() if name != label}
    return label, others


def _is_as_accurate(control: Effort, least: float, num_classes: int | None) -> bool:
    """NaN, of a control without networks or routes without any, is never as accurate."""
    chance = 0.0 if num_classes is None else chance_limit(num_classes)
    return control.median >= max(least, chance) if not math.isnan(least) else False


def _largest(p_values: Sequence[float | None]) -> float | None:
    known = [p for p in p_values if p is not None]
    return max(known) if len(known) == len(p_values) else None
