"""The ratio of two contenders' costs over replicates, in some of which one never reached the accuracy. Pure functions.

The logarithms of the ratios are assumed to be normal. If one contender did not reach the accuracy with all it spent, its
cost is only known to exceed that (it is censored). The ratio's logarithm is then replaced by its expectation, given the
bound, under the normal distribution fitted to all replicates (by expectation-maximisation; Schmee and Hahn, *Technometrics*
21, 1979). A censored replicate carries less information: its share of the Fisher information about the mean of a whole one.
The interval is widened by √(n / information).

The accuracy at which costs are read is itself estimated from the replicates, and would differ in another study. How far each
replicate pulls it, times how steeply the ratio changes with it, is added to that replicate's logarithm before the spread is
computed (linearisation, or delta method: the mean stays, and the interval covers both uncertainties and their covariance).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from reports.compare.reach import NO_SWAY, Floats
from reports.distributions import log_normal_cdf, t_both_tails, t_quantile

LEAST_SD = 0.02
"""Smallest standard deviation assumed for a ratio's logarithm: closer agreement than 2 % between replicates is chance."""
MOST_ROUNDS = 200
TOLERANCE = 1e-7


@dataclass(frozen=True)
class LogRatio:
    """The natural logarithm of a cost ratio over ``n`` replicates, of which ``num_whole`` are exact and not censored.

    By replicate: ``values`` (expectations if censored), ``unseen``, the variances given the bounds, and ``known``, the share
    (0-1) of a whole replicate's information; these are NaN, 0 and 0 if neither contender reached the accuracy. ``sway`` is
    what each adds through the accuracy that it helps to determine; it is empty if that accuracy is fixed.
    """

    values: Floats
    known: Floats
    unseen: Floats
    num_whole: int
    sway: Floats = field(default_factory=lambda: NO_SWAY)

    @property
    def n(self) -> int:
        """Number of replicates that carry any information."""
        return int((self.known > 0).sum())

    @property
    def has_interval(self) -> bool:
        """Whether at least two replicates are exact."""
        return self.num_whole >= 2

    @property
    def mean(self) -> float | None:
        """Mean of the logarithms; None if there are none."""
        return float(self.values[self.known > 0].mean()) if self.n else None

    @property
    def sd(self) -> float | None:
        """Standard deviation between replicates, at least :data:`LEAST_SD`; None if n < 2."""
        return self._spread(self.values)

    @property
    def sd_in_all(self) -> float | None:
        """:attr:`sd` with what the choice of the accuracy adds: √information times the standard error."""
        return self._spread(self.values + self.sway if self.sway.size else self.values)

    @property
    def error(self) -> float | None:
        """Standard error of the mean: sd / √information, where information is n less what censoring costs."""
        sd = self.sd_in_all
        return None if sd is None else sd / math.sqrt(float(self.known.sum()))

    def swayed(self, sway: Floats) -> LogRatio:
        """The same, at an accuracy that is estimated from the replicates."""
        return replace(self, sway=sway) if self.values.size else self

    def _spread(self, values: Floats) -> float | None:
        if self.n < 2:
            return None
        here = self.known > 0
        kept = values[here]
        variance = (((kept - kept.mean()) ** 2).sum() + self.unseen[here].sum()) / (len(kept) - 1)
        return max(math.sqrt(float(variance)), LEAST_SD)

    def p_value(self) -> float | None:
        """Two-sided p-value of equal costs; None without an interval."""
        mean, error = self.mean, self.error
        if mean is None or error is None or not self.has_interval:
            return None
        return t_both_tails(mean / error, self.n - 1)

    def interval(self, alpha: float) -> tuple[float, float] | None:
        """Bounds of the ratio itself at confidence 1 - ``alpha``; None with fewer than two exact replicates."""
        mean, error = self.mean, self.error
        if mean is None or error is None or not self.has_interval:
            return None
        half = t_quantile(1 - alpha / 2, self.n - 1) * error
        return exp_of(mean - half), exp_of(mean + half)


