"""What the scheduler reads and writes: spending and records, in a ledger or in a simulation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from accounting.cost.so_far import SpentSoFar, SpentView
from accounting.cost.sums import SpentSums, live_s
from accounting.ledger.records import Kind, Phase, Status
from accounting.ledger.store import LedgerWriter
from accounting.study.folder import StudyFolder
from harness.jobs.job import Done, Job, Outcome, Route, Wait
from harness.scheduling.forecast import Forecast


class Spending(Protocol):
    """What each route has spent per replicate, in device-seconds as defined by :func:`accounting.cost.shares.spent_s`."""

    def of(self, route: str, replicate: int) -> float:
        """What was spent, as far as is known without much work."""
        ...

    def now(self, route: str, replicate: int) -> float:
        """What was spent up to now, exactly enough for a decision."""
        ...

    def at_most(self, route: str, replicate: int) -> float:
        """No less than what was spent up to now, without much work; a decision that this allows needs nothing exact."""
        ...

    def held_s(self, job: str) -> float:
        """The part of it that a running attempt at the job has held so far; 0 if none has begun."""
        ...


class Journal(Protocol):
    """Where the scheduler records events of the driver."""

    def given_up(self, job: Job, outcome: Outcome) -> None:
        """Record that the job has failed for good."""
        ...

    def stopped(self, job: Job, reason: str, budget_h: float) -> None:
        """Record that the job is not run because its route's budget is spent or cannot pay for it."""
        ...

    def thought(self, route: Route, answer: Job | Wait | Done, duration_s: float) -> None:
        """Record how long a route took for its answer."""
        ...


PER_ATTEMPT_S = 0.03
"""For each running attempt, how much older a reading may be. So a thousand of them are read every half minute, which takes
less than a thousandth of the time, and jobs that follow each other closely share a reading."""


class LedgerSpending:
    """Spending read from the ledger: only the new part, and only as often as is cheap."""

    def __init__(
        self, paths: StudyFolder, clock: Callable[[], float] = time.monotonic, forecast: Forecast | None = None
    ) -> None:
        self._so_far, self._clock, self._forecast = SpentSoFar(paths.ledger), clock, forecast
        self._sums = SpentSums()
        self._held_s: dict[str, float] = {}
        self._spent_s: dict[tuple[str, int], float] = {}
        self._fresh_until = float("-inf")
        self._read_s, self._num_running, self._devices = float("-inf"), 0, float("inf")

    def of(self, route: str, replicate: int) -> float:
        """See :class:`Spending`; may be a second old, and older if reading takes long."""
        if self._clock() >= self._fresh_until:
            self._read()
        return self._spent_s.get((route, replicate), 0.0)

    def now(self, route: str, replicate: int) -> float:
        """See :class:`Spending`."""
        self._read()
        return self._spent_s.get((route, replicate), 0.0)

    def at_most(self, route: str, replicate: int) -> float:
        """See :class:`Spending`; since the last reading, the route may have held all devices."""
        if self._devices == float("inf") or self._clock() - self._read_s >= PER_ATTEMPT_S * self._num_running:
            return self.now(route, replicate)
        return self._spent_s.get((route, replicate), 0.0) + self._devices * (self._clock() - self._read_s)

    def held_s(self, job: str) -> float:
        """See :class:`Spending`."""
        return self._held_s.get(job, 0.0)

    def _read(self) -> None:
        begin = self._clock()
        view = self._so_far.read(time.time())
        self._spent_s = self._sums.of(view)
        self._held_s = live_s(view)
        if self._forecast is not None:
            self._forecast.learn(view)
        live, self._devices = (view.live, view.num_devices) if isinstance(view, SpentView) else ((), float("inf"))
        self._read_s = self._clock()
        self._num_running = sum(each.status is Status.RUNNING for each in live)
        took_s = self._read_s - begin
        self._fresh_until = self._read_s + max(1.0, 20 * took_s, PER_ATTEMPT_S * self._num_running)


class LedgerJournal:
    """Writes to the ledger. ``on_stopped`` is also told of stopped jobs, which a larger budget would run."""

    def __init__(
        self, ledger: LedgerWriter, session: str, on_stopped: Callable[[Job], None] = lambda job: None
    ) -> None:
        self._ledger, self._session, self._on_stopped = ledger, session, on_stopped

    def given_up(self, job: Job, outcome: Outcome) -> None:
        """See :class:`Journal`."""
        self._ledger.append(
            Kind.JOB_ABANDONED,
            session=self._session,
            job=job.name,
            reason=outcome.reason or "failed",
            final=outcome.final,
        )

    def stopped(self, job: Job, reason: str, budget_h: float) -> None:
        """See :class:`Journal`."""
        self._ledger.append(
            Kind.JOB_STOPPED,
            session=self._session,
            job=job.name,
            route=job.route,
            replicate=job.replicate,
            reason=reason,
            budget_h=budget_h,
        )
        self._on_stopped(job)

    def thought(self, route: Route, answer: Job | Wait | Done, duration_s: float) -> None:
        """See :class:`Journal`."""
        self._ledger.append(
            Kind.DRIVER_WORK,
            session=self._session,
            route=route.name,
            phase=Phase.FIT_PREDICTOR,
            # The first proposal after a search's stage 2 is a retraining, whose target is the one that stage 2 was for.
            target=answer.target if isinstance(answer, Job) and answer.phase == Phase.RETRAIN else None,
            replicate=route.replicate,
            duration_s=duration_s,
        )
