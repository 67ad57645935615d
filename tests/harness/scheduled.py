"""Helpers for scheduler tests: routes made by hand, a study whose jobs cost what the test says, and a way to run it."""

from contextlib import contextmanager

from some_jobs import job

from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter, read_ledger
from accounting.study.folder import StudyFolder
from harness.config.routes import BudgetConfig, with_keys
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.scheduling.known import known_outcomes
from harness.scheduling.remakes import Remakes
from harness.scheduling.scheduler import Scheduler
from harness.scheduling.seams import LedgerJournal, LedgerSpending


class Line:
    """A route that proposes its jobs in turn; if ``chained``, each only after the outcome of the one before."""

    def __init__(self, name, jobs, replicate=0, chained=False):
        self.name, self.replicate = name, replicate
        self.jobs, self.chained = list(jobs), chained
        self.out, self.told = set(), []

    def ask(self):
        if self.chained and self.out:
            return Wait()
        if self.jobs:
            self.out.add(self.jobs[0].name)
            return self.jobs.pop(0)
        return Wait() if self.out else Done()

    def tell(self, job, outcome):
        self.told.append((job.name, outcome))
        self.out.discard(job.name)


def line(name, count, replicate=0, **options):
    return Line(name, [job(str(i), name, replicate=replicate) for i in range(count)], replicate, **options)


class Exact(LedgerSpending):
    """Reads the ledger at every call."""

    of = at_most = LedgerSpending.now


class Study:
    """A folder with a ledger in which jobs cost what the test says."""

    def __init__(self, root):
        self.paths = StudyFolder(root)
        self.ledger = LedgerWriter(self.paths.ledger, "s1", "driver")
        self.t = 1000.0
        self.ledger.append(
            Kind.SESSION_OPENED, t=self.t, session="s1", study="x", environment={},
            capacity=[{"device": "n/cpu", "device_kind": "cpu_core", "amount": 1.0, "name": "c", "node": "n"}],
        )  # fmt: skip

    def spend(self, job, seconds, ok=True, metrics=None, device="n/cpu", spec=None):
        attempt = f"{job.name}#{self.t}"
        self.ledger.append(
            Kind.ATTEMPT_STARTED, t=self.t, session="s1", attempt=attempt, job=job.name, route=job.route,
            phase=job.phase, target=job.target, replicate=job.replicate, allocation=None, devices={device: 1.0},
            meter="wall_clock", network_macs=1000, spec=spec or {},
        )  # fmt: skip
        self.ledger.append(Kind.WORK_BEGUN, t=self.t, attempt=attempt, epoch=0)
        self.t += seconds
        self.ledger.append(
            Kind.ATTEMPT_ENDED, t=self.t, attempt=attempt, status="ok" if ok else "failed",
            reason=None if ok else "broken", outcome=(metrics or {}) if ok else None, work_end_t=self.t, measurement={},
        )  # fmt: skip

    def scheduler(self, *routes, **budget):
        return Scheduler(
            routes,
            with_keys(BudgetConfig)(**budget).model_dump(),
            known_outcomes(self.paths),
            Exact(self.paths),
            LedgerJournal(self.ledger, "s1"),
            Remakes(self.paths, read_ledger(self.paths.ledger).records),
        )


@contextmanager
def opened(root):
    """A study in this folder, whose ledger is closed at the end."""
    made = Study(root)
    try:
        yield made
    finally:
        made.ledger.close()


def play(scheduler, study, cost_s, outcome=None):
    """Run every job at its route's cost; returns the names in the order in which they were handed out."""
    names = []
    while not isinstance(answer := scheduler.next(), Done):
        assert isinstance(answer, Job), "nothing is out, and the scheduler waits"
        names.append(answer.name)
        study.spend(answer, cost_s[answer.route])
        scheduler.tell(answer, outcome(answer) if outcome else Outcome(ok=True))
    return names
