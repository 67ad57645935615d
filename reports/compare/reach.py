"""What it cost to reach an accuracy: smoothed learning curves and where they cross a level. Pure; arrays in, arrays out.

A network's validation accuracy rises while it is trained; what is measured after each epoch is that and noise. The best of
many noisy values is too good, and a route that keeps measuring gets more tries; so each training's values are replaced
by the best rising curve through them (isotonic least squares), which a longer plateau makes surer, not higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SLOPE_STEP = 0.005
"""How far above and below the common accuracy a cost is read, to see how steeply it rises there: half a point."""
SWAY = 1.65
"""How much of a replicate's departure from the mean moves the common accuracy, beside the 1 / n of a mean.

A median has an error √(π/2) = 1.25 times that of a mean; the rest is for what a straight line through two noisy readings
misses, and was chosen by ``benchmarks/verdict_calibration.py``.
"""


def isotonic(values: Floats) -> Floats:
    """The non-decreasing sequence nearest to ``values`` (last axis, in least squares); all other axes are independent.

    By the max-min formula of Robertson, Wright and Dykstra, *Order Restricted Statistical Inference* (1988), section 1.4:
    the k-th value is the largest, over i ≤ k, of the smallest, over j ≥ k, mean of values i to j.
    """
    length = values.shape[-1]
    if length < 2:
        return np.asarray(values, dtype=np.float64).copy()
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    place = np.arange(length)
    counts = place[None, :] - place[:, None] + 1.0
    counts[counts < 1] = np.nan
    means = (sums[..., None, 1:] - sums[..., :-1, None]) / counts
    means = np.where(np.isnan(means), np.inf, means)
    smallest = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]
    allowed = np.where(place[:, None] <= place[None, :], smallest, -np.inf)
    return np.asarray(allowed.max(axis=-2), dtype=np.float64)


@dataclass(frozen=True)
class Steps:
    """Epochs of the trainings of a contender: (..., steps) arrays of device-hours and smoothed accuracies.

    Within a step cost and accuracy rise together from ``*_from`` to ``*_to``. ``top1_from`` is NaN where nothing was
    measured before: then only the end of the step counts.
    """

    cost_from: Floats
    cost_to: Floats
    top1_from: Floats
    top1_to: Floats

    def final(self) -> Floats:
        """The best smoothed accuracy of all trainings; NaN where there is none."""
        if self.top1_to.shape[-1] == 0:
            return np.full(self.top1_to.shape[:-1], np.nan)
        return np.asarray(self.top1_to.max(axis=-1), dtype=np.float64)

    def cost_of(self, level: float | Floats) -> Floats:
        """Device-hours at which some training first had accuracy ``level``; infinite where none ever had."""
        if self.top1_to.shape[-1] == 0:
            return np.full(self.top1_to.shape[:-1], np.inf)
        return np.asarray(self._crossings(level)[0].min(axis=-1), dtype=np.float64)

    def moment_near(self, level: float, margin: float) -> tuple[int, float] | None:
        """(step, how far into it, 0-1) of :meth:`cost_near`; None where that is infinite. One contender's steps only."""
        if self.top1_to.ndim != 1 or not len(self.top1_to):
            return None
        final = float(self.final())
        wanted = float(np.fmin(level, final)) if final >= level - margin else level
        costs, shares = self._crossings(wanted)
        place = int(np.argmin(costs))
        return (place, float(shares[place])) if np.isfinite(costs[place]) else None

    def cost_at(self, moment: tuple[int, float]) -> float:
        """Device-hours at a moment of :meth:`moment_near`; of steps with other costs, those of the same moment."""
        place, share = moment
        return float(self.cost_from[place] + share * (self.cost_to[place] - self.cost_from[place]))

    def top1_within(self, cost: float) -> float:
        """The best accuracy for at most ``cost`` device-hours; NaN where nothing was measured by then. One contender's."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(
                self.cost_to > self.cost_from, (cost - self.cost_from) / (self.cost_to - self.cost_from), 1.0
            )
            inside = self.top1_from + np.clip(share, 0.0, 1.0) * (self.top1_to - self.top1_from)
        reached = np.where(self.cost_to <= cost, self.top1_to, np.where(self.cost_from <= cost, inside, np.nan))
        known = reached[~np.isnan(reached)]
        return float(known.max()) if len(known) else float("nan")

    def cost_near(self, level: float | Floats, margin: float) -> Floats:
        """:meth:`cost_of`, where a contender that ended short of ``level`` by at most ``margin`` is read at its own end.

        A final accuracy is measured with noise, so it may miss the level by chance; calling that "never" would
        throw away most of what such a replicate tells.
        """
        final = self.final()
        wanted = np.broadcast_to(np.asarray(level, dtype=np.float64), final.shape)
        return self.cost_of(np.where(final >= wanted - margin, np.fmin(wanted, final), wanted))

    def _crossings(self, level: float | Floats) -> tuple[Floats, Floats]:
        """By step: device-hours at which it first has ``level`` (infinite: never), and how far into it (0-1)."""
        wanted = np.asarray(level, dtype=np.float64)[..., None]
        rise = self.top1_to - self.top1_from
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = np.where(rise > 0, (wanted - self.top1_from) / rise, 1.0)
        share = np.clip(np.nan_to_num(share, nan=1.0), 0.0, 1.0)
        costs = self.cost_from + share * (self.cost_to - self.cost_from)
        return np.where(self.top1_to >= wanted, costs, np.inf), share


NO_SWAY: Floats = np.zeros(0)
"""The sway of an accuracy that does not come from the replicates."""


@dataclass(frozen=True)
class Common:
    """The one accuracy at which contenders are compared (None: there is none), and what each replicate has to do with it.

    ``sway`` has, by replicate, by how much it pulls the accuracy up or down, times the number of replicates; empty where
    the accuracy does not come from the replicates, but was asked for.
    """

    level: float | None
    sway: Floats = field(default_factory=lambda: NO_SWAY)


def sway_of(finals: Sequence[Floats]) -> Floats:
    """How far each replicate pulls the common accuracy: its final accuracy less the mean, in the weakest contender.

    ``finals`` are by contender and replicate, NaN where it has no network: that pulls nowhere.
    """
    medians = [float(np.median(np.where(np.isnan(of_one), -np.inf, of_one))) for of_one in finals]
    weakest = finals[int(np.argmin(medians))]
    known = ~np.isnan(weakest)
    if not known.any():
        return np.zeros(len(weakest))
    return np.asarray(np.where(known, SWAY * (weakest - weakest[known].mean()), 0.0), dtype=np.float64)


def slope_of(lower: Floats, higher: Floats) -> Floats:
    """How steeply the logarithm of a cost rises with accuracy, from costs half a point below and above; NaN: not known."""
    known = np.isfinite(lower) & np.isfinite(higher) & (lower > 0)
    rise = np.log(np.where(known, higher, 1.0)) - np.log(np.where(known, lower, 1.0))
    return np.asarray(np.where(known, rise / (2 * SLOPE_STEP), np.nan), dtype=np.float64)


def common_level(finals: list[Floats], margin: float) -> float | None:
    """The one accuracy at which contenders are compared: the lowest of their median final accuracies, less a margin.

    ``finals`` are by contender, one value a replicate, NaN where it had no network, which counts as the lowest. None where
    a contender's median replicate has none.
    """
    medians = [float(np.median(np.where(np.isnan(of_one), -np.inf, of_one))) for of_one in finals if len(of_one)]
    if len(medians) < len(finals) or not np.isfinite(medians).all():
        return None
    return min(medians) - margin
