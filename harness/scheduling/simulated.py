"""A study that is only played through: every job goes well and takes the time that its price says, on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from accounting.ledger.outcomes import JobOutcome
from harness.errors import InputError
from harness.jobs.job import Done, Job, Outcome, Route, Wait
from harness.jobs.work import Deliver, Prune, Score, Train
from harness.scheduling.scheduler import Scheduler

NOTHING_SPENT: Mapping[tuple[str, int], float] = MappingProxyType({})


@dataclass(frozen=True)
class PlannedJob:
    """One job with its estimate in device-seconds."""

    job: Job
    seconds: float


class Simulation:
    """A backend on one device, with what a scheduler's seams ask: what was spent by then, and a journal of nothing.

    ``spent_s`` was spent before by route and replicate.
    """

    def __init__(
        self, price_s: Callable[[Job], float], spent_s: Mapping[tuple[str, int], float] = NOTHING_SPENT
    ) -> None:
        self._price_s = price_s
        self._spent_s = dict(spent_s)
        self.jobs: list[PlannedJob] = []
        self.clock_s = 0.0
        """Device-seconds since the beginning, exports included."""

    def run(self, scheduler: Scheduler) -> None:
        """Play the scheduler's jobs through, one after another; ``InputError`` where that would never end."""
        names: set[str] = set()
        while not isinstance(job := scheduler.next(), Done):
            if isinstance(job, Wait):
                raise InputError(scheduler.stuck())
            if job.name in names:
                raise InputError(
                    f"routes.{job.route}: job {job.name} is proposed a second time; each needs a name of its own"
                )
            names.add(job.name)
            seconds = self._price_s(job)
            self.clock_s += seconds
            self.jobs.append(PlannedJob(job, seconds))
            if job.counts_for_budget:
                key = job.route, job.replicate
                self._spent_s[key] = self._spent_s.get(key, 0.0) + seconds
            scheduler.tell(job, guessed(job))

    def of(self, route: str, replicate: int) -> float:
        """See :class:`harness.scheduling.seams.Spending`."""
        return self._spent_s.get((route, replicate), 0.0)

    def now(self, route: str, replicate: int) -> float:
        """See :class:`harness.scheduling.seams.Spending`."""
        return self.of(route, replicate)

    def given_up(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.scheduling.seams.Journal`."""

    def stopped(self, job: Job) -> None:
        """See :class:`harness.scheduling.seams.Journal`."""

    def thought(self, route: Route, answer: Job | Wait | Done, duration_s: float) -> None:
        """See :class:`harness.scheduling.seams.Journal`."""


def guessed(job: Job) -> Outcome:
    """An outcome with all that routes look at: the MACs that come out, and a made-up accuracy, which grows with them."""
    val_top1 = 0.5 + 0.4 * (1 - 1 / (1 + job.counted_macs / 10**6)) + (job.seed % 1000) / 10**5
    metrics: JobOutcome = {"val_top1": val_top1, "macs": job.counted_macs}
    match job.work:
        case Prune(rule):
            metrics["macs"] = rule.target_macs
        case Train(gradually=gradually) if gradually is not None:
            metrics["macs"] = gradually.rule.target_macs
        case Score(archs):
            metrics = {"scores": [val_top1 + i / 10**6 for i in range(len(archs))]}
        case Deliver() if job.is_smaller:
            metrics["size_bytes"] = {"program": 1}
    return Outcome(ok=True, metrics=metrics)
