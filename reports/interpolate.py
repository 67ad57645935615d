"""Between two measured targets: linear in the logarithm of the MACs, intervals never narrower than the neighbours'.

Cost ratios and costs are interpolated as logarithms, accuracies as they are. The interval of an interpolated value is
the envelope of its neighbours' intervals: interpolating adds no evidence. The verdict follows from that interval.
"""

from __future__ import annotations

import math
from typing import Any

from reports.statistics import Estimate
from reports.verdict import HEADLINE_CHALLENGER, cheaper_route, decide, decide_accuracy
from reports.wording import macs_text

Fields = dict[str, Any]


def interpolate_answer(low: Fields, high: Fields, target: int) -> Fields:
    """The fields of an answer at ``target`` that follow from the answers at the measured targets around it."""
    weight = weight_between(low["target_macs"], high["target_macs"], target)
    labels = [label for label in low["accuracy"] if label in high["accuracy"]]
    difference = linear(low["accuracy_difference"], high["accuracy_difference"], weight)
    policies = interpolate_policies(low["policies"], high["policies"], weight)
    return {
        "n": min(low["n"], high["n"]),
        "complete": low["complete"] and high["complete"],
        "verdict": policies[low["headline_policy"]]["verdict"],
        "accuracy": {
            label: {
                key: linear(low["accuracy"][label][key], high["accuracy"][label][key], weight).as_dict()
                for key in ("test_top1", "val_top1")
            }
            for label in labels
        },
        "accuracy_difference": difference.as_dict(),
        "more_accurate": decide_accuracy(difference).value,
        "policies": policies,
        "notes": [
            f"interpolated between {macs_text(low['target_macs'])} and {macs_text(high['target_macs'])} MACs, "
            "linear in log MACs; nothing was trained at this target",
            *dict.fromkeys([*low["notes"], *high["notes"]]),
        ],
    }


def weight_between(low: int, high: int, target: int) -> float:
    """How far (0-1) the target lies from ``low`` to ``high`` on a logarithmic axis."""
    return math.log(target / low) / math.log(high / low)


def interpolate_policies(low: Fields, high: Fields, weight: float, challenger: str = HEADLINE_CHALLENGER) -> Fields:
    """The policies of a comparison between two measured ones."""
    return {name: _policy(low[name], high[name], weight, challenger) for name in low}


def linear(low: Fields, high: Fields, weight: float) -> Estimate:
    """A value between two, on its own scale."""
    value = None if low["value"] is None or high["value"] is None else _between(low["value"], high["value"], weight)
    return _enveloped(value, low, high)


def _policy(low: Fields, high: Fields, weight: float, challenger: str) -> Fields:
    ratio = _logarithmic(low["cost_ratio"], high["cost_ratio"], weight)
    return {
        "verdict": cheaper_route(decide(ratio), challenger),
        "cost_ratio": ratio.as_dict(),
        "cost_to_equal_quality": _each(low, high, "cost_to_equal_quality", weight),
        "total_cost": _each(low, high, "total_cost", weight),
        "total_cost_ratio": _logarithmic(low["total_cost_ratio"], high["total_cost_ratio"], weight).as_dict(),
        "equal_quality_val_top1": {},
    }


def _each(low: Fields, high: Fields, key: str, weight: float) -> Fields:
    return {route: _logarithmic(low[key][route], high[key][route], weight).as_dict() for route in low[key]}


def _logarithmic(low: Fields, high: Fields, weight: float) -> Estimate:
    ends = low["value"], high["value"]
    if None in ends or min(ends) <= 0:
        return _enveloped(None, low, high)
    return _enveloped(math.exp(_between(math.log(ends[0]), math.log(ends[1]), weight)), low, high)


def _between(low: float, high: float, weight: float) -> float:
    return (1 - weight) * low + weight * high


def _enveloped(value: float | None, low: Fields, high: Fields) -> Estimate:
    bounds = low["low"], high["low"], low["high"], high["high"]
    n = min(low["n"], high["n"])
    if value is None or None in bounds:
        return Estimate(value, None, None, None, n)
    return Estimate(value, min(bounds[:2]), max(bounds[2:]), max(low["sd"], high["sd"]), n)
