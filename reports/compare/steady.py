"""Verdicts that hold wherever in its range a declared equivalence of GPU models is: a study is judged at the ends, too.

A comparison whose verdict differs between the declared rate and any end is not comparable: the rate would decide it, not
the measurement. The cheapest contender is named only if it is the same at all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

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
    verdicts = {stated.verdict, *(end.verdict for end in ends)}
    values = [stated.cost_ratio.value, *(end.cost_ratio.value for end in ends)]
    ratios = [value for value in values if value is not None]
    if len(verdicts) < 2 or len(ratios) < 2:
        return stated
    guarded = Guarded(Obstacle.RATE, None, min(ratios), max(ratios))
    return replace(stated, verdict=Verdict.NOT_COMPARABLE, guarded=guarded, settling_n=None, instead=())


def _same_cheapest(stated: CheapestOfAll | None, ends: Sequence[CheapestOfAll | None]) -> CheapestOfAll | None:
    if stated is None or any(end is None or end.label != stated.label for end in ends):
        return None
    not_beaten = [label for each in (stated, *ends) if each is not None for label in each.not_beaten]
    return replace(stated, not_beaten=tuple(dict.fromkeys(not_beaten)))