def log_ratio(above: Floats, above_spent: Floats, below: Floats, below_spent: Floats) -> LogRatio:
    """The ratio ``above`` / ``below`` of costs, given by replicate; a cost is infinite if the accuracy was not reached.

    A replicate in which either ``*_spent`` is NaN does not enter, since that contender is not done. Costs must be positive:
    if any is not, the whole ratio is empty, since leaving out that replicate would bias it.
    """
    spent = np.stack([np.where(np.isinf(c), s, c) for c, s in ((above, above_spent), (below, below_spent))])
    absent = np.isnan(above_spent) | np.isnan(below_spent)
    if (spent[:, ~absent] <= 0).any():
        return NO_RATIO
    logs = np.log(np.where(absent, 1.0, spent[0])) - np.log(np.where(absent, 1.0, spent[1]))
    sides = np.isinf(above).astype(int) - np.isinf(below).astype(int)
    silent = absent | (np.isinf(above) & np.isinf(below))
    if not sides.any() and not silent.any():
        return LogRatio(logs, np.ones(len(logs)), np.zeros(len(logs)), len(logs))
    return _censored(logs, sides, silent)


def pooled(ratios: Sequence[LogRatio]) -> LogRatio:
    """One ratio over several targets: the mean logarithm within each replicate that has one at every target."""
    given = [ratio for ratio in ratios if ratio.n]
    if not given:
        return NO_RATIO
    values, known, unseen = (
        np.stack([getattr(ratio, name) for ratio in given]) for name in ("values", "known", "unseen")
    )
    everywhere = (known > 0).all(axis=0)
    whole = int((known >= 1).all(axis=0).sum())
    sways = [ratio.sway if ratio.sway.size else np.zeros(everywhere.shape) for ratio in given]
    return LogRatio(
        np.where(everywhere, values.mean(axis=0), np.nan),
        np.where(everywhere, known.mean(axis=0), 0.0),
        np.where(everywhere, unseen.mean(axis=0), 0.0),
        whole,
        np.mean(sways, axis=0),
    )


def _censored(bounds: Floats, sides: NDArray[np.int64], silent: NDArray[np.bool_]) -> LogRatio:
    """Fill in censored logarithms. ``sides`` is 1 where the value is above its bound, -1 where below, 0 where exact."""
    here = ~silent
    sign, bound = sides[here].astype(float), bounds[here]
    values, known, unseen = bound.copy(), np.where(sign == 0, 1.0, 0.0), np.zeros(len(bound))
    whole = int((sign == 0).sum())
    if whole >= 2:
        mean, sd = float(bound.mean()), max(float(bound.std(ddof=1)), LEAST_SD)
        for _ in range(MOST_ROUNDS):
            distance = sign * (bound - mean) / sd
            hazard = np.exp(-0.5 * distance**2 - log_normal_cdf(-distance)) / math.sqrt(2 * math.pi)
            kept = np.clip(hazard * (hazard - distance), 1e-6, 1.0)
            values = np.where(sign == 0, bound, mean + sign * sd * hazard)
            known = np.where(sign == 0, 1.0, kept)
            unseen = np.where(sign == 0, 0.0, sd**2 * (1 - kept))
            next_mean = float(values.mean())
            spread = float(((values - next_mean) ** 2).sum() + unseen.sum()) / (len(values) - 1)
            next_sd = max(math.sqrt(spread), LEAST_SD)
            is_done = abs(next_mean - mean) + abs(next_sd - sd) < TOLERANCE
            mean, sd = next_mean, next_sd
            if is_done:
                break
    return LogRatio(_placed(values, here, np.nan), _placed(known, here, 0.0), _placed(unseen, here, 0.0), whole)


def _placed(values: Floats, here: NDArray[np.bool_], elsewhere: float) -> Floats:
    full = np.full(len(here), elsewhere)
    full[here] = values
    return full


def exp_of(value: float) -> float:
    """The exponential, finite for any finite value."""
    return math.exp(min(value, 700.0))


_EMPTY = np.zeros(0)
NO_RATIO = LogRatio(_EMPTY, _EMPTY, _EMPTY, 0)
"""The empty ratio."""
