"""From a cost ratio to a verdict: the rule, the corrections for looks and for many claims, the n that would settle it.

The ratio is always challenger / base; above 1, the base (pruning, in the headline) is cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from scipy import special

from reports.compare.log_ratio import LogRatio, t_quantile

ALPHA = 0.05
SAME_FACTOR = 1.05
"""Costs within [1/1.05, 1.05] are not called different, however sure that is."""
TIE_FACTOR = 1.25
"""Costs within [1/1.25, 1.25] count as the same cost; beyond that one is cheaper *by more than* 1.25."""
FIRST_LOOK_BACK = 0.01
"""Level of the first analysis after a study was extended upon a look at its results; each further one has half of it."""
POWER = 0.8
MOST_REPLICATES = 200


class Verdict(StrEnum):
    """What a comparison of costs at one accuracy says; the two contenders are named elsewhere."""

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
    """A verdict with the interval (of the ratio) that it was read from.

    ``alpha`` is the level of the interval, after all corrections. ``by_more`` says that the interval excludes 1.25, too.
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
    """The level of an analysis that was preceded by ``num_looks`` at which the study could have ended, but was extended.

    The planned one has 5 %; then 1 %, 0.5 %, 0.25 % …: all later ones together have less than 2 %.
    """
    return ALPHA if num_looks == 0 else FIRST_LOOK_BACK / 2 ** (num_looks - 1)


def holm(p_values: Sequence[float | None], alpha: float = ALPHA) -> list[float]:
    """The level at which each of several claims is tested, by Holm's procedure; intervals at these levels agree with it.

    The smallest p-value has α / m, the next α / (m - 1) and so on; from the first that fails on, all have its level. A claim
    without a p-value counts, and fails (Holm, *Scandinavian Journal of Statistics* 6, 1979).
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
    """Replicates with which a verdict is 80 % likely, if ``mean`` and ``sd`` of the log ratio are the true ones.

    None where more than 200 would be needed.
    """
    if sd <= 0:
        return None
    for n in range(2, MOST_REPLICATES + 1):
        if power_of_difference(abs(mean), sd, n, alpha) + power_of_tie(mean, sd, n, alpha) >= POWER:
            return n
    return None


def power_of_difference(mean: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Chance that the interval of n replicates excludes 1 on the right side (non-central t)."""
    if abs(mean) <= math.log(SAME_FACTOR):
        return 0.0
    limit = t_quantile(1 - alpha / 2, n - 1)
    return 1.0 - float(special.nctdtr(n - 1, abs(mean) * math.sqrt(n) / sd, limit))


def power_of_tie(mean: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Chance that the 1 - 2α interval of n replicates is inside [1/1.25, 1.25], over what the sd may turn out to be."""
    limit = math.log(TIE_FACTOR)
    if abs(mean) >= limit:
        return 0.0
    found = sd * np.sqrt(special.chdtri(n - 1, 1 - (np.arange(200) + 0.5) / 200) / (n - 1))
    room = limit - t_quantile(1 - alpha, n - 1) * found / math.sqrt(n)
    error = sd / math.sqrt(n)
    inside = special.ndtr((room - mean) / error) - special.ndtr((-room - mean) / error)
    return float(np.where(room > 0, inside, 0.0).mean())


def _or_one(p_value: float | None) -> float:
    return 1.0 if p_value is None else p_value
