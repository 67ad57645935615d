"""Further routes that find networks (a supernet, a search that ends in pruning) against pruning, beside the headline."""

from __future__ import annotations

from typing import Any

from reports.costs import HEADLINE_POLICY, POLICIES
from reports.frames import Frames
from reports.interpolate import interpolate_policies, linear, weight_between
from reports.sentences import estimate_of, route_sentence
from reports.statistics import Estimate
from reports.study import FURTHER_ROUTES
from reports.verdict import (
    HEADLINE_CHALLENGER,
    PRUNE,
    CostComparison,
    cheaper_route,
    compare_accuracies,
    compare_costs,
    decide,
    paired_replicates,
    pool_targets,
)
from reports.wording import label_text, macs_text, points_estimate

Fields = dict[str, Any]


def further_routes(frames: Frames, target: int) -> dict[str, Fields]:
    """By route, its comparison with pruning at a target; only routes with a replicate in which both delivered."""
    return {
        route: _with_sentence(_compared(frames, route, target), route, f"At {macs_text(target)} MACs", frames.unit)
        for route in FURTHER_ROUTES
        if paired_replicates(frames.delivered, target, route)
    }


def interpolated_routes(low: Fields, high: Fields, target: int) -> dict[str, Fields]:
    """:func:`further_routes` at a target between those of two answers, for the routes that both of these have."""
    weight = weight_between(low["target_macs"], high["target_macs"], target)
    at = f"At {macs_text(target)} MACs (interpolated, nothing was trained at this target)"
    found: dict[str, Fields] = {}
    for route in [name for name in low["further_routes"] if name in high["further_routes"]]:
        ends = low["further_routes"][route], high["further_routes"][route]
        difference = linear(ends[0]["accuracy_difference"], ends[1]["accuracy_difference"], weight)
        fields = {
            "n": min(end["n"] for end in ends),
            "accuracy_difference": difference.as_dict(),
            "policies": interpolate_policies(ends[0]["policies"], ends[1]["policies"], weight, route),
        }
        found[route] = _with_sentence(fields, route, at, low["unit"])
    return found


def pooled_routes(frames: Frames) -> dict[str, Fields]:
    """By route, its cost ratio over all targets at which it can be compared with pruning, by policy, and a sentence."""
    pooled: dict[str, Fields] = {}
    for route in FURTHER_ROUTES:
        targets = [t for t in frames.info.targets if paired_replicates(frames.delivered, t, route)]
        if not targets:
            continue
        ratios: dict[str, Estimate] = {}
        counts: dict[str, int] = {}
        for policy in POLICIES:
            comparisons = [_costs(frames, route, target, policy) for target in targets]
            ratios[policy] = pool_targets(comparisons)
            counts[policy] = sum(bool(c.ratio_of) for c in comparisons) or len(comparisons)
        verdicts = {policy: decide(ratio) for policy, ratio in ratios.items()}
        at = _over(counts[HEADLINE_POLICY], frames.info.dataset)
        pooled[route] = {
            "policies": {
                policy: {
                    "verdict": cheaper_route(verdicts[policy], route),
                    "cost_ratio": ratios[policy].as_dict(),
                    "num_targets": counts[policy],
                }
                for policy in POLICIES
            },
            "sentence": f"{route_sentence(route, at, ratios, verdicts, frames.unit, HEADLINE_POLICY)}.",
        }
    return pooled


def policy_fields(costs: CostComparison, challenger: str = HEADLINE_CHALLENGER) -> Fields:
    """One policy of an answer, for a comparison of the challenger with pruning."""
    routes = (challenger, PRUNE)
    return {
        "verdict": cheaper_route(costs.verdict, challenger),
        "cost_ratio": costs.cost_ratio.as_dict(),
        "cost_to_equal_quality": {route: costs.to_quality[route].as_dict() for route in routes},
        "total_cost": {route: costs.total[route].as_dict() for route in routes},
        "total_cost_ratio": costs.total_cost_ratio.as_dict(),
        "equal_quality_val_top1": {str(replicate): q for replicate, q in costs.quality_of.items()},
    }


def _compared(frames: Frames, route: str, target: int) -> Fields:
    return {
        "n": len(paired_replicates(frames.delivered, target, route)),
        "accuracy_difference": compare_accuracies(frames.delivered, target, route).difference.as_dict(),
        "policies": {policy: policy_fields(_costs(frames, route, target, policy), route) for policy in POLICIES},
    }


def _costs(frames: Frames, route: str, target: int, policy: str) -> CostComparison:
    return compare_costs(frames.view, frames.info, frames.delivered, target, policy, route)


def _with_sentence(fields: Fields, route: str, at: str, unit: str) -> Fields:
    ratios = {policy: estimate_of(part["cost_ratio"]) for policy, part in fields["policies"].items()}
    verdicts = {policy: decide(ratio) for policy, ratio in ratios.items()}
    compared = route_sentence(route, at, ratios, verdicts, unit, HEADLINE_POLICY)
    difference = points_estimate(estimate_of(fields["accuracy_difference"]))
    return fields | {"sentence": f"{compared}; prune − {label_text(route)} test accuracy: {difference}."}


def _over(num_targets: int, dataset: str) -> str:
    return f"On {dataset}, {'1 target' if num_targets == 1 else f'{num_targets} targets pooled'}"
