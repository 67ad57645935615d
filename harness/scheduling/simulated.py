"""A simulated study: every job succeeds and takes as long as its price says, on a simulated clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from accounting.ledger.outcomes import JobOutcome
from harness.errors import InputError
from harness.jobs.job import Done, Job, Outcome, Route, Wait
from harness.jobs.work import Deliver, Prune, RangeTest, Score, Train
from harness.planning.pools import ONE_DEVICE, Pool
from harness.scheduling.scheduler import Scheduler

ROUNDING = 1e-9
"""Tolerance for sums of shares of a device."""
NOTHING_SPENT: Mapping[tuple[str, int], float] = MappingProxyType({})


@dataclass(frozen=True)
class PlannedJob:
    """A job with its estimated cost in device-seconds; if rates are declared, in those of the reference GPU model."""

    job: Job
    seconds: float
    teaching_s: float = 0.0
    """The part of it that the teacher's forward passes take."""
    pool: Pool = ONE_DEVICE[0]
    """The devices among which it was simulated."""

    @property
    def held_s(self) -> float:
        """Device-seconds as they would be held on the devices of the pool."""
        return self.seconds / self.pool.rate


class Simulation:
    """A simulated backend with ``pools`` of devices; also the scheduler's spending, and a journal that records nothing.

    A job costs ``price_s`` device-seconds and holds ``held_by`` devices of the first pool that has room. It lasts the one
    divided by the other, and by the pool's rate. ``spent_s`` was spent before, by route and replicate. A job's whole cost
    counts as spent from its start. If there is no room for a job, no later job overtakes it.
    """

    def __init__(
        self,
        price_s: Callable[[Job], float],
        spent_s: Mapping[tuple[str, int], float] = NOTHING_SPENT,
        pools: Sequence[Pool] = ONE_DEVICE,
        held_by: Callable[[Job], float] = lambda job: 1.0,
    ) -> None:
        self._price_s = price_s
        self._spent_s = dict(spent_s)
        self._pools = tuple(pools)
        self._num_free = [pool.amount for pool in pools]
        self._held_by = held_by
        self._running: list[tuple[float, int, Job, int]] = []
        """When a job ends, its number, the job, and the place of its pool."""
        self.jobs: list[PlannedJob] = []
        self.wall_s = 0.0
        """Seconds from the start of the first job to the end of the last."""

    def run(self, scheduler: Scheduler) -> None:
        """Simulate the scheduler's jobs, as many at once as there is room for.

        Raises:
            InputError: it would never end.

        """
        names: set[str] = set()
        next_one: Job | Wait | Done = Wait()
        while True:
            if not isinstance(next_one, Job):
                next_one = scheduler.next() if max(self._num_free) > ROUNDING or not self._running else Wait()
                if isinstance(next_one, Job):
                    if next_one.name in names:
                        raise InputError(
                            f"routes.{next_one.route}: job {next_one.name} is proposed a second time; each needs a name of "
                            "its own"
                        )
                    names.add(next_one.name)
            if isinstance(next_one, Job) and (place := self._place_of(next_one)) is not None:
                self._begin(next_one, place)
                next_one = Wait()
            elif self._running:
                self._end_one(scheduler)
            elif isinstance(next_one, Done):
                return
            else:
                raise InputError(scheduler.stuck())

    def _place_of(self, job: Job) -> int | None:
        """The place of the first pool with room for the job; one that needs more devices than any has runs alone."""
        held = self._held_by(job)
        rooms = (place for place, free in enumerate(self._num_free) if held <= free + ROUNDING)
        return next(rooms, None if self._running else 0)

    def _begin(self, job: Job, place: int) -> None:
        seconds, pool = self._price_s(job), self._pools[place]
        self.jobs.append(PlannedJob(job, seconds, pool=pool))
        if job.counts_for_budget:
            key = job.route, job.replicate
            self._spent_s[key] = self._spent_s.get(key, 0.0) + seconds
        self._num_free[place] -= self._held_by(job)
        lasts_s = seconds / self._held_by(job) / pool.rate
        heapq.heappush(self._running, (self.wall_s + lasts_s, len(self.jobs), job, place))

    def _end_one(self, scheduler: Scheduler) -> None:
        self.wall_s, _, done, place = heapq.heappop(self._running)
        self._num_free[place] += self._held_by(done)
        scheduler.tell(done, guessed(done))

    def of(self, route: str, replicate: int) -> float:
        """See :class:`harness.scheduling.seams.Spending`."""
        return self._spent_s.get((route, replicate), 0.0)

    def now(self, route: str, replicate: int) -> float:
        """See :class:`harness.scheduling.seams.Spending`."""
        return self.of(route, replicate)

    def at_most(self, route: str, replicate: int) -> float:
        """See :class:`harness.scheduling.seams.Spending`."""
        return self.of(route, replicate)

    def given_up(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.scheduling.seams.Journal`."""

    def held_s(self, job: str) -> float:
        """See :class:`harness.scheduling.seams.Spending`; a simulated job holds all of its cost."""
        return float("inf")

    def stopped(self, job: Job, reason: str, budget_h: float) -> None:
        """See :class:`harness.scheduling.seams.Journal`."""

    def thought(self, route: Route, answer: Job | Wait | Done, duration_s: float) -> None:
        """See :class:`harness.scheduling.seams.Journal`."""


def guessed(job: Job) -> Outcome:
    """An outcome with everything that routes look at: the resulting MACs, and a made-up accuracy that grows with them."""
    val_top1 = 0.5 + 0.4 * (1 - 1 / (1 + job.counted_macs / 10**6)) + (job.seed % 1000) / 10**5
    metrics: JobOutcome = {"val_top1": val_top1, "macs": job.counted_macs}
    match job.work:
        case Prune(rule):
            metrics["macs"] = rule.target_macs
        case Train(gradually=gradually) if gradually is not None:
            metrics["macs"] = gradually.rule.target_macs
        case RangeTest(recipe):
            metrics = {"chosen_lr": recipe.lr}
        case Score(archs):
            metrics = {"scores": [val_top1 + i / 10**6 for i in range(len(archs))]}
        case Deliver() if job.is_smaller:
            metrics["size_bytes"] = {"program": 1}
    return Outcome(ok=True, metrics=metrics)
