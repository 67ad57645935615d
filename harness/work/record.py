"""The records of one attempt, from its start to its only end, with what its meter showed."""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict
from typing import Any

from accounting.ledger.heartbeat import UNSEEN_S
from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.records import Kind, Status
from accounting.ledger.store import LedgerWriter
from accounting.meters.meter import Meter
from accounting.meters.nvml import open_reader
from harness.jobs.job import Job
from harness.jobs.spec import to_json
from harness.training.loop import Epoch
from harness.work.workplace import Workplace


class AttemptRecord:
    """Meters an attempt at a job from now on, and writes its records to ``ledger``."""

    def __init__(self, job: Job, place: Workplace, ledger: LedgerWriter) -> None:
        self.attempt = f"{job.name}#{uuid.uuid4().hex[:8]}"
        self.ledger = ledger
        self._dropped: dict[str, Any] = {}
        reader = open_reader()
        self._meter = Meter(reader, time.time)
        self._meter.begin(self.attempt, tuple(place.held.devices))
        again: dict[str, Any] = {"again": place.given.again} if place.given is not None and place.given.again else {}
        ledger.append(
            Kind.ATTEMPT_STARTED,
            session=place.session,
            attempt=self.attempt,
            job=job.name,
            route=job.route,
            phase=job.phase,
            target=job.target,
            replicate=job.replicate,
            allocation=place.held.allocation,
            devices=place.held.devices,
            meter=reader.meter,
            network_macs=job.counted_macs,
            spec=to_json(job),
            heartbeat_s=UNSEEN_S,
            num_workers=place.num_workers(job),
            **again,
        )

    def dropped(self, why: str) -> None:
        """Note why a saved state was not trusted; it is written when the work begins."""
        self._dropped = {"dropped": why}

    def begun(self, epochs_done: float) -> None:
        """Write that the work begins, after so many epochs of earlier attempts; a fraction if it goes on within one."""
        self.ledger.append(Kind.WORK_BEGUN, attempt=self.attempt, **self._dropped, epoch=epochs_done)

    def epoch(self, done: Epoch) -> None:
        """Write the results of an epoch."""
        self.ledger.append(Kind.PROGRESS, attempt=self.attempt, **asdict(done))

    def saved(self, epochs_done: float) -> None:
        """Write that a later attempt can continue from within an epoch."""
        self.ledger.append(Kind.CHECKPOINT, attempt=self.attempt, epoch=epochs_done)

    def succeeded(self, outcome: JobOutcome) -> None:
        """Write that the attempt ended with an outcome."""
        self._ended(Status.OK, time.time(), None, outcome)

    def failed(self, reason: str, *, stopped: bool = False) -> None:
        """Write that the attempt ended without an outcome, and that its work has just ended."""
        self._ended(Status.FAILED, time.time(), reason, None, **({"stopped": True} if stopped else {}))

    def failed_before(self, reason: str) -> None:
        """Write that the attempt failed, at a moment that is not the end of its work: before that, or unknown."""
        self._ended(Status.FAILED, None, reason, None)

    def _ended(
        self, status: Status, work_end_t: float | None, reason: str | None, outcome: JobOutcome | None, **more: bool
    ) -> None:
        self.ledger.append(
            Kind.ATTEMPT_ENDED,
            attempt=self.attempt,
            status=status,
            reason=reason,
            outcome=outcome,
            work_end_t=work_end_t,
            measurement=asdict(self._meter.end(self.attempt)),
            **more,
        )
