"""Whose job comes next: multiplexes all routes of all replicates, replays what is known, keeps to the budgets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from accounting.cost.attempts import derive
from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import LedgerWriter, read_ledger
from harness.config.routes import BudgetConfig
from harness.jobs.files import Given
from harness.jobs.job import Done, Job, Outcome, Route, Wait
from harness.paths import StudyPaths
from harness.scheduling.remakes import Remakes

log = logging.getLogger(__name__)

DRIVER_WORK_WORTH_NOTING_S = 0.02
BESIDE = ("scratch", "analysis")
"""Routes that deliver no network of their own name."""


class Scheduler:
    """Asks the routes in the order of what they have spent, least first, so that cores are shared fairly between them.

    A job whose outcome the ledger already has is told, not run: a study is resumed by running it again. A route whose
    replicate has spent its budget gets no new training job; only evaluations and exports of what it has trained. Exports
    count in no route's spending, and a failed one fails no delivery.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        paths: StudyPaths,
        ledger: LedgerWriter,
        session: str,
        budget: BudgetConfig,
        on_stopped: Callable[[Job], None] = lambda job: None,
        data: dict[str, Any] | None = None,
    ) -> None:
        self._data = data
        self._on_stopped = on_stopped
        self._routes = list(routes)
        self._ledger = ledger
        self._session = session
        self._budget: dict[str, float | None] = budget.model_dump()
        self._spending = _Spending(paths)
        self._known = known_outcomes(paths)
        self._remakes = Remakes(paths, read_ledger(paths.ledger).records)
        self._waiting: set[int] = set()
        self._done: set[int] = set()
        self.stopped: set[str] = set()
        """Jobs that were not run because their route's budget is spent: an end as planned, not a failure."""
        self.failed: dict[str, str] = {}
        """Why each job that a delivery hangs on will have no ok outcome. A failed candidate is part of a search."""
        self.ended: str | None = None
        """Why no other job is begun, though not all are done; None while there is no such reason."""
        self._delivered: set[tuple[str, int, int | None]] = set()

    @property
    def finished(self) -> bool:
        """Whether every route is done."""
        return len(self._done) == len(self._routes)

    def undelivered(self, targets: Sequence[int]) -> list[str]:
        """Which routes ended without a network of theirs for a target, though none of their jobs was stopped or failed.

        That is where every candidate of a search failed, or every one within the target.
        """
        excused = {job.partition("-")[0] for job in (*self.stopped, *self.failed)}
        return [
            f"{route.name} of replicate {route.replicate} at {target:,} MACs"
            for route in self._routes
            if route.name not in BESIDE and route.name not in excused
            for target in targets
            if (route.name, route.replicate, target) not in self._delivered
        ]

    def next(self) -> Job | Wait | Done:
        """The next job to run."""
        while not self.finished and self.ended is None:
            if (again := self._remakes.next()) is not None:
                return again
            open_routes = [i for i in range(len(self._routes)) if i not in self._waiting | self._done]
            if not open_routes:
                return Wait()
            chosen = min(open_routes, key=self._rank)
            answer = self._ask(self._routes[chosen])
            if isinstance(answer, Wait):
                self._waiting.add(chosen)
            elif isinstance(answer, Done):
                self._done.add(chosen)
            elif answer.job in self._known:
                self._remakes.proposed(answer)
                self._broadcast(answer, self._known[answer.job])
            elif self._over_budget(answer):
                self.stopped.add(answer.job)
                self._on_stopped(answer)
                self._broadcast(answer, Outcome(ok=False, reason="the route's budget is spent"))
            else:
                self._remakes.proposed(answer)
                if self._remakes.admit(answer) is not None:
                    return answer
        return Done()

    def given(self, job: Job) -> Given:
        """What an attempt at the job must be told beside it."""
        return replace(self._remakes.given(job), data=self._data)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """An outcome of a job that was run; a failed one is final, since its attempts are used up.

        A job whose files were damaged and that was run again is told to no route: they have had its outcome. Nor is one that
        ends the session: the next run tries it again.
        """
        reason = outcome.reason or "failed"
        if outcome.ends_session:
            self.ended = self.ended or f"job {job.job}: {reason}"
            return
        if outcome.damaged is not None and self._remakes.found_damaged(job, outcome.damaged, reason):
            return
        given_up = self._remakes.told(job, outcome)
        if given_up is not None:
            for waiting in given_up:
                self.tell(waiting, Outcome(ok=False, reason=f"{job.job} could not be run again: {reason}", final=False))
            return
        if not outcome.ok:
            what = "; the network is delivered without it" if job.phase == Phase.EXPORT else ""
            log.warning("job %s failed: %s%s", job.job, outcome.reason, what)
            self._ledger.append(
                Kind.JOB_ABANDONED, session=self._session, job=job.job, reason=reason, final=outcome.final
            )
        self._broadcast(job, outcome)

    def _broadcast(self, job: Job, outcome: Outcome) -> None:
        if not outcome.ok and job.phase not in (Phase.SEARCH, Phase.EXPORT) and job.job not in self.stopped:
            self.failed[job.job] = outcome.reason or "failed"
        if outcome.ok and job.deliver is not None and job.deliver["label"] == job.route:
            self._delivered.add((job.route, job.replicate, job.target))
        for i, route in enumerate(self._routes):
            if route.replicate == job.replicate:
                route.tell(job, outcome)
                self._waiting.discard(i)
                self._done.discard(i)

    def _ask(self, route: Route) -> Job | Wait | Done:
        begin = time.perf_counter()
        answer = route.ask()
        duration_s = time.perf_counter() - begin
        if duration_s >= DRIVER_WORK_WORTH_NOTING_S:
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
        return answer

    def _rank(self, index: int) -> tuple[float, int, int]:
        route = self._routes[index]
        return self._spending.of(route.name, route.replicate), route.replicate, index

    def _over_budget(self, job: Job) -> bool:
        limit_h = self._budget.get(job.route)
        if limit_h is None or job.phase in (Phase.EVALUATE, Phase.EXPORT):
            return False
        self._spending.refresh()
        return self._spending.of(job.route, job.replicate) >= limit_h * 3600


