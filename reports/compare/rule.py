"""From a cost ratio to a verdict: the rule, the corrections for looks and several claims, and the n that would settle it.

The ratio is always challenger / base; above 1, the base (pruning, in the headline) is cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np

from reports.compare.log_ratio import LogRatio
from reports.distributions import Floats, chi2_quantile, noncentral_t_cdf, normal_cdf, normal_quantile, t_quantile

ALPHA = 0.05
SAME_FACTOR = 1.05
"""Costs within [1/1.05, 1.05] are not called different, however certain the ratio is."""
TIE_FACTOR = 1.25
"""Costs within [1/1.25, 1.25] count as a tie; beyond that, one is cheaper *by more than* 1.25."""
FIRST_LOOK_BACK = 0.01
"""Level of the first analysis after a study was extended with its results seen; each later one has half the level before."""
POWER = 0.8
MOST_REPLICATES = 200
NUM_PARTS = 200
"""Into so many equally likely parts the distribution of an sd is divided, to average over it."""
ROUNDING = 1 / NUM_PARTS
"""More than the average over the parts can differ from that over the distribution: a power falls with the sd, within 0-1."""


class Verdict(StrEnum):
    """The result of comparing costs at one accuracy; the contenders are named elsewhere."""

    BASE = "base"
    CHALLENGER = "challenger"
    NEITHER = "neither"
    TIE = "tie"
    INSUFFICIENT_EVIDENCE = "insufficient_evidence"
    NOT_REACHED = "not_reached"
    NOT_COMPARABLE = "not_comparable"


SHOWN = (Verdict.BASE, Verdict.CHALLENGER)


@dataclass(frozen=True)
class Decision:
    """A verdict with the interval of the ratio from which it follows.

    ``alpha`` is the level of the interval after all corrections. ``by_more`` says that the interval even excludes 1.25.
    """

    verdict: Verdict
    low: float | None
    high: float | None
    alpha: float
    by_more: bool = False


def decide(ratio: LogRatio, alpha: float = ALPHA) -> Decision:
    """The verdict that a ratio supports at level ``alpha``."""
    bounds, mean = ratio.interval(alpha), ratio.mean
    if bounds is None or mean is None:
        return Decision(Verdict.INSUFFICIENT_EVIDENCE, None, None, alpha)
    low, high = bounds
    if abs(mean) > math.log(SAME_FACTOR) and (low > 1 or high < 1):
        verdict = Verdict.BASE if low > 1 else Verdict.CHALLENGER
        return Decision(verdict, low, high, alpha, by_more=low > TIE_FACTOR or high < 1 / TIE_FACTOR)
    narrow = ratio.interval(2 * alpha)
    if narrow is not None and narrow[0] >= 1 / TIE_FACTOR and narrow[1] <= TIE_FACTOR:
        return Decision(Verdict.TIE, low, high, alpha)
    return Decision(Verdict.INSUFFICIENT_EVIDENCE, low, high, alpha)


def look_alpha(num_looks: int) -> float:
    """The level of an analysis after ``num_looks`` earlier ones at which the study could have ended but was extended.

    The planned analysis has 5 %; later ones have 1 %, 0.5 %, 0.25 % …, together less than 2 %.
    """
    return ALPHA if num_looks == 0 else FIRST_LOOK_BACK / 2 ** (num_looks - 1)


def holm(p_values: Sequence[float | None], alpha: float = ALPHA) -> list[float]:
    """The level at which each of several claims is tested by Holm's procedure; intervals at these levels agree with it.

    The smallest p-value is tested at α / m, the next at α / (m - 1) and so on. From the first failure on, all have the level
    of that one. A claim without a p-value counts and fails (Holm, *Scandinavian Journal of Statistics* 6, 1979).
    """
    levels = [alpha] * len(p_values)
    ordered = sorted(range(len(p_values)), key=lambda place: _or_one(p_values[place]))
    failed: float | None = None
    for rank, place in enumerate(ordered):
        level = failed if failed is not None else alpha / (len(ordered) - rank)
        levels[place] = level
        if failed is None and _or_one(p_values[place]) > level:
            failed = level
    return levels


@lru_cache(maxsize=4096)
def settling_n(mean: float, sd: float, alpha: float = ALPHA) -> int | None:
    """The number of replicates for which a verdict is 80 % likely, if the log ratio's ``mean`` and ``sd`` are the true ones.

    None if more than 200 would be needed.
    """
    if sd <= 0:
        return None
    for n in range(2, MOST_REPLICATES + 1):
        if _most_power(mean, sd, n, alpha) < POWER - ROUNDING:
            continue
        if power_of_difference(abs(mean), sd, n, alpha) + power_of_tie(mean, sd, n, alpha) >= POWER:
            return n
    return None


def power_of_difference(mean: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Probability that the interval of n replicates excludes 1 on the correct side (non-central t)."""
    if abs(mean) <= math.log(SAME_FACTOR):
        return 0.0
    limit = t_quantile(1 - alpha / 2, n - 1)
    return 1.0 - noncentral_t_cdf(limit, n - 1, abs(mean) * math.sqrt(n) / sd)


def power_of_tie(mean: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Probability that the 1 - 2α interval of n replicates is within [1/1.25, 1.25], over the distribution of the sd."""
    limit = math.log(TIE_FACTOR)
    if abs(mean) >= limit:
        return 0.0
    found = sd * _spreads(n)
    room = limit - t_quantile(1 - alpha, n - 1) * found / math.sqrt(n)
    error = sd / math.sqrt(n)
    inside = normal_cdf((room - mean) / error) - normal_cdf((-room - mean) / error)
    return float(np.where(room > 0, inside, 0.0).mean())


def _most_power(mean: float, sd: float, n: int, alpha: float) -> float:
    """What both powers together cannot exceed: those of tests that know the sd, which are the most powerful ones."""
    error = sd / math.sqrt(n)
    difference = abs(mean) / error - normal_quantile(1 - alpha / 2)
    tie = (math.log(TIE_FACTOR) - abs(mean)) / error - normal_quantile(1 - alpha)
    return float(normal_cdf(np.array([difference, tie])).sum())


@lru_cache(maxsize=MOST_REPLICATES)
def _spreads(n: int) -> Floats:
    """The middles of 200 equally likely parts of the distribution of the sd of n replicates, whose true sd is 1."""
    return np.sqrt(chi2_quantile((np.arange(NUM_PARTS) + 0.5) / NUM_PARTS, n - 1) / (n - 1))


def _or_one(p_value: float | None) -> float:
    return 1.0 if p_value is None else p_value
