"""Verdicts that hold wherever in its range a declared equivalence of GPU models is: a study is judged at the ends, too.

A comparison whose verdict differs between the declared rate and any end is not comparable: the rate would decide it, not
the measurement. The cheapest contender is named only if it is the same at all of them, and a claim is made only if it
holds at all of them. Costs and ratios have their ends with them (:mod:`reports.compare.at_ends`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from reports.compare.at_ends import with_ends
from reports.compare.guards import Guarded, Obstacle
from reports.compare.rule import Verdict
from reports.compare.values import CheapestOfAll, CostComparison, PooledCosts, StudyVerdicts

Costs = TypeVar("Costs", CostComparison, PooledCosts)


def steady(stated: StudyVerdicts, *ends: StudyVerdicts) -> StudyVerdicts:
    """The verdicts at the declared rates, without those that are others at an end; unchanged if there are no ends."""
    if not ends:
        return stated
    costs = {
        target: {
            label: {
                policy: _steady(found, [end.costs[target][label][policy] for end in ends])
                for policy, found in by_policy.items()
            }
            for label, by_policy in of_target.items()
        }
        for target, of_target in stated.costs.items()
    }
    pooled = {
        label: {policy: _steady(found, _pooled(ends, label, policy)) for policy, found in by_policy.items()}
        for label, by_policy in stated.pooled.items()
    }
    cheapest = {
        target: {
            policy: _same_cheapest(found, [end.cheapest[target][policy] for end in ends])
            for policy, found in by_policy.items()
        }
        for target, by_policy in stated.cheapest.items()
    }
    return StudyVerdicts(costs, pooled, cheapest)


def _pooled(ends: Sequence[StudyVerdicts], label: str, policy: str) -> list[PooledCosts]:
    return [found for end in ends if (found := end.pooled.get(label, {}).get(policy)) is not None]


def _steady(stated: Costs, ends: Sequence[Costs]) -> Costs:
    each: list[Costs] = [stated]
    each.extend(ends)
    values = [one.cost_ratio.value for one in each]
    ratios = [value for value in values if value is not None]
    merged = with_ends(stated, ends)
    everywhere = set.intersection(*(set(_instead(one)) for one in each))
    instead = tuple(one for one, label in zip(merged.instead, _instead(stated), strict=True) if label in everywhere)
    is_same = len({one.verdict for one in each}) < 2 and (not stated.instead or bool(instead))
    if is_same or len(ratios) < 2:
        needed = [one.settling_n for one in each]
        settling_n = None if None in needed else max(n for n in needed if n is not None)
        by_more = all(one.by_more for one in each)
        return replace(merged, by_more=by_more, settling_n=settling_n, instead=instead)
    guarded = Guarded(Obstacle.RATE, None, min(ratios), max(ratios))
    return replace(merged, verdict=Verdict.NOT_COMPARABLE, guarded=guarded, by_more=False, settling_n=None, instead=())


def _instead(costs: Costs) -> list[str]:
    """The labels of the controls that make both contenders unnecessary."""
    return [one if isinstance(one, str) else one.label for one in costs.instead]


def _same_cheapest(stated: CheapestOfAll | None, ends: Sequence[CheapestOfAll | None]) -> CheapestOfAll | None:
    if stated is None or any(end is None or end.label != stated.label for end in ends):
        return None
    not_beaten = [label for each in (stated, *ends) if each is not None for label in each.not_beaten]
    merged = with_ends(stated, [end for end in ends if end is not None])
    return replace(merged, not_beaten=tuple(dict.fromkeys(not_beaten)))
