"""Which job runs next: asks all routes of all replicates, replays known outcomes, and enforces budgets."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from accounting.ledger.records import Phase
from accounting.ledger.store import LedgerWriter, read_ledger
from accounting.study import plugins
from accounting.study.facts import DataFacts
from accounting.study.folder import StudyFolder
from accounting.words.quantities import HOUR_S, macs_text
from harness.config.route_files import delivers_its_own
from harness.config.routes import BudgetConfig
from harness.jobs.files import Given
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Outcome, Route, Wait
from harness.jobs.work import Deliver, Training
from harness.scheduling.forecast import Forecast
from harness.scheduling.known import chooses, known_outcomes, stopped_before
from harness.scheduling.remakes import Remakes
from harness.scheduling.seams import Journal, LedgerJournal, LedgerSpending, Spending
from harness.scheduling.under_way import UnderWay

log = logging.getLogger(__name__)

DRIVER_WORK_WORTH_NOTING_S = 0.02
NEVER_STOPPED = (Phase.EVALUATE, Phase.EXPORT)
"""Phases that no budget stops, as they deliver what has been paid for."""


class Scheduler:
    """Asks the route that has spent least, so the devices are shared fairly.

    *Replay.* A job whose outcome is already in the ledger is not run; the route is told that outcome. So running a study
    again resumes it.

    *Teachers.* A job whose teacher is not trained yet waits for it, whichever route trains it. If the teacher is not
    trained, the job is given up.

    *Budgets.* Once a route has spent its budget in a replicate, it gets no new training job, only evaluations and exports
    of what it has trained. With a ``forecast`` it also gets no job that the rest of the budget cannot pay for, after the
    running jobs and what the route's networks still need (:mod:`harness.scheduling.forecast`). A running job is stopped at
    a checkpoint (:meth:`to_stop`) once the budget pays for no more of it. Such a stop is recorded, and a replay repeats it
    while the budget stays the same. Exports count in no route's spending, and a failed export fails no delivery.
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
        within_epoch_s: Callable[[Job], float] = lambda job: math.inf,
    ) -> None:
        self._data = data
        self._forecast = forecast
        self._stopped_before = stopped_before
        """Jobs that an earlier session did not run, with the budget of that time in device-hours."""
        self._within_epoch_s = within_epoch_s
        """Device-seconds between two checkpoints of a job within an epoch; infinite if it has none there."""
        self._out = UnderWay()
        """Jobs given out and not told yet."""
        self._num_ok: dict[tuple[str, int], Counter[tuple[int | None, Phase]]] = defaultdict(Counter)
        """Number of successful jobs, by route and replicate, then by target and phase."""
        self._routes = list(routes)
        self._budget_h = budget_h
        self._known = known
        self._spending = spending
        self._journal = journal
        self._remakes = remakes
        self._waiting: set[int] = set()
        self._done: set[int] = set()
        self.num_replayed = 0
        """Number of jobs whose known outcome was told instead of running them."""
        self.stopped: set[JobId] = set()
        """Jobs that did not run because their route's budget is spent; this is planned, not a failure."""
        self.failed: dict[JobId, str] = {}
        """Failure reason of every job that some network needs. Failed candidates are not listed; a search tolerates them."""
        self.ended: str | None = None
        """Why no further job is started although some are left; None if there is no such reason."""
        self._delivered: set[tuple[str, int, int | None]] = set()
        self._told: dict[str, Outcome] = {}
        """Outcomes told so far, by name."""
        self._held: dict[str, list[Job]] = {}
        """Jobs that wait for their teacher, by the job that trains it."""
        self._taught: deque[Job] = deque()
        """Jobs whose wait for a teacher is over."""

    @property
    def finished(self) -> bool:
        """Whether every route is done."""
        return len(self._done) == len(self._routes)

    def stuck(self) -> str:
        """End the study because no job is running and no route proposes one; returns the reason."""
        names = sorted({self._routes[i].name for i in self._waiting})
        self.ended = (
            f"routes.{', routes.'.join(names)}: it waits for an outcome, but no job is running; a route must answer Done "
            "once it has been told the outcome of every job"
        )
        return self.ended

    def undelivered(self, targets: Sequence[int]) -> list[str]:
        """Which routes ended without a network for a target although none of their needed jobs was stopped or failed.

        This happens if every candidate of a search failed, or every one within the target.
        """
        excused = {id.route for id in (*self.stopped, *self.failed)}
        return [
            f"{route.name} of replicate {route.replicate} at {macs_text(target)} MACs"
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
            at_rest = self._waiting | self._done
            open_routes = [i for i in range(len(self._routes)) if i not in at_rest]
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
        """The job if it can run now; otherwise None, and it is stopped, given up, or waits for its teacher or files."""
        teacher = None if job.teacher is None else job.teacher.job
        if teacher is not None and teacher not in self._told:
            self._held.setdefault(teacher, []).append(job)
            return None
        reason = self._not_paid_for(job)
        if reason is None and teacher is not None and self._told[teacher].not_paid_for:
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
        forecast = None if self._budget_h.get(job.route) is None else self._forecast
        self._out.add(job, 0.0 if forecast is None else forecast.planned_s(job))
        return self._remakes.admit(job)

    def given(self, job: Job) -> Given:
        """What an attempt must be told in addition to the job."""
        return replace(self._remakes.given(job), data=self._data)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Take the outcome of a job that ran. A failure is final, since all attempts have been used.

        Two outcomes are told to no route: that of a job run again for its files, since the routes already have its first
        outcome, and one that ends the session, since the next run tries the job again.
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
        self._out.remove(job)
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
        self._num_ok[job.route, job.replicate][job.target, job.phase] += outcome.ok
        may_fail = job.phase in (Phase.SEARCH, Phase.TUNE, Phase.EXPORT) and not chooses(job)
        if not outcome.ok and not may_fail and job.id not in self.stopped:
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
        """Start no further job after a repeatable failure of a user's own route or strategy; other exceptions are raised."""
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
        """Running jobs that must end at their next checkpoint, with the reason: their route's budget pays for no more.

        Candidates and trials must leave enough for what the route's networks still need, and for one checkpoint interval of
        each running candidate or trial. A job that a network needs runs until the budget is spent.
        """
        found: dict[str, str] = {}
        for (route, replicate), under_way in self._out.by_route().items():
            jobs = [job for job in under_way.jobs.values() if job.phase not in NEVER_STOPPED]
            if not jobs or self._budget_h.get(route) is None:
                continue
            limit_s = (self._budget_h[route] or 0.0) * HOUR_S
            if self._stops(jobs, limit_s, limit_s - self._spending.at_most(route, replicate)):
                found |= self._stops(jobs, limit_s, limit_s - self._spending.now(route, replicate))
        return found

    def _stops(self, jobs: Sequence[Job], limit_s: float, left_s: float) -> dict[str, str]:
        """Which of the running jobs of a route and replicate must end if that much of the budget is left."""
        if left_s <= 0:
            return {job.name: "the route's budget is spent" for job in jobs}
        others = [job for job in jobs if job.phase in (Phase.SEARCH, Phase.TUNE)]
        if self._forecast is None or not others:
            return {}
        route, replicate = jobs[0].route, jobs[0].replicate
        claims = self._claims(route, replicate, Counter((job.target, job.phase) for job in jobs))
        keep_s = self._forecast.reserve_s(route, replicate, limit_s, claims)
        next_s = sum(self._until_next_s(job, self._forecast) for job in others)
        if left_s >= keep_s + next_s:
            return {}
        reason = (
            f"the route's budget cannot pay for more of it: {left_s:.3g} device-seconds are left, and {keep_s:.3g} are kept "
            "for the networks to deliver"
        )
        return {job.name: reason for job in others}

    def _until_next_s(self, job: Job, forecast: Forecast) -> float:
        """Device-seconds until a job's next checkpoint or its end: as planned, or by what it has held if that is more."""
        planned_s, held_s = forecast.cost_s(job) or 0.0, self._spending.held_s(job.name)
        epochs = job.work.recipe.epochs if isinstance(job.work, Training) else 1
        interval_s = min(max(planned_s, held_s) / max(1, epochs), self._within_epoch_s(job))
        return min(interval_s, planned_s - held_s) if held_s < planned_s else interval_s

    def _claims(
        self, route: str, replicate: int, under_way: Counter[tuple[int | None, Phase]]
    ) -> Counter[tuple[int | None, Phase]]:
        """Number of jobs of a route that are finished or running, by target and phase."""
        told = self._num_ok[route, replicate]
        # During a replay, finished jobs may not have been told yet; the ledger has them.
        return under_way + (told if self._forecast is None else told | self._forecast.done(route, replicate))

    def _not_paid_for(self, job: Job) -> str | None:
        """Why the job is not run, which is recorded; None if its route's budget pays for it or there is no budget."""
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
        # Far from its end a budget pays for all that is under way, whatever has been spent of that; so nothing is read.
        left_s = limit_s - self._spending.at_most(job.route, job.replicate)
        if left_s > 0 and self._needs_s(job, limit_s) <= left_s:
            return None
        left_s = limit_s - self._spending.now(job.route, job.replicate)
        if left_s <= 0:
            return "the route's budget is spent"
        cost_s = None if self._forecast is None else self._forecast.cost_s(job)
        if self._forecast is None or cost_s is None:
            return None
        for other in self._out.of(job.route, job.replicate).jobs.values():
            left_s -= max(0.0, (self._forecast.cost_s(other) or 0.0) - self._spending.held_s(other.name))
        reserve_s = self._reserve_s(job, limit_s, self._forecast)
        if cost_s + reserve_s <= left_s:
            return None
        return (
            f"the route's budget cannot pay for it: about {cost_s:.3g} device-seconds, with {reserve_s:.3g} kept for the "
            f"networks to deliver, and {max(0.0, left_s):.3g} left"
        )

    def _needs_s(self, job: Job, limit_s: float) -> float:
        """What the job, all that is under way, counted whole, and the reserve take; 0 without a forecast.

        It is infinite while the forecast has no cost for the job: only a reading of the ledger can give it one.
        """
        if self._forecast is None:
            return 0.0
        cost_s = self._forecast.cost_s(job)
        if cost_s is None:
            return math.inf
        under_way_s = self._forecast.sum_s(job.route, self._out.of(job.route, job.replicate).planned_s)
        return cost_s + under_way_s + self._reserve_s(job, limit_s, self._forecast)

    def _reserve_s(self, job: Job, limit_s: float, forecast: Forecast) -> float:
        under_way = self._out.of(job.route, job.replicate).num + Counter([(job.target, job.phase)])
        claims = self._claims(job.route, job.replicate, under_way)
        return forecast.reserve_s(job.route, job.replicate, limit_s, claims)


def open_scheduler(
    routes: Sequence[Route],
    budget: BudgetConfig,
    paths: StudyFolder,
    ledger: LedgerWriter,
    session: str,
    on_stopped: Callable[[Job], None] = lambda job: None,
    data: DataFacts | None = None,
    forecast: Forecast | None = None,
    within_epoch_s: Callable[[Job], float] = lambda job: math.inf,
) -> Scheduler:
    """A scheduler for one session of a study, which continues from the ledger; ``data`` is for :class:`Given`."""
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
        within_epoch_s,
    )
