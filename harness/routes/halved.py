"""Successive halving of a search's candidates: the jobs that take a candidate from rung to rung, and the values to tell.

Each rung is a job that continues the training of the previous one (:class:`harness.jobs.start.StateOf`), with the learning
rate schedule and the seed of the whole training. A candidate that reaches the last rung is trained as if never interrupted.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from harness.config.halving import Halving
from harness.jobs.job import Job, Outcome
from harness.jobs.start import StateOf
from harness.jobs.work import Train
from nas_baseline.proposing.rungs import Rungs


class HalvedCandidates:
    """Candidates of ``num_epochs`` each. Decisions depend on the set of outcomes, never on their order."""

    def __init__(self, halving: Halving, num_epochs: int) -> None:
        self._ends = halving.ends(num_epochs)
        self._rungs = Rungs(len(self._ends), halving.eta)
        self._whole: dict[int, tuple[Job, Train]] = {}
        """By trial: the job that would train the candidate in one piece, and its work."""
        self._under_way: dict[str, tuple[int, int]] = {}
        """Trial and rung of each job created so far."""
        self._told: dict[int, float | None] = {}

    def begin(self, whole: Job, work: Train, trial: int, group: Hashable) -> Job:
        """The job for the first part of a candidate's training ``work``; candidates of the same ``group`` compete."""
        self._whole[trial] = whole, work
        self._rungs.enter(trial, group)
        return self._part(trial, 0)

    def record(self, job: Job, outcome: Outcome) -> None:
        """Record the outcome of a part. A part that the budget did not pay for leaves the candidate on its rung."""
        trial, rung = self._under_way[job.name]
        if outcome.ok:
            self._rungs.record(trial, rung, outcome.metrics["val_top1"])
        elif rung == 0 or not outcome.not_paid_for:
            self._rungs.record(trial, rung, None)

    def promoted(self) -> list[Job]:
        """The next parts of the candidates that continue; call it when none is running."""
        return [self._part(trial, rung) for trial, rung in self._rungs.promote()]

    def news(self) -> tuple[dict[int, float | None], dict[int, float | None]]:
        """Values to tell, by trial: new ones, and those that have changed since they were told."""
        values = self._rungs.values()
        new = {trial: value for trial, value in values.items() if trial not in self._told}
        other = {trial: value for trial, value in values.items() if trial in self._told and value != self._told[trial]}
        self._told |= values
        return new, other

    def _part(self, trial: int, rung: int) -> Job:
        (whole, work), is_last = self._whole[trial], rung == len(self._ends) - 1
        work = replace(work, stop_epoch=None if is_last else self._ends[rung], leaves_state=not is_last)
        job = replace(whole, work=work, predicted=whole.predicted if is_last else None)
        if rung > 0:
            before = self._name(trial, rung - 1)
            job = replace(job, id=whole.id.then(f"rung-{rung}"), start=StateOf(before, self._ends[rung - 1]))
        self._under_way[job.name] = trial, rung
        return job

    def _name(self, trial: int, rung: int) -> str:
        id = self._whole[trial][0].id
        return str(id if rung == 0 else id.then(f"rung-{rung}"))
