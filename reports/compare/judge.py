"""Judgements from arrays: of two contenders at each target, and of all targets pooled.

The same functions judge a study and the simulated ones of ``benchmarks/verdict_calibration.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from reports.compare.guards import Guarded, guard
from reports.compare.log_ratio import NO_RATIO, LogRatio, log_ratio, pooled
from reports.compare.reach import NO_SWAY, Floats
from reports.compare.rule import ALPHA, Decision, Verdict, decide, holm


@dataclass(frozen=True)
class Effort:
    """What a contender achieved and spent at one target, by replicate.

    ``final`` is its final accuracy (NaN: no network), ``cost`` the device-hours to reach the common accuracy (infinite: not
    reached), ``spent`` the total charged (NaN: it is not done, so the replicate does not enter). ``slope`` is how steeply
    the logarithm of ``cost`` rises with the accuracy (NaN: unknown), ``sway`` how far the replicate pulls the common
    accuracy (:class:`reports.compare.reach.Common`); both are empty if that accuracy is fixed.
    """

    final: Floats
    cost: Floats
    spent: Floats
    slope: Floats = field(default_factory=lambda: NO_SWAY)
    sway: Floats = field(default_factory=lambda: NO_SWAY)

    @property
    def entered(self) -> Floats:
        """Final accuracies of the replicates in which it is done."""
        return self.final[~np.isnan(self.spent)]

    @property
    def num_reached(self) -> int:
        """Number of replicates in which it is done and reached the accuracy."""
        return int((np.isfinite(self.cost) & ~np.isnan(self.spent)).sum())

    @property
    def median(self) -> float:
        """Median final accuracy; a replicate without a network counts as the lowest. NaN if there is none."""
        if not len(self.entered):
            return math.nan
        found = float(np.median(np.where(np.isnan(self.entered), -np.inf, self.entered)))
        return found if math.isfinite(found) else math.nan


@dataclass(frozen=True)
class Judged:
    """A comparison of challenger and base: the cost ratio challenger / base, the guard that applies, and the decision.

    ``verdict`` is the guard's if one applies, otherwise the decision's.
    """

    ratio: LogRatio
    guarded: Guarded | None
    decision: Decision

    @property
    def verdict(self) -> Verdict:
        """What it says."""
        return self.guarded.verdict if self.guarded is not None else self.decision.verdict


def ratio_of(challenger: Effort, base: Effort) -> LogRatio:
    """The cost ratio ``challenger`` / ``base``."""
    ratio = log_ratio(challenger.cost, challenger.spent, base.cost, base.spent)
    if not (challenger.slope.size and base.slope.size and base.sway.size):
        return ratio
    done = ~np.isnan(challenger.spent) & ~np.isnan(base.spent)
    return ratio.swayed(steepness((challenger.slope - base.slope)[done]) * base.sway)


def steepness(slopes: Floats) -> float:
    """How steeply a ratio's logarithm changes with the accuracy: √(mean² + error²) of its slopes; NaN slopes are unknown."""
    known = slopes[~np.isnan(slopes)]
    if not known.size:
        return 0.0
    mean, error = float(known.mean()), float(known.var(ddof=1)) / known.size if known.size > 1 else 0.0
    return math.copysign(math.sqrt(mean**2 + error), mean)


def judge(
    pairs: Sequence[tuple[Effort, Effort]],
    levels: Sequence[float | None],
    *,
    alpha: float = ALPHA,
    num_classes: int | None = None,
    controls: Sequence[float | None] | None = None,
) -> list[Judged]:
    """Judge (base, challenger) at each target, corrected for the number of targets by Holm's procedure."""
    floors = [None] * len(pairs) if controls is None else controls
    guards = [
        guard_of(base, challenger, level, num_classes, floor)
        for (base, challenger), level, floor in zip(pairs, levels, floors, strict=True)
    ]
    ratios = [
        NO_RATIO if level is None else ratio_of(challenger, base)
        for (base, challenger), level in zip(pairs, levels, strict=True)
    ]
    tested = [None if held else ratio.p_value() for ratio, held in zip(ratios, guards, strict=True)]
    at = holm(tested, alpha)
    return [Judged(r, held, decide(r, a)) for r, held, a in zip(ratios, guards, at, strict=True)]


def guard_of(
    base: Effort,
    challenger: Effort,
    level: float | None,
    num_classes: int | None,
    control: float | None = None,
    *,
    may_be_apart: bool = False,
) -> Guarded | None:
    """The reason not to compare two contenders' costs at an accuracy, if any (:func:`reports.compare.guards.guard`)."""
    return guard(
        [base.entered, challenger.entered],
        [base.num_reached, challenger.num_reached],
        level,
        num_classes=num_classes,
        control=control,
        may_be_apart=may_be_apart,
    )


def judge_pooled(judged: Sequence[Judged], alpha: float = ALPHA) -> Judged | None:
    """All comparable targets pooled into one ratio, the study's primary claim; None without targets.

    If no target is comparable, the first target's guard applies to the whole. If exactly one is, its judgement is the
    result, so the same claim is not judged twice.
    """
    if not judged:
        return None
    comparable = [found for found in judged if found.guarded is None]
    if len(comparable) == 1:
        return comparable[0]
    ratio = pooled([found.ratio for found in comparable])
    return Judged(ratio, None if comparable else judged[0].guarded, decide(ratio, alpha))
