"""Work done twice because files were damaged or missing, and jobs stopped midway by a budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from accounting.cost.values import CostView
from accounting.ledger.records import Kind, Record, Status


@dataclass(frozen=True)
class RunAgain:
    """A job that was run again to restore its files; ``why`` is what was wrong with them."""

    job: str
    why: str


@dataclass(frozen=True)
class TrainedAgain:
    """Epochs of a job that were trained again because no state was left.

    ``num_epochs`` is 0 or less if a kill came between saving the state and recording its epoch. ``distrusted`` says why
    the state that there was could not be trusted; None: it was gone.
    """

    job: str
    num_epochs: float
    distrusted: str | None


@dataclass(frozen=True)
class StoppedMidway:
    """A job that its budget stopped at a checkpoint and that has not continued since."""

    job: str
    reason: str


RepeatedWork: TypeAlias = RunAgain | TrainedAgain | StoppedMidway


def repeated_work(view: CostView, records: Sequence[Record]) -> tuple[RepeatedWork, ...]:
    """Jobs run again to restore their files, epochs trained again because no state was left, and jobs that are stopped.

    There is a state to continue from after each checkpointed epoch, until the job has an outcome. An attempt that
    begins before the epoch that the previous one reached trains the epochs in between again. The jobs that are stopped
    are those that their budget stopped at a checkpoint and that have not continued since.
    """
    return (*_again(view, records), *_stopped(view, records))


def _again(view: CostView, records: Sequence[Record]) -> Iterator[RunAgain | TrainedAgain]:
    started = {r["attempt"]: r for r in records if r["kind"] == Kind.ATTEMPT_STARTED}
    begun: dict[str, Record] = {}
    for record in records:
        if record["kind"] == Kind.WORK_BEGUN:
            begun.setdefault(record["attempt"], record)
    status = {attempt.attempt: attempt.status for attempt in view.attempts}
    for job in view.jobs:
        reached = 0.0
        for place, attempt in enumerate(job.attempts, start=1):
            again = started[attempt].get("again")
            if isinstance(again, str):
                yield RunAgain(job.job, again)
            if attempt not in begun:
                continue
            epoch = float(begun[attempt]["epoch"])
            dropped = begun[attempt].get("dropped")
            if reached > epoch or isinstance(dropped, str):
                yield TrainedAgain(job.job, reached - epoch, dropped if isinstance(dropped, str) else None)
            if place == len(job.attempts):
                break
            kept = [point.epoch for point in view.progress.of(attempt) if point.checkpointed]
            reached = 0.0 if status[attempt] is Status.OK else max([epoch, *kept])


def _stopped(view: CostView, records: Sequence[Record]) -> Iterator[StoppedMidway]:
    reasons = {r["attempt"]: str(r["reason"]) for r in records if r["kind"] == Kind.ATTEMPT_ENDED and r.get("stopped")}
    for job in view.jobs:
        if job.outcome is None and job.attempts[-1] in reasons:
            yield StoppedMidway(job.job, reasons[job.attempts[-1]])
