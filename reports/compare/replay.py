"""How much a contender had spent when its networks reached an accuracy: the ledger, replayed as if jobs ran one by one.

Attempts are replayed in the order in which they began, each for as long as it held its devices, so the cost at a given
point does not depend on the number of devices. Failed and lost attempts are included. The cost of an attempt accrues
evenly from its beginning to its end.

For each job, the validation accuracies at the ends of epochs count, in the attempts on which its outcome was built:
values that a later attempt measured again replace those that were lost. A job without such epochs counts with its
outcome. A supernet in training does not count, because it cannot be delivered. Gradual pruning counts only with its
outcome, because the ledger records it with its initial MACs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """One contender in one replicate under one charge policy: the steps of its trainings, and its total charge.

    Steps that decide nothing (:meth:`reports.compare.reach.Steps.ahead`) are left out.
    """

    steps: Steps
    spent_h: float


@dataclass(frozen=True)
class _Curves:
    """The measurements of jobs: one row each, grouped by job and in the order of epochs.

    ``job`` numbers the jobs in the order in which they began. ``place`` is the index of the attempt that measured a
    row, and ``share`` the part of the attempt (0-1) that had passed by then.
    """

    names: list[str]
    job: NDArray[np.int64]
    place: NDArray[np.int64]
    share: Floats
    epoch: Floats
    top1: Floats

    def only(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> _Curves:
        """Only these rows, in this order."""
        return _Curves(
            self.names, self.job[rows], self.place[rows], self.share[rows], self.epoch[rows], self.top1[rows]
        )


def replay(
    attempts: Sequence[Attempt],
    policies: Mapping[str, Sequence[float]],
    parts: Mapping[str, Sequence[float]],
    progress: ProgressTable,
    specs: Mapping[str, JobSpec],
    route: str,
    target: int,
) -> dict[str, Replayed]:
    """The replay by charge policy and part; ``attempts`` are those the contender pays for, ordered by when they began.

    ``policies`` and ``parts`` have, by name, the share (0-1) of each attempt's cost that is charged. All replays have
    the same steps, because parts are queried at moments that were found under a policy. The networks of other routes,
    on whose work the contender builds and for which it pays, are not its own and do not count.
    """
    rises = _rises(_curves([a if a.route == route else None for a in attempts], progress, target), specs)
    allocated = np.array([a.allocated_s for a in attempts], dtype=np.float64)
    found = {}
    for name, shares in {**policies, **parts}.items():
        costs = np.array(shares, dtype=np.float64) * allocated / HOUR_S
        before = np.concatenate([[0.0], np.cumsum(costs)])
        found[name] = Replayed(rises.steps(before), float(before[-1]))
    ahead = np.unique(np.concatenate([found[name].steps.ahead() for name in policies]))
    return {name: Replayed(each.steps.only(ahead), each.spent_h) for name, each in found.items()}


def _curves(attempts: Sequence[Attempt | None], progress: ProgressTable, target: int) -> _Curves:
    jobs: dict[str, int] = {}
    done: dict[int, tuple[int, Attempt]] = {}
    counted: list[tuple[int, int, Attempt]] = []
    for place, attempt in enumerate(attempts):
        if attempt is None or (job := jobs.setdefault(attempt.job, len(jobs))) in done:
            continue
        if counts_by_epoch(attempt, target):
            counted.append((place, job, attempt))
        if attempt.status is Status.OK:
            done[job] = place, attempt
    found = _latest(_by_epoch(list(jobs), counted, progress))
    measured = np.bincount(found.job, minlength=len(jobs))
    outcomes = [
        (job, place, top1)
        for job, (place, attempt) in done.items()
        if not measured[job] and (top1 := outcome_within(attempt, target)) is not None
    ]
    found = _with_outcomes(found, outcomes)
    evaluated = {jobs[a.job] for a in attempts if a is not None and a.phase == Phase.EVALUATE}
    trained = ~np.isin(found.job, list(evaluated))
    return found.only(trained) if trained.any() else found  # an evaluation measures again, unless nothing else did


def _by_epoch(names: list[str], counted: Sequence[tuple[int, int, Attempt]], progress: ProgressTable) -> _Curves:
    """All measurements at ends of epochs, by job and in the order of time; ``counted`` has place, job and attempt."""
    which, t, epoch, top1 = progress.curves([attempt.attempt for _, _, attempt in counted])
    place, job = (np.array([row[column] for row in counted], dtype=np.int64)[which] for column in (0, 1))
    begin = np.array([attempt.begin_t for _, _, attempt in counted], dtype=np.float64)[which]
    length = np.array([attempt.end_t for _, _, attempt in counted], dtype=np.float64)[which] - begin
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(length > 0, np.clip((t - begin) / length, 0.0, 1.0), 1.0)
    return _Curves(names, job, place, share, epoch, top1).only(np.argsort(job, kind="stable"))


def _latest(curves: _Curves) -> _Curves:
    """Drop what was measured again: a later row of an epoch replaces that epoch and all after it."""
    falls = (curves.job[1:] == curves.job[:-1]) & (curves.epoch[1:] <= curves.epoch[:-1])
    if not falls.any():
        return curves
    stays = np.ones(len(curves.job), dtype=np.bool_)
    for job in np.unique(curves.job[1:][falls]):
        begin, end = np.searchsorted(curves.job, [job, job + 1])
        later = np.minimum.accumulate(curves.epoch[begin:end][::-1])[::-1]
        stays[begin : end - 1] = curves.epoch[begin : end - 1] < later[1:]
    return curves.only(stays)


def _with_outcomes(curves: _Curves, outcomes: Sequence[tuple[int, int, float]]) -> _Curves:
    """Add rows for jobs that have none; ``outcomes`` has the job, the place and the accuracy of each."""
    if not outcomes:
        return curves
    job, place, top1 = zip(*outcomes, strict=True)
    nothing = np.zeros(len(outcomes))
    both = _Curves(
        curves.names,
        np.append(curves.job, job),
        np.append(curves.place, place),
        np.append(curves.share, nothing + 1.0),
        np.append(curves.epoch, nothing),
        np.append(curves.top1, top1),
    )
    return both.only(np.argsort(both.job, kind="stable"))


@dataclass(frozen=True)
class _Rises:
    """The steps of all trainings, without costs yet: one row per step, with the rows of a training in sequence.

    ``is_first`` marks a training's first row, which begins with its attempt; each other row begins where the previous
    ends.
    """

    place: NDArray[np.int64]
    share: Floats
    is_first: NDArray[np.bool_]
    top1_from: Floats
    top1_to: Floats

    def steps(self, before: Floats) -> Steps:
        """The steps with costs; ``before`` has the device-hours charged before each attempt, and the total."""
        start = before[self.place]
        cost_to = start + self.share * (before[self.place + 1] - start)
        cost_from = np.where(self.is_first, start, np.append(0.0, cost_to)[:-1])
        return Steps(cost_from, cost_to, self.top1_from, self.top1_to)


def _rises(curves: _Curves, specs: Mapping[str, JobSpec]) -> _Rises:
    is_first = np.diff(curves.job, prepend=-1) != 0
    first = np.flatnonzero(is_first)
    length = np.diff(first, append=len(is_first))
    top1 = _smoothed(curves.top1, first, length)
    names = [curves.names[job] for job in curves.job[first].tolist()]
    final = dict(zip(names, top1[first + length - 1].tolist(), strict=True))
    starts = [final.get(str(specs.get(name, {}).get("init_from")), np.nan) for name in names]
    top1_from = np.append(np.nan, top1)[:-1]
    top1_from[first] = np.minimum(starts, top1[first])
    return _Rises(curves.place, curves.share, is_first, top1_from, top1)


MOST_VALUES = 2_000_000
"""Most values held in memory at a time: epochs squared, summed over the trainings that are smoothed together."""


def _smoothed(raw: Floats, first: NDArray[np.int64], length: NDArray[np.int64]) -> Floats:
    """Isotonic values per training; trainings of equal length are smoothed together, as many as memory allows."""
    found = np.empty(len(raw))
    for each in np.unique(length):
        begins, within = first[length == each], np.arange(each)
        at_a_time = max(1, MOST_VALUES // int(each) ** 2)
        for start in range(0, len(begins), at_a_time):
            rows = begins[start : start + at_a_time, None] + within
            found[rows] = isotonic(raw[rows])
    return found
