"""Whose job comes next: multiplexes all routes of all replicates, replays what is known, keeps to the budgets."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from accounting.cost.attempts import derive
from accounting.ledger.records import Kind, Phase, Record
from accounting.ledger.store import LedgerWriter, read_ledger
from accounting.study import plugins
from accounting.study.facts import DataFacts
from accounting.study.folder import StudyFolder
from accounting.words.quantities import HOUR_S
from harness.config.route_files import delivers_its_own
from harness.config.routes import BudgetConfig
from harness.jobs.files import Given
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Outcome, Route, Wait
from harness.jobs.work import Deliver
from harness.scheduling.forecast import Forecast
from harness.scheduling.remakes import Remakes
from harness.scheduling.seams import Journal, LedgerJournal, LedgerSpending, Spending

log = logging.getLogger(__name__)

DRIVER_WORK_WORTH_NOTING_S = 0.02
NEVER_STOPPED = (Phase.EVALUATE, Phase.EXPORT)
"""Phases that a budget does not stop: they deliver what was paid for."""


class Scheduler:
    """Asks the routes in the order of what they have spent, least first, so that cores are shared fairly between them.

    A job whose outcome the ledger already has is told, not run: a study is resumed by running it again. One whose teacher is
    not trained yet waits for it, whatever its route; without a teacher it is given up. A route whose
    replicate has spent its budget gets no new training job; only evaluations and exports of what it has trained. With a
    ``forecast`` it gets none, either, that what is left cannot pay for beside what is under way and what its networks still
    need (:mod:`harness.scheduling.forecast`). Exports count in no route's spending, and a failed one fails no delivery.
    A job that is under way is stopped at a checkpoint (:meth:`to_stop`) once its route's budget pays for no more of it; the
    stop is on record, and is repeated by a replay for as long as the budget is that one.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        budget_h: Mapping[str, float | None],
        known: Mapping[str, Outcome],
        spending: Spending,
        journal: Journal,
        remakes: Remakes,
        data: DataFacts | None = None,
        forecast: Forecast | None = None,
        stopped_before: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self._data = data
        self._forecast = forecast
        self._stopped_before = stopped_before
        """Jobs that an earlier session did not run, and the budget of then, in device-hours."""
        self._out: dict[str, Job] = {}
        """What was given out and is not told yet, by name."""
        self._num_ok: Counter[tuple[str, int, int | None, Phase]] = Counter()
        """Jobs whose outcome is ok, by route, replicate, target and phase."""
        self._routes = list(routes)
        self._budget_h = budget_h
        self._known = known
        self._spending = spending
        self._journal = journal
        self._remakes = remakes
        self._waiting: set[int] = set()
        self._done: set[int] = set()
        self.num_replayed = 0
        """Jobs that were told and not run."""
        self.stopped: set[JobId] = set()
        """Jobs that were not run because their route's budget is spent: an end as planned, not a failure."""
        self.failed: dict[JobId, str] = {}
        """Failure reason of every job without which a network cannot be delivered; failed candidates are not listed."""
        self.ended: str | None = None
        """Why no other job is begun, though not all are done; None while there is no such reason."""
        self._delivered: set[tuple[str, int, int | None]] = set()
        self._told: dict[str, Outcome] = {}
        """What came of the jobs so far, by name."""
        self._held: dict[str, list[Job]] = {}
        """Jobs that wait for the training of their teacher, by its job."""
        self._taught: deque[Job] = deque()
        """Those for which it has ended."""

    @property
    def finished(self) -> bool:
        """Whether every route is done."""
        return len(self._done) == len(self._routes)

    def stuck(self) -> str:
        """End, since no job is under way and no route has one to propose; gives the reason."""
        names = sorted({self._routes[i].name for i in self._waiting})
        self.ended = (
            f"routes.{', routes.'.join(names)}: it waits for an outcome, but no job is running; a route must answer Done "
            "once it has been told the outcome of every job"
        )
        return self.ended

    def undelivered(self, targets: Sequence[int]) -> list[str]:
        """Which routes ended without a network of theirs for a target, though none of their jobs was stopped or failed.

        That is where every candidate of a search failed, or every one within the target.
        """
        excused = {id.route for id in (*self.stopped, *self.failed)}
        return [
            f"{route.name} of replicate {route.replicate} at {target:,} MACs"
            for route in self._routes
            if delivers_its_own(route.name) and route.name not in excused
            for target in targets
            if (route.name, route.replicate, target) not in self._delivered
        ]

    def next(self) -> Job | Wait | Done:
        """The next job to run."""
        while not self.finished and self.ended is None:
            if (again := self._remakes.next()) is not None:
                return again
            if self._taught:
                if (job := self._admitted(self._taught.popleft())) is not None:
                    return job
                continue
            open_routes = [i for i in range(len(self._routes)) if i not in self._waiting | self._done]
            if not open_routes:
                return Wait()
            chosen = min(open_routes, key=self._rank)
            answer = self._ask(self._routes[chosen])
            if self.ended is not None:
                break
            if isinstance(answer, Wait):
                self._waiting.add(chosen)
            elif isinstance(answer, Done):
                self._done.add(chosen)
            elif answer.name in self._known:
                self.num_replayed += 1
                self._remakes.proposed(answer)
                self._broadcast(answer, self._known[answer.name])
            elif (job := self._admitted(answer)) is not None:
                return job
        return Done()

    def _admitted(self, job: Job) -> Job | None:
        """The job, if it can be run now; else it is stopped, given up, or held until what it needs is there."""
        teacher = None if job.teacher is None else job.teacher.job
        if teacher is not None and teacher not in self._told:
            self._held.setdefault(teacher, []).append(job)
            return None
        reason = self._not_paid_for(job)
        if reason is None and teacher is not None and teacher in {str(id) for id in self.stopped}:
            reason = f"its teacher {teacher} was not trained: its route's budget is spent"
        if reason is not None:
            self.stopped.add(job.id)
            self._broadcast(job, Outcome(ok=False, reason=reason, not_paid_for=True))
            return None
        if teacher is not None and not (taught := self._told[teacher]).ok:
            reason = f"its teacher {teacher} was not trained: {taught.reason or 'failed'}"
            self._broadcast(job, Outcome(ok=False, reason=reason, final=False))
            return None
        self._remakes.proposed(job)
        self._out[job.name] = job
        return self._remakes.admit(job)

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
            self.ended = self.ended or f"job {job.name}: {reason}"
            return
        if outcome.damaged is not None and self._remakes.found_damaged(job, outcome.damaged, reason):
            return
        given_up = self._remakes.told(job, outcome)
        if given_up is not None:
            for waiting in given_up:
                self.tell(
                    waiting, Outcome(ok=False, reason=f"{job.name} could not be run again: {reason}", final=False)
                )
            return
        self._out.pop(job.name, None)
        if outcome.stopped:
            self._journal.stopped(job, reason, self._budget_h.get(job.route) or 0.0)
            self.stopped.add(job.id)
            self._broadcast(job, replace(outcome, not_paid_for=True))
            return
        if not outcome.ok:
            what = "; the network is delivered without it" if job.phase == Phase.EXPORT else ""
            log.warning("job %s failed: %s%s", job.name, outcome.reason, what)
            self._journal.given_up(job, outcome)
        self._broadcast(job, outcome)

    def _broadcast(self, job: Job, outcome: Outcome) -> None:
        self._num_ok[job.route, job.replicate, job.target, job.phase] += outcome.ok
        if not outcome.ok and job.phase not in (Phase.SEARCH, Phase.TUNE, Phase.EXPORT) and job.id not in self.stopped:
            self.failed[job.id] = outcome.reason or "failed"
        if outcome.ok and isinstance(job.work, Deliver) and job.work.label == job.route:
            self._delivered.add((job.route, job.replicate, job.target))
        self._told[job.name] = outcome
        self._taught.extend(self._held.pop(job.name, ()))
        for i, route in enumerate(self._routes):
            if route.replicate == job.replicate:
                with self._ends_with_its_fault():
                    route.tell(job, outcome)
                self._waiting.discard(i)
                self._done.discard(i)

    def _ask(self, route: Route) -> Job | Wait | Done:
        begin = time.perf_counter()
        answer: Job | Wait | Done = Done()
        with self._ends_with_its_fault():
            answer = route.ask()
        duration_s = time.perf_counter() - begin
        if duration_s >= DRIVER_WORK_WORTH_NOTING_S:
            self._journal.thought(route, answer, duration_s)
        return answer

    @contextmanager
    def _ends_with_its_fault(self) -> Iterator[None]:
        """Begin no other job once a route or strategy of a user's own has failed as it would again; any other is raised."""
        try:
            yield
        except (Exception, SystemExit) as error:
            if (fault := plugins.fault(error)) is None:
                raise
            self.ended = self.ended or fault

    def _rank(self, index: int) -> tuple[float, int, int]:
        route = self._routes[index]
        return self._spending.of(route.name, route.replicate), route.replicate, index

    def to_stop(self) -> dict[str, str]:
        """Jobs under way that are to end at their next checkpoint, with the reason: their route's budget pays for no more.

        What a route's networks still need is kept from its candidates and trials, and one checkpoint interval for each of
        these that is under way. A job that is itself needed for a network ends when the budget is spent.
        """
        by_route: dict[tuple[str, int], list[Job]] = {}
        for job in self._out.values():
            if self._budget_h.get(job.route) is not None and job.phase not in NEVER_STOPPED:
                by_route.setdefault((job.route, job.replicate), []).append(job)
        found: dict[str, str] = {}
        for (route, replicate), jobs in by_route.items():
            limit_s = (self._budget_h[route] or 0.0) * HOUR_S
            left_s = limit_s - self._spending.now(route, replicate)
            if left_s <= 0:
                found |= {job.name: "the route's budget is spent" for job in jobs}
                continue
            others = [job for job in jobs if job.phase in (Phase.SEARCH, Phase.TUNE)]
            if self._forecast is None or not others:
                continue
            keep_s = self._forecast.reserve_s(route, replicate, limit_s, self._claims(route, replicate, jobs))
            next_s = sum(self._interval_s(job, self._forecast) for job in others)
            if left_s < keep_s + next_s:
                reason = (
                    f"the route's budget cannot pay for more of it: {left_s:.3g} device-seconds are left, and {keep_s:.3g} "
                    "are kept for the networks to deliver"
                )
                found |= {job.name: reason for job in others}
        return found

    def _interval_s(self, job: Job, forecast: Forecast) -> float:
        """Device-seconds from one checkpoint of a job to the next; more than was planned where it has held more in all."""
        cost_s = max(forecast.cost_s(job) or 0.0, self._spending.held_s(job.name))
        return cost_s / max(1, getattr(getattr(job.work, "recipe", None), "epochs", 1))

    def _claims(self, route: str, replicate: int, under_way: Sequence[Job]) -> Counter[tuple[int | None, Phase]]:
        """Jobs of a route that are done or under way, by target and phase."""
        told = Counter(
            {
                (target, phase): count
                for (own, of, target, phase), count in self._num_ok.items()
                if (own, of) == (route, replicate)
            }
        )
        # A replay may not have told yet what is done: the ledger knows.
        claims = told if self._forecast is None else told | self._forecast.done(route, replicate)
        claims.update((other.target, other.phase) for other in under_way)
        return claims

    def _not_paid_for(self, job: Job) -> str | None:
        """Why the job is not run, which is put on record; None where its route's budget pays for it, or has no limit."""
        limit_h = self._budget_h.get(job.route)
        if limit_h is None or job.phase in NEVER_STOPPED:
            return None
        if self._stopped_before.get(job.name) == limit_h:
            return "the route's budget did not pay for it in an earlier session"
        reason = self._beyond(job, limit_h * HOUR_S)
        if reason is not None:
            self._journal.stopped(job, reason, limit_h)
        return reason

    def _beyond(self, job: Job, limit_s: float) -> str | None:
        left_s = limit_s - self._spending.now(job.route, job.replicate)
        if left_s <= 0:
            return "the route's budget is spent"
        cost_s = None if self._forecast is None else self._forecast.cost_s(job)
        if self._forecast is None or cost_s is None:
            return None
        under_way = [
            other for other in self._out.values() if (other.route, other.replicate) == (job.route, job.replicate)
        ]
        for other in under_way:
            left_s -= max(0.0, (self._forecast.cost_s(other) or 0.0) - self._spending.held_s(other.name))
        claims = self._claims(job.route, job.replicate, [*under_way, job])
        reserve_s = self._forecast.reserve_s(job.route, job.replicate, limit_s, claims)
        if cost_s + reserve_s <= left_s:
            return None
        return (
            f"the route's budget cannot pay for it: about {cost_s:.3g} device-seconds, with {reserve_s:.3g} kept for the "
            f"networks to deliver, and {max(0.0, left_s):.3g} left"
        )


