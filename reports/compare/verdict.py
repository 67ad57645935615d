"""Which route is cheaper at equal quality, per target and charge policy, and which is more accurate (RQ2 and RQ1).

Equal quality: for each replicate, q is the lower of the two routes' best validation accuracies. What search had been
charged when it first reached q, over what pruning had been charged when *it* first reached q, is that replicate's
cost ratio; above 1, pruning is cheaper. The ratios are averaged as logarithms, with a 95 % t-interval.

Any other route that finds networks is compared with pruning in the same way. The *challenger* is the route that takes
the place of search; :func:`cheaper_route` turns a verdict into the name of the cheaper route.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from accounting.cost.attempts import CostView
from accounting.study.facts import StudyFacts
from accounting.words.names import PRUNE, SEARCH
from reports.compare.anytime import AnytimeCurve, anytime_curve, cost_to_reach
from reports.data.networks import Network
from reports.statistics import Estimate, mean_interval, paired_difference, ratio_interval

HEADLINE_CHALLENGER = SEARCH
TIE_FACTOR = 1.25
"""Cost ratios within [1/1.25, 1.25] count as the same cost."""


class Verdict(StrEnum):
    """The cheaper route at equal quality."""

    PRUNE = "prune"
    CHALLENGER = "challenger"
    TIE = "tie"
    INSUFFICIENT_EVIDENCE = "insufficient_evidence"


@dataclass(frozen=True)
class CostComparison:
    """A challenger against prune for one target and policy, over the replicates in which both delivered.

    ``ratio_of`` is the cost ratio (challenger / prune) at equal quality by replicate, ``quality_of`` the q it was read at.
    ``to_quality`` and ``total`` are device-hours by route.
    """

    challenger: str
    target: int
    policy: str
    verdict: Verdict
    cost_ratio: Estimate
    ratio_of: dict[int, float]
    quality_of: dict[int, float]
    to_quality: dict[str, Estimate]
    total: dict[str, Estimate]
    total_cost_ratio: Estimate


def decide(ratio: Estimate) -> Verdict:
    """The verdict that a cost ratio (challenger / prune) with its interval supports."""
    if ratio.low is None or ratio.high is None or ratio.n < 2:
        return Verdict.INSUFFICIENT_EVIDENCE
    if ratio.low > 1:
        return Verdict.PRUNE
    if ratio.high < 1:
        return Verdict.CHALLENGER
    if ratio.low >= 1 / TIE_FACTOR and ratio.high <= TIE_FACTOR:
        return Verdict.TIE
    return Verdict.INSUFFICIENT_EVIDENCE


def decide_accuracy(difference: Estimate) -> Verdict:
    """The more accurate route that a difference (prune - challenger) with its interval supports."""
    if difference.low is None or difference.high is None:
        return Verdict.INSUFFICIENT_EVIDENCE
    if difference.low > 0:
        return Verdict.PRUNE
    return Verdict.CHALLENGER if difference.high < 0 else Verdict.INSUFFICIENT_EVIDENCE


def cheaper_route(verdict: Verdict, challenger: str) -> str:
    """The verdict by name: the route that it is for, ``tie`` or ``insufficient_evidence``."""
    return challenger if verdict is Verdict.CHALLENGER else verdict.value


def paired_replicates(networks: Iterable[Network], target: int, challenger: str = HEADLINE_CHALLENGER) -> list[int]:
    """Replicates in which both compared routes delivered a network for the target."""
    delivered: dict[str, set[int]] = {challenger: set(), PRUNE: set()}
    for network in networks:
        if network.target == target and network.label in delivered:
            delivered[network.label].add(network.replicate)
    return sorted(set.intersection(*delivered.values()))


def compare_costs(
    view: CostView,
    info: StudyFacts,
    networks: Iterable[Network],
    target: int,
    policy: str,
    challenger: str = HEADLINE_CHALLENGER,
) -> CostComparison:
    """The cost side of the question, RQ2, for a measured target."""
    replicates = paired_replicates(networks, target, challenger)
    curves: dict[str, dict[int, AnytimeCurve]] = {
        route: {
            replicate: anytime_curve(
                view, route=route, replicate=replicate, target=target, policy=policy, num_targets=info.num_targets
            )
            for replicate in replicates
        }
        for route in (challenger, PRUNE)
    }
    quality = _equal_quality(curves)
    to_quality = {
        route: {replicate: _reached(by_replicate[replicate], q) for replicate, q in quality.items()}
        for route, by_replicate in curves.items()
    }
    total = {route: {number: curve.total_h for number, curve in by.items()} for route, by in curves.items()}
    ratio = ratio_interval(to_quality[challenger], to_quality[PRUNE])
    return CostComparison(
        challenger=challenger,
        target=target,
        policy=policy,
        verdict=decide(ratio),
        cost_ratio=ratio,
        ratio_of={
            replicate: to_quality[challenger][replicate] / to_quality[PRUNE][replicate]
            for replicate in quality
            if ratio.n > 0
        },
        quality_of=quality,
        to_quality={route: mean_interval(list(costs.values()), at_least=0.0) for route, costs in to_quality.items()},
        total={route: mean_interval(list(costs.values()), at_least=0.0) for route, costs in total.items()},
        total_cost_ratio=ratio_interval(total[challenger], total[PRUNE]),
    )


def accuracies(networks: Iterable[Network], target: int) -> dict[str, tuple[Estimate, Estimate]]:
    """Test and validation accuracy of the networks delivered for a target, by label."""
    mine = [network for network in networks if network.target == target]
    found = {}
    for label in sorted({network.label for network in mine}):
        of_label = [network for network in mine if network.label == label]
        test, val = ([n.test_top1 for n in of_label], [n.val_top1 for n in of_label])
        found[label] = _mean(test), _mean(val)
    return found


def difference_on_test(networks: Iterable[Network], target: int, challenger: str = HEADLINE_CHALLENGER) -> Estimate:
    """The accuracy side of the question, RQ1: test accuracy of prune - challenger, paired by replicate."""
    test: dict[str, dict[int, float]] = {PRUNE: {}, challenger: {}}
    for network in networks:
        if network.target == target and network.label in test and network.test_top1 is not None:
            test[network.label][network.replicate] = network.test_top1
    return paired_difference(test[PRUNE], test[challenger])


def pool_targets(comparisons: Iterable[CostComparison]) -> Estimate:
    """One cost ratio over all targets: geometric mean over targets within a replicate, then over replicates.

    Only replicates that have a ratio for every target that has any enter, so that each weighs the targets alike.
    """
    by_target = [comparison.ratio_of for comparison in comparisons if comparison.ratio_of]
    if not by_target:
        return ratio_interval({}, {})
    shared = set.intersection(*(set(ratios) for ratios in by_target))
    pooled = {
        replicate: math.exp(math.fsum(math.log(ratios[replicate]) for ratios in by_target) / len(by_target))
        for replicate in sorted(shared)
    }
    return ratio_interval(pooled, dict.fromkeys(pooled, 1.0))


def _equal_quality(curves: Mapping[str, Mapping[int, AnytimeCurve]]) -> dict[int, float]:
    """Q by replicate: the lower of the routes' best accuracies; replicates in which a route has none are left out."""
    quality: dict[int, float] = {}
    for replicate in curves[PRUNE]:
        bests = [by_replicate[replicate].best for by_replicate in curves.values()]
        known = [best for best in bests if best is not None]
        if len(known) == len(bests):
            quality[replicate] = min(known)
    return quality


def _reached(curve: AnytimeCurve, q: float) -> float:
    cost = cost_to_reach(curve, q)
    if cost is None:
        raise AssertionError(f"q = {q} is above the best of {curve.route}; it is the minimum of the two bests")
    return cost


def _mean(values: Iterable[float | None]) -> Estimate:
    return mean_interval([value for value in values if value is not None])
