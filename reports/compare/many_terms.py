"""Cost ratios under many terms at once, for the values that a break-even is looked for at.

Only the plain case is computed here: every replicate is done, reached the accuracy, and has a positive cost under all of
the terms. Its results equal those of :func:`reports.compare.charges.ratio_under` to the last bit, in a tenth of the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from reports.compare.log_ratio import LEAST_SD, exp_of
from reports.compare.reach import Floats, slope_of
from reports.distributions import t_quantile

if TYPE_CHECKING:
    from reports.compare.charges import Charges, Parts, Terms

Bounds = tuple[float, float, float, int]
"""Mean of a ratio's logarithm, the bounds of the ratio, and the number of replicates."""


def bounds_under(pairs: Sequence[tuple[Charges, Charges]], terms: Sequence[Terms], alpha: float) -> list[Bounds] | None:
    """The bounds under each of the terms; None if this is not the plain case."""
    ratios = [_ratios(base, challenger, terms) for base, challenger in pairs]
    given = [ratio for ratio in ratios if ratio is not None]
    if not given or len(given) < len(ratios) or len({ratio[0].shape for ratio in given}) > 1:
        return None
    if len(given) == 1:
        values, sways = given[0]
    else:
        values, sways = np.stack([ratio[0] for ratio in given]).mean(axis=0), _pooled_sways(given)
    n = values.shape[1]
    if n < 2:
        return None
    means = values.mean(axis=1)
    moved = values if sways is None else values + sways
    squares = ((moved - moved.mean(axis=1)[:, None]) ** 2).sum(axis=1)
    width, root = t_quantile(1 - alpha / 2, n - 1), math.sqrt(float(n))
    found = []
    for mean, square in zip(means.tolist(), squares.tolist(), strict=True):
        half = width * (max(math.sqrt(square / (n - 1)), LEAST_SD) / root)
        found.append((mean, exp_of(mean - half), exp_of(mean + half), n))
    return found


Ratios = tuple[Floats, Floats | None]
"""Logarithms and what the choice of the accuracy adds to them, by terms and replicate; None if it adds nothing."""


def _pooled_sways(given: Sequence[Ratios]) -> Floats:
    """The mean over targets; a target whose accuracy is fixed counts as 0."""
    found: Floats = np.mean([np.zeros(values.shape) if sway is None else sway for values, sway in given], axis=0)
    return found


def _ratios(base: Charges, challenger: Charges, terms: Sequence[Terms]) -> Ratios | None:
    costs = [_costs(one.reached, one, terms) for one in (base, challenger)]
    spent = [_costs(one.spent, one, terms) for one in (base, challenger)]
    if any(not np.isfinite(each).all() or (each <= 0).any() for each in [*costs, *spent]):
        return None
    values: Floats = np.log(costs[1]) - np.log(costs[0])
    if base.around is None or challenger.around is None or not base.sway.size:
        return values, None
    slopes = [slope_of(*(_costs(parts, one, terms) for parts in one.around or ())) for one in (base, challenger)]
    steepness = slopes[1] - slopes[0]
    if not np.isfinite(steepness).all() or steepness.shape[1] < 2:
        return None
    means, errors = steepness.mean(axis=1).tolist(), steepness.var(axis=1, ddof=1).tolist()
    size = steepness.shape[1]
    steep = [math.copysign(math.sqrt(mean**2 + error / size), mean) for mean, error in zip(means, errors, strict=True)]
    return values, np.array(steep)[:, None] * base.sway


def _costs(parts: Parts, charges: Charges, terms: Sequence[Terms]) -> Floats:
    """Device-hours by terms and replicate, as :meth:`reports.compare.charges.Parts.under` gives them."""
    served = np.array([one.targets_served for one in terms])[:, None]
    prices = [one.parent_h for one in terms]
    parent: Floats = parts.pretraining[None, :]
    if any(price is not None for price in prices):
        asked = np.array([math.nan if price is None else price for price in prices])[:, None]
        parent = np.where(charges.builds_on_parent & ~np.isnan(asked), asked, parent)
    found: Floats = (parent + parts.shared) / served + parts.own
    return found