class _Spending:
    """Device-seconds per route and replicate, read from the ledger, not more often than is cheap."""

    def __init__(self, paths: StudyPaths, clock: Callable[[], float] = time.monotonic) -> None:
        self._paths, self._clock = paths, clock
        self._spent: dict[tuple[str, int], float] = {}
        self._fresh_until = float("-inf")

    def of(self, route: str, replicate: int) -> float:
        if self._clock() >= self._fresh_until:
            self.refresh()
        return self._spent.get((route, replicate), 0.0)

    def refresh(self) -> None:
        begin = self._clock()
        self._spent = {}
        for attempt in derive(read_ledger(self._paths.ledger).records, now=time.time()).attempts:
            if attempt.phase == Phase.EXPORT:
                continue
            key = attempt.route, attempt.replicate
            self._spent[key] = self._spent.get(key, 0.0) + attempt.allocated_s
        self._fresh_until = self._clock() + max(1.0, 20 * (self._clock() - begin))


def known_outcomes(paths: StudyPaths) -> dict[str, Outcome]:
    """What need not be run again: ok outcomes, and failures that would come again; others get a new chance.

    A candidate of a search gets none: what came after it was proposed without it, and would be other networks with it.
    """
    records = read_ledger(paths.ledger).records
    candidates = {r["job"] for r in records if r["kind"] == Kind.ATTEMPT_STARTED and r["phase"] == Phase.SEARCH}
    known = {
        record["job"]: Outcome(ok=False, reason=record["reason"])
        for record in records
        if record["kind"] == Kind.JOB_ABANDONED and (record.get("final", True) or record["job"] in candidates)
    }
    done = {job.job: Outcome(ok=True, metrics=job.outcome) for job in derive(records).jobs if job.outcome is not None}
    return known | done
