"""Interpolation between two measured targets: linear in the logarithm of the MACs, never with narrower intervals.

Costs and cost ratios are interpolated as logarithms, accuracies as they are. The interval of an interpolated value is the
envelope of its neighbours' intervals, since interpolation adds no evidence. The verdict follows from that interval.

With three or more measured targets, the error of interpolation is measured: each inner target is left out and interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from reports.answers.values import Accuracy, Comparison, Interpolated, Measured, Question
from reports.compare.rule import Verdict
from reports.compare.values import CostComparison, Instead
from reports.compare.verdict import decide_interval
from reports.statistics import Ends, Estimate

MOST_LEFT_OUT_ERROR = 1.25
"""The largest factor by which interpolation may miss a measured cost ratio; beyond that, it is refused."""


def interpolated(question: Question, low: Measured, high: Measured, error: float | None = None) -> Interpolated:
    """The answer to ``question``, whose target lies between those of two measured answers."""
    weight = weight_between(low.question.target, high.question.target, question.target)
    above = {comparison.challenger: comparison for comparison in high.further}
    return Interpolated(
        question=question,
        low=low,
        high=high,
        headline=_comparison(low.headline, high.headline, weight, question.target),
        further=tuple(
            _comparison(below, above[below.challenger], weight, question.target)
            for below in low.further
            if below.challenger in above
        ),
        accuracy={
            label: Accuracy(
                linear(low.accuracy[label].test_top1, high.accuracy[label].test_top1, weight),
                linear(low.accuracy[label].val_top1, high.accuracy[label].val_top1, weight),
            )
            for label in low.accuracy
            if label in high.accuracy
        },
        left_out_error=error,
    )


def left_out_error(measured: Sequence[Measured]) -> float | None:
    """The largest factor by which a measured cost ratio differs from its interpolation.

    ``measured`` is sorted by target. None with fewer than three targets that have a ratio from which a verdict was read.
    """
    headlines = [(m.question.target, m.headline.headline) for m in measured]
    known = [(target, costs.cost_ratio.value) for target, costs in headlines if costs.guarded is None]
    return missed_by([(target, value) for target, value in known if value is not None and value > 0])


def missed_by(points: Sequence[tuple[int, float]]) -> float | None:
    """The largest factor by which a value at an inner target differs from its interpolation; None if there is none."""
    errors = [
        abs(math.log(value) - _between(math.log(below[1]), math.log(above[1]), weight_between(below[0], above[0], at)))
        for below, (at, value), above in zip(points, points[1:], points[2:], strict=False)
    ]
    return math.exp(max(errors)) if errors else None


def weight_between(low: int, high: int, target: int) -> float:
    """How far (0-1) the target is from ``low`` to ``high`` on a logarithmic axis."""
    return math.log(target / low) / math.log(high / low)


def linear(low: Estimate, high: Estimate, weight: float) -> Estimate:
    """A value between two, interpolated on its own scale."""
    known = low.value is not None and high.value is not None
    return _enveloped(_between(low.value, high.value, weight) if known else None, low, high)


def logarithmic(low: Estimate, high: Estimate, weight: float) -> Estimate:
    """A positive value between two, interpolated as logarithms; it has no value if one of the two is missing or 0."""
    if low.value is None or high.value is None or min(low.value, high.value) <= 0:
        return _enveloped(None, low, high)
    found = _enveloped(_log_between(low.value, high.value, weight), low, high)
    return replace(found, ends=_ends_between(low, high, weight))


def _log_between(low: float, high: float, weight: float) -> float:
    return math.exp(_between(math.log(low), math.log(high), weight))


def _ends_between(low: Estimate, high: Estimate, weight: float) -> Ends | None:
    """The ends at the declared rates of a value between two: its own between theirs, its intervals their envelope."""
    both = [estimate.ends or Ends(estimate.value or 0.0, estimate.value or 0.0, estimate.low, estimate.high)
            for estimate in (low, high)]  # fmt: skip
    if low.ends is None and high.ends is None:
        return None
    below, above = both
    lows = [end.interval_low for end in both if end.interval_low is not None]
    highs = [end.interval_high for end in both if end.interval_high is not None]
    has_intervals = len(lows) == len(highs) == 2
    return Ends(
        _log_between(below.low, above.low, weight),
        _log_between(below.high, above.high, weight),
        min(lows) if has_intervals else None,
        max(highs) if has_intervals else None,
    )


def _comparison(low: Comparison, high: Comparison, weight: float, target: int) -> Comparison:
    return Comparison(
        challenger=low.challenger,
        n=min(low.n, high.n),
        difference=linear(low.difference, high.difference, weight),
        by_policy={
            policy: costs_between(costs, high.by_policy[policy], weight, target)
            for policy, costs in low.by_policy.items()
        },
    )


def costs_between(low: CostComparison, high: CostComparison, weight: float, target: int) -> CostComparison:
    """A comparison of costs between two others; a guard that applies to either applies to it.

    A control that makes the pair unnecessary at both makes it so between them, before any guard.
    """
    ratio = logarithmic(low.cost_ratio, high.cost_ratio, weight)
    guarded, instead = low.guarded or high.guarded, _instead(low, high, weight)
    verdict = decide_interval(ratio) if guarded is None else guarded.verdict
    known = low.level is not None and high.level is not None
    return CostComparison(
        challenger=low.challenger,
        target=target,
        policy=low.policy,
        verdict=Verdict.NEITHER if instead else verdict,
        cost_ratio=ratio,
        level=_between(low.level, high.level, weight) if known else None,
        num_reached=_fewer(low.num_reached, high.num_reached),
        num_entered=_fewer(low.num_entered, high.num_entered),
        to_quality=_each(low.to_quality, high.to_quality, weight),
        total=_each(low.total, high.total, weight),
        total_cost_ratio=logarithmic(low.total_cost_ratio, high.total_cost_ratio, weight),
        guarded=guarded,
        alpha=max(low.alpha, high.alpha),
        instead=instead,
    )


def _instead(low: CostComparison, high: CostComparison, weight: float) -> tuple[Instead, ...]:
    """The controls that make the pair unnecessary at both targets, with what each of the pair costs in relation."""
    above = {one.label: one for one in high.instead}
    return tuple(
        Instead(
            one.label,
            logarithmic(one.base_ratio, above[one.label].base_ratio, weight),
            logarithmic(one.challenger_ratio, above[one.label].challenger_ratio, weight),
        )
        for one in low.instead
        if one.label in above
    )


def _fewer(low: dict[str, int], high: dict[str, int]) -> dict[str, int]:
    return {label: min(count, high[label]) for label, count in low.items()}


def _each(low: dict[str, Estimate], high: dict[str, Estimate], weight: float) -> dict[str, Estimate]:
    return {route: logarithmic(low[route], high[route], weight) for route in low}


def _between(low: float | None, high: float | None, weight: float) -> float:
    return (1 - weight) * float(low or 0.0) + weight * float(high or 0.0)


def _enveloped(value: float | None, low: Estimate, high: Estimate) -> Estimate:
    n = min(low.n, high.n)
    lows = [end.low for end in (low, high) if end.low is not None]
    highs = [end.high for end in (low, high) if end.high is not None]
    if value is None or len(lows) < 2 or len(highs) < 2:
        return Estimate(value, None, None, None, n)
    return Estimate(value, min(lows), max(highs), max(low.sd or 0.0, high.sd or 0.0), n)
