"""Anytime curves: the best deliverable accuracy so far against what the route had been charged so far.

A point counts when a network of at most the target's MACs has a measured validation accuracy: at the end of an epoch
of a search candidate, a retraining or a fine-tuning, or as the outcome of a job. Its cost is all that the route had
spent by that moment for this replicate and target (and for all targets together, as the policy says), jobs still
running counted up to that moment. An attempt's cost accrues evenly between its begin and its end.

A supernet in training is not counted: it is no network that could be delivered. A fine-tuning that prunes as it goes on
is in the ledger with the MACs that it began with, so that it counts with its outcome only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from accounting.cost.attempts import Attempt, CostView, Progress
from accounting.cost.shares import charged_rate, route_attempts, route_cost_h
from accounting.ledger.records import Phase
from accounting.words.quantities import HOUR_S


@dataclass(frozen=True)
class AnytimeCurve:
    """Points where the best ``val_top1`` (fraction) rose, at ``cost_h`` device-hours; both ascend.

    ``total_h`` is what the route was charged in the end, where the curve stops.
    """

    route: str
    replicate: int
    target: int
    policy: str
    cost_h: tuple[float, ...]
    val_top1: tuple[float, ...]
    total_h: float

    @property
    def best(self) -> float | None:
        """The best validation accuracy in the end; None where no network within the target was measured."""
        return self.val_top1[-1] if self.val_top1 else None


def anytime_curve(
    view: CostView, *, route: str, replicate: int, target: int, policy: str, num_targets: int
) -> AnytimeCurve:
    """The curve of one route for one replicate and target under one charge policy."""
    attempts = route_attempts(view, route, replicate, target)
    rates = [charged_rate(view, attempt, policy, target, num_targets) for attempt in attempts]
    costs: list[float] = []
    accuracies: list[float] = []
    for t, val_top1 in sorted(_measured(view, attempts, target)):
        if accuracies and val_top1 <= accuracies[-1]:
            continue
        spent = sum(rate * _spent_s(attempt, t) for attempt, rate in zip(attempts, rates, strict=True)) / HOUR_S
        if costs and spent == costs[-1]:
            accuracies[-1] = val_top1
            continue
        costs.append(spent)
        accuracies.append(val_top1)
    total = route_cost_h(view, policy, route, replicate, target, num_targets)
    return AnytimeCurve(route, replicate, target, policy, tuple(costs), tuple(accuracies), total)


def cost_to_reach(curve: AnytimeCurve, val_top1: float) -> float | None:
    """Device-hours charged when the curve first had at least this accuracy; None if it never had."""
    index = bisect_left(curve.val_top1, val_top1)
    return curve.cost_h[index] if index < len(curve.cost_h) else None


def measured_within(view: CostView, target: int) -> Iterator[tuple[str, int, float]]:
    """(route, replicate, validation accuracy) of all that the curves of this target look at, in no order of cost."""
    for point in view.progress:
        if point.target in (target, None) and _counts(point, target) and point.val_top1 is not None:
            yield point.route, point.replicate, point.val_top1
    for attempt in view.attempts:
        if attempt.target in (target, None):
            for _, val_top1 in _outcome(attempt, target):
                yield attempt.route, attempt.replicate, val_top1


def _measured(view: CostView, attempts: list[Attempt], target: int) -> Iterator[tuple[float, float]]:
    """(time, validation accuracy) of each measured network of at most ``target`` MACs."""
    mine = {attempt.attempt for attempt in attempts}
    for point in view.progress:
        if point.attempt in mine and _counts(point, target) and point.val_top1 is not None:
            yield point.t, point.val_top1
    for attempt in attempts:
        yield from _outcome(attempt, target)


def _counts(point: Progress, target: int) -> bool:
    """Whether the end of an epoch shows a network that could be delivered for the target."""
    return point.phase != Phase.SUPERNET and _within(point.network_macs, target)


def _outcome(attempt: Attempt, target: int) -> Iterator[tuple[float, float]]:
    """(time, validation accuracy) of what an attempt gave, if that is a network of at most ``target`` MACs."""
    outcome = attempt.outcome
    if isinstance(outcome, dict) and _within(outcome.get("macs"), target):
        val_top1 = outcome.get("val_top1")
        if isinstance(val_top1, (int, float)):
            yield attempt.end_t, float(val_top1)


def _within(macs: object, target: int) -> bool:
    return isinstance(macs, (int, float)) and 0 < macs <= target


def _spent_s(attempt: Attempt, t: float) -> float:
    """Device-seconds the attempt had been allocated by time ``t``."""
    if t >= attempt.end_t:
        return attempt.allocated_s
    if t <= attempt.begin_t:
        return 0.0
    return attempt.allocated_s * (t - attempt.begin_t) / (attempt.end_t - attempt.begin_t)
