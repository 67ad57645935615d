"""What each route has spent so far, kept as a running sum: an update costs only as much as what is new in the ledger."""

from __future__ import annotations

from accounting.cost.shares import counted, spent_s
from accounting.cost.so_far import SpentAttempt, SpentView
from accounting.cost.values import CostView
from accounting.ledger.records import Phase

Spent = dict[tuple[str, int], float]
"""Device-seconds by route and replicate."""


class SpentSums:
    """Sums over a growing view: equal to :func:`accounting.cost.shares.spent_s` except for the order of rounding."""

    def __init__(self) -> None:
        self._era = -1
        self._num = 0
        self._settled: Spent = {}

    def of(self, view: CostView | SpentView) -> Spent:
        """What each route had spent at the time of this view."""
        if not isinstance(view, SpentView):
            return spent_s(view)
        if view.era != self._era:
            self._era, self._num, self._settled = view.era, 0, {}
        for attempt in view.settled[self._num :]:
            _add(attempt, view, self._settled)
        self._num = len(view.settled)
        found = dict(self._settled)
        for attempt in view.live:
            _add(attempt, view, found)
        return found


def live_s(view: CostView | SpentView) -> dict[str, float]:
    """Device-seconds of running attempts, by job."""
    attempts = counted(view) if not isinstance(view, SpentView) else (a for a in view.live if _counts(a, view))
    return {attempt.job: attempt.allocated_s for attempt in attempts if attempt.status == "running"}


def _counts(attempt: SpentAttempt, view: SpentView) -> bool:
    return attempt.device_kind == view.device_kind


def _add(attempt: SpentAttempt, view: SpentView, sums: Spent) -> None:
    if _counts(attempt, view) and attempt.phase != Phase.EXPORT:
        key = attempt.route, attempt.replicate
        sums[key] = sums.get(key, 0.0) + attempt.allocated_s
