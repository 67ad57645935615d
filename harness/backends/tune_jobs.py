"""The scheduler's jobs as Ray Tune trials: what runs next, what its outcome was, and what is retried."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import ray
from ray.tune.search import Searcher

from accounting.study.plugins import PluginRecord
from harness.backends.allocations import Nodes
from harness.backends.room import Held, Room, held_key
from harness.config.resources import JobShape
from harness.errors import disk_problem, one_line, typed_line
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.spec import to_json
from harness.scheduling.scheduler import Scheduler
from harness.work.stop_notes import StopNotes

log = logging.getLogger(__name__)

STOP_LOOK_S = 1.0
"""Interval between two checks of whether running jobs must be stopped, for each hundred jobs that run."""


class PlaceOfStudy(TypedDict):
    """What a worker is told about its study besides the job."""

    root: str
    session: str
    dataset: dict[str, Any]
    """The config's section, as given."""
    device: str
    models: list[str]
    """The GPU models that the study may hold; none on CPUs."""
    checkpoint_every_s: float | None
    plugins: list[PluginRecord]


class TrialConfig(TypedDict):
    """A trial's config: a job, and :class:`PlaceOfStudy` together with what the attempt is given, each as JSON."""

    job: str
    place: str
    held: str
    """What it holds, by Ray's resource names, as JSON."""
    shunned: str
    """Ids of the nodes on which it must not be placed, as JSON."""


class OtherModel(RuntimeError):
    """A worker is on a node with GPUs of another model than the study's; it has begun nothing there."""

    def __init__(self, node: str, message: str) -> None:
        super().__init__(node, message)
        self.node = node

    def __str__(self) -> str:
        return str(self.args[1])


