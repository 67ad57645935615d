"""What the scheduler reads and writes: what was spent, and what goes on record. In a ledger, or in none."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from accounting.cost.so_far import SpentSoFar
from accounting.cost.sums import SpentSums, live_s
from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import LedgerWriter
from accounting.study.folder import StudyFolder
from harness.jobs.job import Done, Job, Outcome, Route, Wait
from harness.scheduling.forecast import Forecast


class Spending(Protocol):
    """What each route has spent in each replicate, in device-seconds as :func:`accounting.cost.shares.spent_s` has them."""

    def of(self, route: str, replicate: int) -> float:
        """As far as is known without much work."""
        ...

    def now(self, route: str, replicate: int) -> float:
        """As of now, for a decision."""
        ...

    def held_s(self, job: str) -> float:
        """What of that an attempt at the job, which is under way, holds by now; nothing where none has begun."""
        ...


class Journal(Protocol):
    """Where the scheduler writes what happens in the driver."""

    def given_up(self, job: Job, outcome: Outcome) -> None:
        """The job has failed for good."""
        ...

    def stopped(self, job: Job, reason: str, budget_h: float) -> None:
        """The job is not run, since its route's budget is spent, or cannot pay for it."""
        ...

    def thought(self, route: Route, answer: Job | Wait | Done, duration_s: float) -> None:
        """The route took so long for its answer."""
        ...


class LedgerSpending:
    """Read from the ledger, not more often than is cheap, and of it what was not read before."""

    def __init__(
        self, paths: StudyFolder, clock: Callable[[], float] = time.monotonic, forecast: Forecast | None = None
    ) -> None:
        self._so_far, self._clock, self._forecast = SpentSoFar(paths.ledger), clock, forecast
        self._sums = SpentSums()
        self._held_s: dict[str, float] = {}
        self._spent_s: dict[tuple[str, int], float] = {}
        self._fresh_until = float("-inf")

    def of(self, route: str, replicate: int) -> float:
        """See :class:`Spending`; at least a second old, and older where reading takes long."""
        if self._clock() >= self._fresh_until:
            self._read()
        return self._spent_s.get((route, replicate), 0.0)

    def now(self, route: str, replicate: int) -> float:
        """See :class:`Spending`."""
        self._read()
        return self._spent_s.get((route, replicate), 0.0)

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
        self._fresh_until = self._clock() + max(1.0, 20 * (self._clock() - begin))


class LedgerJournal:
    """Writes to the ledger; ``on_stopped`` hears of stopped jobs, too. More budget runs them."""

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
            # What comes first after a search's stage 2 is a retraining for the target that it was for.
            target=answer.target if isinstance(answer, Job) and answer.phase == Phase.RETRAIN else None,
            replicate=route.replicate,
            duration_s=duration_s,
        )
