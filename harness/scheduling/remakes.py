"""Which jobs must be run again because their files are damaged or missing, and which jobs wait for them."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Sequence

from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.records import Kind, Record, Status
from accounting.study.folder import StudyFolder
from harness.jobs.files import FileFacts, Given, file_facts, files_problem, leaves_files
from harness.jobs.job import Job, Outcome

log = logging.getLogger(__name__)

MAX_REMAKES = 2
"""How often a job is run again in one session; damage after that is not due to chance."""


class Remakes:
    """Knows what is recorded about every job's files, and queues the jobs that must produce theirs again.

    Only files that a job is about to use are checked: a finished study needs none. Running a job again is charged as
    repeated work. Routes keep its first outcome; later jobs use its newest files.
    """

    def __init__(self, paths: StudyFolder, records: Sequence[Record]) -> None:
        self._paths = paths
        self._facts = _facts_on_record(records)
        self._jobs: dict[str, Job] = {}
        self._checked: set[str] = set()
        self._waiting: dict[str, list[Job]] = {}
        self._queue: deque[Job] = deque()
        self._reasons: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def proposed(self, job: Job) -> None:
        """Note a job that a route has proposed; it may have to be run again later."""
        self._jobs[job.name] = job

    def next(self) -> Job | None:
        """A job to run before any new one: one that must produce its files again, or one that waited for such a job."""
        while self._queue:
            if (job := self.admit(self._queue.popleft())) is not None:
                return job
        return None

    def admit(self, job: Job) -> Job | None:
        """The job, if the files it starts from verify; otherwise None, and what must be run again is queued.

        Files written in this session are checked by the attempt itself.
        """
        for source in self._sources(job):
            if source in self._waiting:
                self._waiting[source].append(job)
                return None
            if source in self._checked:
                continue
            problem = files_problem(source, self._facts[source], self._paths)
            if problem is None:
                self._checked.add(source)
            elif self._line_up(source, job, problem):
                return None
        return job

    def given(self, job: Job) -> Given:
        """What to tell an attempt at the job."""
        return Given({source: self._facts[source] for source in self._sources(job)}, self._reasons.get(job.name))

    def found_damaged(self, job: Job, source: str, reason: str) -> bool:
        """Note that the files of ``source`` were damaged. Returns whether ``source`` and then the job will run again."""
        if source in self._waiting:
            self._waiting[source].append(job)
            return True
        return self._line_up(source, job, reason)

    def told(self, job: Job, outcome: Outcome) -> list[Job] | None:
        """Record an outcome. None for a job that ran for the first time.

        For one that was run again, the jobs to give up: those that waited for it, if it failed. Otherwise they are queued.
        """
        if outcome.ok:
            new = file_facts(outcome.metrics)
            old = self._facts.get(job.name)
            self._facts[job.name] = new
            self._checked.add(job.name)
        if job.name not in self._waiting:
            return None
        waiting = self._waiting.pop(job.name)
        self._reasons.pop(job.name, None)
        if not outcome.ok:
            return waiting
        if old is not None and "weights_sha256" in old and old != new:
            log.warning("%s was run again and gave other weights than before; later jobs use the new ones", job.name)
        self._queue.extend(waiting)
        return []

    def _sources(self, job: Job) -> list[str]:
        made = [source for source in job.sources if source in self._facts and source in self._jobs]
        return [source for source in made if leaves_files(self._jobs[source])]

    def _line_up(self, source: str, waiting: Job, problem: str) -> bool:
        if source not in self._jobs or self._counts[source] >= MAX_REMAKES:
            return False
        log.warning(
            "%s cannot begin: %s; %s is run again, which is in the bill as lost work", waiting.name, problem, source
        )
        self._counts[source] += 1
        self._checked.discard(source)
        self._reasons[source] = problem
        self._waiting[source] = [waiting]
        self._queue.append(self._jobs[source])
        return True


def _facts_on_record(records: Sequence[Record]) -> dict[str, FileFacts]:
    """File facts by job, from its latest successful attempt: a job that was run again has the files of that run."""
    jobs = {record["attempt"]: record["job"] for record in records if record["kind"] == Kind.ATTEMPT_STARTED}
    return {
        jobs[record["attempt"]]: file_facts(record["outcome"] or JobOutcome())
        for record in sorted(records, key=lambda record: float(record["t"]))
        if record["kind"] == Kind.ATTEMPT_ENDED and record["status"] == Status.OK and record["attempt"] in jobs
    }
