"""Anytime curves: the best deliverable accuracy so far against what the route had been charged so far.

A point counts when a network of at most the target's MACs has a measured validation accuracy: at the end of an epoch
of a search candidate, a retraining or a fine-tuning, or as the outcome of a job. Its cost is what the route had spent on the
attempts that began before, and on its own up to that moment, for this replicate and target (and for all targets together,
as the policy says): as if attempts ran one after another. An attempt's cost accrues evenly between its begin and its end.

A supernet in training is not counted: it is no network that could be delivered. A fine-tuning that prunes as it goes on
is in the ledger with the MACs that it began with, so that it counts with its outcome only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from accounting.cost.attempts import Attempt, CostView
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
    charged = [rate * attempt.allocated_s for attempt, rate in zip(attempts, rates, strict=True)]
    measured = [
        ((before + rate * _spent_s(attempt, t)) / HOUR_S, top1)
        for attempt, rate, before in zip(attempts, rates, accumulate(charged, initial=0.0), strict=False)
        for t, top1 in _measured(view, attempt, target)
    ]
    for spent, val_top1 in sorted(measured):
        if accuracies and val_top1 <= accuracies[-1]:
            continue
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


def best_within(view: CostView, target: int) -> Iterator[tuple[str, int, float]]:
    """(route, replicate, best validation accuracy) of each attempt that has one, of all that the curves look at."""
    for attempt in view.attempts:
        if attempt.target in (target, None):
            best = max((top1 for _, top1 in _measured(view, attempt, target)), default=None)
            if best is not None:
                yield attempt.route, attempt.replicate, best


def _measured(view: CostView, attempt: Attempt, target: int) -> Iterator[tuple[float, float]]:
    """(time, accuracy) of what ends of epochs and the outcome show within a target; never of a supernet in training."""
    macs = attempt.network_macs
    if attempt.phase != Phase.SUPERNET and macs is not None and 0 < macs <= target:
        for t, _, val_top1 in view.progress.curve(attempt.attempt):
            yield t, val_top1
    outcome = attempt.outcome if isinstance(attempt.outcome, dict) else {}
    found, top1 = outcome.get("macs"), outcome.get("val_top1")
    if isinstance(found, (int, float)) and 0 < found <= target and isinstance(top1, (int, float)):
        yield attempt.end_t, float(top1)


def _spent_s(attempt: Attempt, t: float) -> float:
    """Device-seconds the attempt had been allocated by time ``t``."""
    if t >= attempt.end_t:
        return attempt.allocated_s
    if t <= attempt.begin_t:
        return 0.0
    return attempt.allocated_s * (t - attempt.begin_t) / (attempt.end_t - attempt.begin_t)
