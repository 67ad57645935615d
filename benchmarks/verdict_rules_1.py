"""The verdict under version 1 of its rules, for many studies at once; kept for comparison with the current one.

For each replicate in which both routes delivered, q was the lower of the two routes' best measured accuracies. The
ratio was that of their costs when each first measured q or better, with everything that was running charged up to that
moment. The mean of the logarithms had a 95 % t-interval.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from benchmarks.simulated_studies import Floats, Route

TIE = 1.25


def log_ratios(base: Route, challenger: Route) -> Floats:
    """Logarithms of the cost of challenger / base, shape (studies, replicates); NaN where a route delivered nothing."""
    quality = np.minimum(base.raw_top1.max(axis=-1), challenger.raw_top1.max(axis=-1))[..., None]
    costs = [np.where(route.raw_top1 >= quality, route.raw_cost, np.inf).min(axis=-1) for route in (challenger, base)]
    delivered = base.delivered & challenger.delivered
    return np.where(delivered, np.log(costs[0]) - np.log(costs[1]), np.nan)


def judged(logs: Floats) -> tuple[Floats, Floats, Floats, list[str]]:
    """Means, lower and upper bounds (NaN without an interval) and verdicts from (studies, replicates) logarithms."""
    n = (~np.isnan(logs)).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(logs, axis=-1) / n
        sd = np.sqrt(np.nansum((logs - mean[..., None]) ** 2, axis=-1) / (n - 1))
        half = stats.t.ppf(0.975, np.maximum(n - 1, 1)) * sd / np.sqrt(n)
    half = np.where(n >= 2, half, np.nan)
    low, high = mean - half, mean + half
    is_tie = (low >= -np.log(TIE)) & (high <= np.log(TIE))
    verdicts = np.select([low > 0, high < 0, is_tie], ["base", "challenger", "tie"], "insufficient_evidence")
    return mean, low, high, list(verdicts)
