"""Work done twice because files were damaged or missing, and jobs stopped midway by a budget: one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from accounting.cost.values import CostView
from accounting.ledger.records import Kind, Record, Status


def repeated_sentences(view: CostView, records: Sequence[Record]) -> list[str]:
    """Jobs run again to restore their files, epochs trained again because no state was left, and jobs that are stopped.

    There is a state to continue from after each checkpointed epoch, until the job has an outcome. An attempt that
    begins before the epoch that the previous one reached trains the epochs in between again. The jobs that are stopped
    are those that their budget stopped at a checkpoint and that have not continued since.
    """
    started = {r["attempt"]: r for r in records if r["kind"] == Kind.ATTEMPT_STARTED}
    begun: dict[str, Record] = {}
    for record in records:
        if record["kind"] == Kind.WORK_BEGUN:
            begun.setdefault(record["attempt"], record)
    status = {attempt.attempt: attempt.status for attempt in view.attempts}
    found = []
    for job in view.jobs:
        reached = 0.0
        for place, attempt in enumerate(job.attempts, start=1):
            again = started[attempt].get("again")
            if isinstance(again, str):
                found.append(f"{job.job} was run again, which is in the bill as lost work: {again}.")
            if attempt not in begun:
                continue
            epoch = float(begun[attempt]["epoch"])
            dropped = begun[attempt].get("dropped")
            if reached > epoch or isinstance(dropped, str):
                found.append(_trained_again(job.job, reached - epoch, dropped))
            if place == len(job.attempts):
                break
            kept = [point.epoch for point in view.progress.of(attempt) if point.checkpointed]
            reached = 0.0 if status[attempt] is Status.OK else max([epoch, *kept])
    return [*found, *_stopped(view, records)]


def _stopped(view: CostView, records: Sequence[Record]) -> list[str]:
    reasons = {r["attempt"]: str(r["reason"]) for r in records if r["kind"] == Kind.ATTEMPT_ENDED and r.get("stopped")}
    return [
        f"{job.job} was {reasons[job.attempts[-1]]}; what it has trained is kept, and a larger budget continues from there."
        for job in view.jobs
        if job.outcome is None and job.attempts[-1] in reasons
    ]


def _trained_again(job: str, num_epochs: float, dropped: object) -> str:
    """A sentence; ``num_epochs`` is 0 or less if a kill came between saving the state and recording its epoch."""
    several = f"{num_epochs:g} epochs were" if num_epochs > 0 else "An epoch that is not on record was"
    epochs = "1 epoch was" if num_epochs == 1 else several
    why = f"could not be trusted ({dropped})" if isinstance(dropped, str) else "was gone"
    return f"{epochs} trained again in {job}, which is in the bill as lost work: the state of the attempt before {why}."
