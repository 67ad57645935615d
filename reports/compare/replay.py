"""How much a contender had spent by the time its networks had an accuracy: the ledger, replayed as if jobs ran one by one.

Attempts are replayed in the order in which they began, each for as long as it held its devices, so the cost at a moment does
not depend on the number of devices. Failed and lost attempts are included. The cost of an attempt accrues evenly from its
beginning to its end.

For each job, the validation accuracies at the ends of epochs count, in the attempts on which its outcome was built: values
that a later attempt measured again replace those that were lost. A job without such epochs counts with its outcome. A
supernet in training does not count, as it cannot be delivered. Gradual pruning counts only with its outcome, since the
ledger has it with its initial MACs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from accounting.cost.attempts import Attempt
from accounting.cost.progress import ProgressTable
from accounting.ledger.records import Phase, Status
from accounting.ledger.specs import JobSpec
from accounting.words.quantities import HOUR_S
from reports.compare.measured import counts_by_epoch, outcome_within
from reports.compare.reach import Floats, Steps, isotonic


@dataclass(frozen=True)
class Replayed:
    """One contender in one replicate under one charge policy: the steps of its trainings, and the total charged."""

    steps: Steps
    spent_h: float


@dataclass
class _Training:
    """What was measured of a job, ordered by epoch: which attempt, which share of it had passed, and the accuracy."""

    begin: int
    place: list[int] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    epoch: list[float] = field(default_factory=list)
    top1: list[float] = field(default_factory=list)

    def add_all(self, place: int, shares: Sequence[float], epochs: Sequence[int], top1s: Sequence[float]) -> None:
        """Add what an attempt measured, ordered by time."""
        if self.epoch or any(before >= after for before, after in pairwise(epochs)):
            for share, epoch, top1 in zip(shares, epochs, top1s, strict=True):
                self.add(place, share, epoch, top1)
        elif epochs:
            self.begin = place
            self.place, self.share, self.epoch, self.top1 = [place] * len(epochs), [*shares], [*epochs], [*top1s]

    def add(self, place: int, share: float, epoch: float, top1: float) -> None:
        """Add a point; it replaces points of the same and of later epochs."""
        if self.epoch and self.epoch[-1] >= epoch:
            kept = [row for row, known in enumerate(self.epoch) if known < epoch]
            self.place = [self.place[row] for row in kept]
            self.share = [self.share[row] for row in kept]
            self.top1 = [self.top1[row] for row in kept]
            self.epoch = [self.epoch[row] for row in kept]
        if not self.epoch:
            self.begin = place
        self.place.append(place)
        self.share.append(share)
        self.epoch.append(epoch)
        self.top1.append(top1)


def replay(
    attempts: Sequence[Attempt],
    shares: Mapping[str, Sequence[float]],
    progress: ProgressTable,
    specs: Mapping[str, JobSpec],
    route: str,
    target: int,
) -> dict[str, Replayed]:
    """The replay for each charge policy. ``attempts`` are those that the contender pays for, ordered by their beginning.

    ``shares`` has, for each policy, the share (0-1) of each attempt's cost that is charged. Networks of other routes do not
    count as the contender's own, even if it builds on their work and pays for it.
    """
    trainings = _trainings([a if a.route == route else None for a in attempts], progress, target)
    rises = _rises(trainings, specs)
    allocated = np.array([a.allocated_s for a in attempts], dtype=np.float64)
    found = {}
    for policy, share in shares.items():
        costs = np.array(share, dtype=np.float64) * allocated / HOUR_S
        before = np.concatenate([[0.0], np.cumsum(costs)])
        found[policy] = Replayed(rises.steps(before), float(before[-1]))
    return found


def _trainings(attempts: Sequence[Attempt | None], progress: ProgressTable, target: int) -> dict[str, _Training]:
    trainings: dict[str, _Training] = {}
    done: set[str] = set()
    for place, attempt in enumerate(attempts):
        if attempt is None or attempt.job in done:
            continue
        training = trainings.get(attempt.job)
        if training is None:
            training = trainings[attempt.job] = _Training(place)
        if counts_by_epoch(attempt, target):
            begin, length = attempt.begin_t, attempt.end_t - attempt.begin_t
            times, epochs, top1s = progress.columns_of(attempt.attempt)
            passed = [min(max((t - begin) / length, 0.0), 1.0) if length > 0 else 1.0 for t in times]
            training.add_all(place, passed, epochs, top1s)
        if attempt.status is Status.OK:
            done.add(attempt.job)
            if not training.epoch and (found := outcome_within(attempt, target)) is not None:
                training.add(place, 1.0, 0, found)
    evaluated = {a.job for a in attempts if a is not None and a.phase == Phase.EVALUATE}
    measured = {job: found for job, found in trainings.items() if found.epoch}
    trained = {job: found for job, found in measured.items() if job not in evaluated}
    return trained or measured  # an evaluation only repeats a measurement, unless there was none


@dataclass(frozen=True)
class _Rises:
    """The steps of all trainings, not yet priced: one row per step, with the rows of a training in sequence.

    ``is_first`` marks the first row of a training, which begins with the attempt ``begin``; every other row begins where the
    previous one ends.
    """

    place: NDArray[np.int64]
    share: Floats
    begin: NDArray[np.int64]
    is_first: NDArray[np.bool_]
    top1_from: Floats
    top1_to: Floats

    def steps(self, before: Floats) -> Steps:
        """The priced steps, given the device-hours charged ``before`` each attempt."""
        if not self.place.size:
            return Steps(self.share, self.share, self.top1_from, self.top1_to)
        start = before[self.place]
        cost_to = start + self.share * (before[self.place + 1] - start)
        cost_from = np.where(self.is_first, before[self.begin], np.concatenate([[0.0], cost_to[:-1]]))
        return Steps(cost_from, cost_to, self.top1_from, self.top1_to)


def _rises(trainings: Mapping[str, _Training], specs: Mapping[str, JobSpec]) -> _Rises:
    smooth = _smoothed({job: training.top1 for job, training in trainings.items()})
    lengths = [len(training.epoch) for training in trainings.values()]
    firsts = np.cumsum([0, *lengths[:-1]], dtype=np.int64)
    rows = [smooth[job] for job in trainings]
    top1_to = np.concatenate([np.empty(0), *rows])
    top1_from = np.concatenate([[np.nan], top1_to[:-1]])[: top1_to.size]
    is_first = np.zeros(top1_to.size, dtype=np.bool_)
    if lengths:
        is_first[firsts] = True
    for first, job, own in zip(firsts, trainings, rows, strict=False):
        start = smooth.get(str(specs.get(job, {}).get("init_from")))
        top1_from[first] = np.nan if start is None else min(start[-1], own[0])
    begins = [training.begin for training in trainings.values()]
    return _Rises(
        np.array([place for training in trainings.values() for place in training.place], dtype=np.int64),
        np.array([share for training in trainings.values() for share in training.share], dtype=np.float64),
        np.repeat(np.array(begins, dtype=np.int64), lengths),
        is_first,
        top1_from,
        top1_to,
    )


MOST_VALUES = 2_000_000
"""Most values in memory at a time: epochs squared, summed over the trainings that are smoothed together."""


def _smoothed(raw: Mapping[str, Sequence[float]]) -> dict[str, Floats]:
    """Isotonic curves by job; jobs of equal length are smoothed together, as many as fit in memory."""
    by_length: dict[int, list[str]] = defaultdict(list)
    for job, values in raw.items():
        by_length[len(values)].append(job)
    found: dict[str, Floats] = {}
    for length, jobs in by_length.items():
        at_a_time = max(1, MOST_VALUES // max(1, length) ** 2)
        for start in range(0, len(jobs), at_a_time):
            some = jobs[start : start + at_a_time]
            rows = isotonic(np.array([raw[job] for job in some], dtype=np.float64))
            found.update(zip(some, rows, strict=True))
    return found