class JobSearcher(Searcher):
    """Turns the scheduler's jobs into trials, completed trials into outcomes, and failed ones into further attempts."""

    def __init__(
        self,
        scheduler: Scheduler,
        place: PlaceOfStudy,
        max_attempts: int,
        shape_of: Callable[[Job], JobShape],
        device: str,
        nodes: Nodes,
        on_lost: Callable[[str, str], None] = lambda job, reason: None,
    ) -> None:
        super().__init__()
        self._on_lost = on_lost
        """Called with a job and the reason when its worker is gone, and so cannot record that itself."""
        self._scheduler = scheduler
        self._place = place
        self._max_attempts = max_attempts
        self._shape_of, self._device = shape_of, device
        self._room = Room(nodes)
        self.shunned: set[str] = set()
        """Ids of the nodes on which no job is placed, since their GPUs are of another model."""
        self._running: dict[str, Job] = {}
        self._alike: Counter[Held] = Counter()
        """How many of the running jobs hold the same."""
        self._again: list[Job] = []
        self._failures: dict[str, int] = {}
        """How often each job has failed since the scheduler proposed it."""
        self._since_t: dict[str, float] = {}
        self.notes: StopNotes | None = None
        """How running jobs are asked to end at a checkpoint once their route's budget pays for no more."""
        self._asked: set[str] = set()
        """The jobs that were asked to end."""
        self._looked_s = float("-inf")
        self.stopped = threading.Event()
        """Set when the run is interrupted: nothing new begins, and a trial that ends says nothing about its job."""

    @property
    def nodes(self) -> Nodes:
        """The nodes where jobs run; may be set at any time."""
        return self._room.nodes

    @nodes.setter
    def nodes(self, nodes: Nodes) -> None:
        self._room = Room(nodes)

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing to pickle: the Tuner pickles its searcher for a restore that never comes.

        The ledger is the truth.
        """
        return {}

    def suggest(self, trial_id: str) -> TrialConfig | str | None:  # type: ignore[override]  # FINISHED is a text
        """See Ray Tune. A failed job comes first, since others may wait for it."""
        self._stop_unpaid()
        # Propose one job more than fits, so that a freed device has its next job at once; then none until it has begun.
        # Otherwise a job that wants many devices would wait for as long as there are smaller ones.
        if self.stopped.is_set() or not self._room.fits(self._alike):
            return None
        answer = self._again.pop(0) if self._again else self._scheduler.next()
        if isinstance(answer, Wait) and not self._running:
            self._scheduler.stuck()
            return Searcher.FINISHED
        if isinstance(answer, Wait):
            return None
        if isinstance(answer, Done):
            return Searcher.FINISHED
        if answer.name in self._asked and self.notes is not None:
            self._asked.remove(answer.name)
            self.notes.forget(answer.name)
        if answer.name not in self._failures:
            self._since_t[answer.name] = time.time()
        self._running[trial_id] = answer
        held = self._held(answer)
        self._alike[held_key(held)] += 1
        return {
            "job": json.dumps(to_json(answer)),
            "place": json.dumps(
                {
                    **self._place,
                    "given": asdict(self._scheduler.given(answer)),
                    "since_t": self._since_t[answer.name],
                    "num_workers": self._shape_of(answer).workers,
                }
            ),
            "held": json.dumps(held),
            "shunned": json.dumps(sorted(self.shunned)),
        }

    def _stop_unpaid(self) -> None:
        """Ask jobs whose budget is spent to end at their next checkpoint; looked at each second per hundred running jobs."""
        wait_s = STOP_LOOK_S * max(1.0, len(self._running) / 100)
        if self.notes is None or time.monotonic() - self._looked_s < wait_s:
            return
        self._looked_s = time.monotonic()
        for job, reason in self._scheduler.to_stop().items():
            if job not in self._asked:
                self._asked.add(job)
                self.notes.ask(job, reason)

    def _held(self, job: Job) -> dict[str, float]:
        return ray_resources(self._shape_of(job), self._device)

    def _ended(self, trial_id: str) -> Job | None:
        """The job of a trial that runs no more; None if it did not run."""
        job = self._running.pop(trial_id, None)
        if job is not None:
            self._alike[held_key(self._held(job))] -= 1
        return job

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """See Ray Tune; failed trials are reported to :meth:`failed` instead."""
        if error or self.stopped.is_set() or trial_id not in self._running:
            return
        if not result or "outcome" not in result:
            self.failed(trial_id, None)
        elif (job := self._ended(trial_id)) is not None:
            self._failures.pop(job.name, None)
            self._scheduler.tell(job, Outcome(**json.loads(result["outcome"])))

    def failed(self, trial_id: str, error: BaseException | None) -> None:
        """Propose a failed trial's job again, or give it up after its last attempt; a repeated call does nothing."""
        job = self._ended(trial_id)
        if job is None or self.stopped.is_set():
            return
        reason = reason_of(error)
        cause = getattr(error, "cause", None)
        if isinstance(cause, OtherModel):
            self.shunned.add(cause.node)
        is_nobodys = isinstance(cause, OtherModel) or getattr(error, "preempted", False)
        number = self._failures.get(job.name, 0) + (not is_nobodys)
        self._failures[job.name] = number
        if not isinstance(error, ray.exceptions.RayTaskError):
            self._on_lost(job.name, reason)
        if (full := disk_problem(cause if isinstance(cause, BaseException) else error)) is not None:
            self._scheduler.tell(job, Outcome(ok=False, reason=full, final=False, ends_session=True))
            return
        if number < self._max_attempts:
            log.info("attempt %d of %d at %s failed: %s", number, self._max_attempts, job.name, reason)
            self._again.append(job)
            return
        del self._failures[job.name]
        self._scheduler.tell(job, Outcome(ok=False, reason=reason, final=False))

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file, because Ray looks for one; Ray's snapshots are never read."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """See :meth:`save`."""


def ray_resources(shape: JobShape, device: str) -> dict[str, float]:
    """What a job of that shape holds, by Ray's resource names."""
    return {"CPU": shape.cpus, "GPU": shape.devices} if device == "cuda" else {"CPU": shape.devices}


def reason_of(error: BaseException | None) -> str:
    """Why an attempt failed, in one line."""
    if error is None:
        return "the worker ended without an outcome"
    cause = getattr(error, "cause", None)
    if isinstance(error, ray.exceptions.RayTaskError) and isinstance(cause, BaseException):
        return typed_line(cause)
    if isinstance(error, ray.exceptions.RayError) and not isinstance(error, ray.exceptions.RayActorError):
        return typed_line(error)
    return one_line(error)
