"""Who pays for what: the parts of each contender's cost to a*, break-evens, and the ratio at lower accuracies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from accounting.cost.shares import HEADLINE_POLICY
from reports.compare.charges import BreakEven, Charges, break_even_price, break_even_targets
from reports.compare.contenders import Contender, Contenders
from reports.compare.judge import ratio_of
from reports.compare.log_ratio import LogRatio
from reports.compare.reach import Common, Floats
from reports.compare.rule import ALPHA, decide
from reports.compare.values import CostComparison, CostParts, PaysAgainst, PooledPays, RatioBelow, WhoPays
from reports.compare.verdict import ratio_estimate
from reports.statistics import NOTHING, Estimate, mean_interval

BELOW = (0.0, 0.01, 0.02, 0.04)
"""How far below a* cost ratios are also computed, as fractions: 1, 2 and 4 points."""

Compared = Mapping[str, Mapping[str, CostComparison]]
"""The comparisons at a target, by challenger and charge policy."""


def who_pays(contenders: Contenders, target: int, compared: Compared) -> WhoPays | None:
    """Who pays at one target; None if there is no accuracy at which costs are compared."""
    found = {label: by_policy[HEADLINE_POLICY] for label, by_policy in compared.items()}
    level = next((one.level for one in found.values() if one.level is not None), None)
    if level is None:
        return None
    margin, base, common = contenders.info.margin, contenders.pair[0], contenders.common(target)
    here = {one.label: one for one in contenders.at(target)}
    charges = {label: contenders.charges(one, target, common, margin) for label, one in here.items()}
    return WhoPays(
        level,
        _parent_h(contenders, charges.values()),
        tuple(_parts(one) for one in charges.values()),
        {
            label: _against(contenders, here[base], here[label], charges, target, comparison)
            for label, comparison in found.items()
            if base in charges and label in charges
        },
    )


def pooled_pays(
    contenders: Contenders, costs: Mapping[int, Compared], challenger: str, alpha: float
) -> PooledPays | None:
    """A challenger's break-evens over the targets at which its costs can be compared; None if there are no such targets."""
    base, pairs = contenders.pair[0], []
    for target, compared in costs.items():
        if (by_policy := compared.get(challenger)) is None or by_policy[HEADLINE_POLICY].guarded:
            continue
        here, common = {one.label: one for one in contenders.at(target)}, contenders.common(target)
        if common.level is not None and base in here and challenger in here:
            first, second = (
                contenders.charges(here[name], target, common, contenders.info.margin) for name in (base, challenger)
            )
            pairs.append((first, second))
    if not pairs:
        return None
    return PooledPays(
        challenger, len(pairs), break_even_targets(pairs, alpha=alpha), break_even_price(pairs, alpha=alpha)
    )


def ratio_at(
    contenders: Contenders, base: Contender, challenger: Contender, target: int, common: Common, *, alpha: float = ALPHA
) -> tuple[LogRatio, Estimate, dict[str, int]]:
    """The cost ratio challenger / base to reach an accuracy, all work charged, and how many replicates reached it."""
    margin = contenders.info.margin
    efforts = {one.label: contenders.effort(one, target, HEADLINE_POLICY, common, margin) for one in (base, challenger)}
    ratio = ratio_of(efforts[challenger.label], efforts[base.label])
    return (
        ratio,
        ratio_estimate(ratio, decide(ratio, alpha)),
        {label: effort.num_reached for label, effort in efforts.items()},
    )


def _against(
    contenders: Contenders,
    base: Contender,
    challenger: Contender,
    charges: Mapping[str, Charges],
    target: int,
    comparison: CostComparison,
) -> PaysAgainst:
    pair = [(charges[base.label], charges[challenger.label])]
    alpha, level = comparison.alpha, comparison.level
    sway = contenders.common(target).sway
    is_compared = comparison.guarded is None and level is not None
    nothing = BreakEven(None, None, None, None, None, alpha, 0)
    levels = []
    for below in BELOW if level is not None else ():
        at = float(level or 0.0) - below
        _, estimate, reached = ratio_at(contenders, base, challenger, target, Common(at, sway), alpha=alpha)
        levels.append(RatioBelow(below, at, estimate, reached))
    return PaysAgainst(
        challenger.label,
        break_even_targets(pair, alpha=alpha) if is_compared else nothing,
        break_even_price(pair, alpha=alpha) if is_compared else nothing,
        tuple(levels),
    )


def _parts(charges: Charges) -> CostParts:
    here = np.isfinite(charges.reached.total) & ~np.isnan(charges.spent.total)
    reached = charges.reached
    return CostParts(
        label=charges.label,
        pretraining=_mean(reached.pretraining[here]),
        shared=_mean(reached.shared[here]),
        own=_mean(reached.own[here]),
        total=_mean(reached.total[here]),
        builds_on_parent=bool(charges.builds_on_parent.any()),
    )


def _parent_h(contenders: Contenders, charges: Iterable[Charges]) -> Estimate:
    declared = contenders.info.declared_parent
    if declared is not None:
        return Estimate(declared.hours, None, None, None, 0)
    for one in charges:
        here = one.builds_on_parent & ~np.isnan(one.spent.pretraining)
        if here.any():
            return _mean(one.spent.pretraining[here])
    return NOTHING


def _mean(values: Floats) -> Estimate:
    return mean_interval([float(value) for value in values], at_least=0.0)
