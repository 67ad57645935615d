"""Reasons not to compare costs at one accuracy: a contender did not reach it, or the two are not comparable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np

from accounting.words.task import task
from reports.compare.reach import Floats
from reports.compare.rule import Verdict
from reports.distributions import normal_cdf

LEAST_REACHED = 2
MOST_APART = 0.05
"""Largest difference between two median final accuracies at which costs are still compared."""
MOST_SPREAD = 0.04
"""Largest range of the final accuracies of three replicates."""
MOST_BELOW_CONTROL = 0.03
"""How far the common accuracy may be below the mean of the cheapest control."""
NEAR_CHANCE = 0.05
ROUNDING = 1e-9
"""A limit counts as kept by an accuracy that misses it by no more: 0.85 - 0.80 is 0.05, but not in binary."""


class Obstacle(StrEnum):
    """Why costs are not compared."""

    NOT_REACHED = "not_reached"
    APART = "apart"
    CHANCE = "chance"
    SPREAD = "spread"
    BELOW_CONTROL = "below_control"
    RATE = "rate"
    """The verdict depends on what hours on another GPU model count as (:mod:`reports.compare.steady`)."""


@dataclass(frozen=True)
class Guarded:
    """A guard that applies: to which contender (0: base, 1: challenger, None: both), the value found, and the limit.

    For :attr:`Obstacle.RATE` these are the lowest and the highest cost ratio in the range of the declared rates.
    """

    obstacle: Obstacle
    place: int | None
    found: float
    limit: float

    @property
    def verdict(self) -> Verdict:
        """The resulting verdict."""
        is_short = self.obstacle is Obstacle.NOT_REACHED
        return Verdict.NOT_REACHED if is_short else Verdict.NOT_COMPARABLE


def guard(
    finals: Sequence[Floats],
    num_reached: Sequence[int],
    level: float | None,
    *,
    num_classes: int | None = None,
    control: float | None = None,
    may_be_apart: bool = False,
) -> Guarded | None:
    """The first guard that applies to base and challenger at an accuracy; None if their costs can be compared.

    ``finals`` are final accuracies by replicate (NaN: no network). ``num_reached`` counts the replicates that reached
    ``level``, which is None if a contender has no median final accuracy. ``control`` is the mean final accuracy of the
    cheapest control. ``may_be_apart`` switches off the guard against very different accuracies.
    """
    if level is None:
        shares = [np.isnan(of_one).mean() if len(of_one) else 1.0 for of_one in finals]
        return Guarded(Obstacle.NOT_REACHED, int(np.argmax(shares)), 0, LEAST_REACHED)
    known = [of_one[~np.isnan(of_one)] for of_one in finals]
    apart = float(np.median(known[0]) - np.median(known[1]))
    if abs(apart) > MOST_APART + ROUNDING and not may_be_apart:
        return Guarded(Obstacle.APART, None, apart, MOST_APART)
    if num_classes is not None and level < chance_limit(num_classes) - ROUNDING:
        return Guarded(Obstacle.CHANCE, None, level, chance_limit(num_classes))
    for place, count in enumerate(num_reached):
        if count < min(LEAST_REACHED, len(finals[place])):
            return Guarded(Obstacle.NOT_REACHED, place, count, LEAST_REACHED)
    for place, of_one in enumerate(known):
        spread, limit = float(np.ptp(of_one)), most_spread(len(of_one))
        if spread > limit + ROUNDING:
            return Guarded(Obstacle.SPREAD, place, spread, limit)
    if control is not None and level < control - MOST_BELOW_CONTROL - ROUNDING:
        return Guarded(Obstacle.BELOW_CONTROL, None, level, control - MOST_BELOW_CONTROL)
    return None


def chance_limit(num_classes: int) -> float:
    """Accuracies below this are near chance: 5 points above chance, or three times chance if that is less."""
    chance = task().chance(num_classes)
    return chance + min(NEAR_CHANCE, 2 * chance)


@lru_cache(maxsize=256)
def most_spread(n: int) -> float:
    """The largest allowed range of ``n`` final accuracies: 4 points for three, more for more.

    The limit grows with n like the expected range of n normal values.
    """
    return MOST_SPREAD * max(1.0, _expected_range(max(n, 2)) / _expected_range(3))


def _expected_range(n: int) -> float:
    """The expected range of n standard normal values."""
    grid = np.linspace(-8.0, 8.0, 4001)
    below = normal_cdf(grid)
    return float(np.trapezoid(1 - below**n - (1 - below) ** n, grid))