def open_scheduler(
    routes: Sequence[Route],
    budget: BudgetConfig,
    paths: StudyFolder,
    ledger: LedgerWriter,
    session: str,
    on_stopped: Callable[[Job], None] = lambda job: None,
    data: DataFacts | None = None,
    forecast: Forecast | None = None,
) -> Scheduler:
    """The scheduler of a session of a study, which continues from its ledger; ``data`` is for :class:`Given`."""
    records = read_ledger(paths.ledger).records
    return Scheduler(
        routes,
        budget.model_dump(),
        known_outcomes(paths),
        LedgerSpending(paths, forecast=forecast),
        LedgerJournal(ledger, session, on_stopped),
        Remakes(paths, records),
        data,
        forecast,
        stopped_before(records),
    )


def stopped_before(records: Sequence[Record]) -> dict[str, float]:
    """Jobs that were not run since their route's budget did not pay for them, and that budget in device-hours."""
    return {record["job"]: float(record["budget_h"]) for record in records if record["kind"] == Kind.JOB_STOPPED}


def known_outcomes(paths: StudyFolder) -> dict[str, Outcome]:
    """What need not be run again: ok outcomes, and failures that would come again; others get a new chance.

    A candidate of a search gets none: what came after it was proposed without it, and would be other networks with it. Nor
    does a trial of a recipe.
    """
    records = read_ledger(paths.ledger).records
    candidates = {
        r["job"] for r in records if r["kind"] == Kind.ATTEMPT_STARTED and r["phase"] in (Phase.SEARCH, Phase.TUNE)
    }
    known = {
        record["job"]: Outcome(ok=False, reason=record["reason"])
        for record in records
        if record["kind"] == Kind.JOB_ABANDONED and (record.get("final", True) or record["job"] in candidates)
    }
    done = {job.job: Outcome(ok=True, metrics=job.outcome) for job in derive(records).jobs if job.outcome is not None}
    return known | done
