"""The cost to reach an accuracy: smoothed learning curves and where they cross a level. Pure functions of arrays.

Validation accuracy rises during training, but each epoch's measurement is noisy. The best of many noisy values is too
optimistic, the more so the more measurements there are. So the values of each training are replaced by the best
non-decreasing curve through them (isotonic least squares); a longer plateau makes its level more certain, not higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SLOPE_STEP = 0.005
"""Costs are read this far above and below the common accuracy to find how steeply they rise: half a point."""
SWAY = 1.65
"""How much a replicate's deviation from the mean moves the common accuracy, relative to the 1 / n of a mean.

The standard error of a median is √(π/2) = 1.25 times that of a mean. The rest accounts for the error of a straight line
through two noisy readings, and was chosen with ``benchmarks/verdict_calibration.py``.
"""


def isotonic(values: Floats) -> Floats:
    """The non-decreasing sequence closest to ``values`` in least squares, along the last axis; other axes are independent.

    Uses the max-min formula of Robertson, Wright and Dykstra, *Order Restricted Statistical Inference* (1988), section 1.4:
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
    """The epochs of a contender's trainings: (..., steps) arrays of device-hours and smoothed accuracies.

    Within a step, cost and accuracy rise linearly from ``*_from`` to ``*_to``. ``top1_from`` is NaN if nothing was measured
    before; then only the end of the step counts.
    """

    cost_from: Floats
    cost_to: Floats
    top1_from: Floats
    top1_to: Floats

    def ahead(self) -> NDArray[np.int64]:
        """The steps of one contender that can be the first to reach some accuracy or the best for some cost, in order.

        All others are *behind*: an earlier step, which ended before they began, had already reached what they reach.
        Without them, the methods here give the same values to the last bit; of a search with thousands of candidates,
        few steps remain.
        """
        with np.errstate(invalid="ignore"):
            ends = np.maximum(self.cost_to, self.cost_from + (self.cost_to - self.cost_from))  # also as rounding has it
            tops = np.fmax(np.fmax(self.top1_from, self.top1_to), self.top1_from + (self.top1_to - self.top1_from))
        order = np.argsort(ends)
        best = np.concatenate([[-np.inf], np.fmax.accumulate(self.top1_to[order])])
        best_before = best[np.searchsorted(ends[order], np.minimum(self.cost_from, self.cost_to))]
        return np.flatnonzero(~(best_before >= tops))

    def only(self, rows: NDArray[np.int64]) -> Steps:
        """Only these steps."""
        return Steps(self.cost_from[rows], self.cost_to[rows], self.top1_from[rows], self.top1_to[rows])

    def final(self) -> Floats:
        """The best smoothed accuracy of all trainings; NaN if there is none."""
        if self.top1_to.shape[-1] == 0:
            return np.full(self.top1_to.shape[:-1], np.nan)
        return np.asarray(self.top1_to.max(axis=-1), dtype=np.float64)

    def cost_of(self, level: float | Floats) -> Floats:
        """Device-hours at which any training first reached accuracy ``level``; infinite if none did."""
        if self.top1_to.shape[-1] == 0:
            return np.full(self.top1_to.shape[:-1], np.inf)
        return np.asarray(self._crossings(level)[0].min(axis=-1), dtype=np.float64)

    def moment_near(self, level: float, margin: float) -> tuple[int, float] | None:
        """(step, fraction of it) at which :meth:`cost_near` is read; None if that is infinite. For one contender only."""
        if self.top1_to.ndim != 1 or not len(self.top1_to):
            return None
        final = float(self.final())
        wanted = float(np.fmin(level, final)) if final >= level - margin else level
        costs, shares = self._crossings(wanted)
        place = int(np.argmin(costs))
        return (place, float(shares[place])) if np.isfinite(costs[place]) else None

    def cost_at(self, moment: tuple[int, float]) -> float:
        """Device-hours at a moment from :meth:`moment_near`, possibly found with the same steps at other costs."""
        place, share = moment
        return float(self.cost_from[place] + share * (self.cost_to[place] - self.cost_from[place]))

    def top1_within(self, cost: float) -> float:
        """The best accuracy for at most ``cost`` device-hours; NaN if nothing was measured by then. One contender only."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(
                self.cost_to > self.cost_from, (cost - self.cost_from) / (self.cost_to - self.cost_from), 1.0
            )
            inside = self.top1_from + np.clip(share, 0.0, 1.0) * (self.top1_to - self.top1_from)
        reached = np.where(self.cost_to <= cost, self.top1_to, np.where(self.cost_from <= cost, inside, np.nan))
        known = reached[~np.isnan(reached)]
        return float(known.max()) if len(known) else float("nan")

    def cost_near(self, level: float | Floats, margin: float) -> Floats:
        """:meth:`cost_of`, but a contender that ended at most ``margin`` short of ``level`` counts with the cost at its end.

        A final accuracy is noisy, so it may miss the level by chance; calling that "never" would discard most of what
        such a replicate tells us.
        """
        final = self.final()
        wanted = np.broadcast_to(np.asarray(level, dtype=np.float64), final.shape)
        return self.cost_of(np.where(final >= wanted - margin, np.fmin(wanted, final), wanted))

    def _crossings(self, level: float | Floats) -> tuple[Floats, Floats]:
        """By step: device-hours at which it first reaches ``level`` (infinite: never), and how far into the step (0-1)."""
        wanted = np.asarray(level, dtype=np.float64)[..., None]
        rise = self.top1_to - self.top1_from
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = np.where(rise > 0, (wanted - self.top1_from) / rise, 1.0)
        share = np.clip(np.nan_to_num(share, nan=1.0), 0.0, 1.0)
        costs = self.cost_from + share * (self.cost_to - self.cost_from)
        return np.where(self.top1_to >= wanted, costs, np.inf), share


NO_SWAY: Floats = np.zeros(0)
"""The sway of an accuracy that is not estimated from the replicates."""


@dataclass(frozen=True)
class Common:
    """The accuracy ``level`` at which contenders are compared (None: there is none), and the influence of each replicate.

    ``sway`` is, by replicate, how much it pulls the accuracy up or down, times the number of replicates. It is empty if the
    accuracy was asked for rather than estimated from the replicates.
    """

    level: float | None
    sway: Floats = field(default_factory=lambda: NO_SWAY)


def sway_of(finals: Sequence[Floats]) -> Floats:
    """How far each replicate pulls the common accuracy: its final accuracy minus the mean, for the weakest contender.

    ``finals`` are by contender and replicate; NaN (no network) does not pull.
    """
    medians = [float(np.median(np.where(np.isnan(of_one), -np.inf, of_one))) for of_one in finals]
    weakest = finals[int(np.argmin(medians))]
    known = ~np.isnan(weakest)
    if not known.any():
        return np.zeros(len(weakest))
    return np.asarray(np.where(known, SWAY * (weakest - weakest[known].mean()), 0.0), dtype=np.float64)


def slope_of(lower: Floats, higher: Floats) -> Floats:
    """How steeply the logarithm of a cost rises with accuracy, from costs half a point below and above; NaN: unknown."""
    known = np.isfinite(lower) & np.isfinite(higher) & (lower > 0)
    rise = np.log(np.where(known, higher, 1.0)) - np.log(np.where(known, lower, 1.0))
    return np.asarray(np.where(known, rise / (2 * SLOPE_STEP), np.nan), dtype=np.float64)


def common_level(finals: list[Floats], margin: float) -> float | None:
    """The accuracy at which contenders are compared: the lowest of their median final accuracies, less a margin.

    ``finals`` has one value per replicate for each contender; NaN (no network) counts as the lowest. None if a contender's
    median is NaN.
    """
    medians = [float(np.median(np.where(np.isnan(of_one), -np.inf, of_one))) for of_one in finals if len(of_one)]
    if len(medians) < len(finals) or not np.isfinite(medians).all():
        return None
    return min(medians) - margin
