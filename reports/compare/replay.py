"""What a contender had spent when its networks had which accuracy: a ledger replayed as if jobs ran one after another.

Attempts are replayed in the order in which they began, each for as long as it held its devices; so the cost of a moment does
not depend on how many devices there were. Failed and lost attempts stand in the row like the others. An attempt's cost
accrues evenly from its begin to its end.

Of each job the validation accuracies at the ends of its epochs count, in the attempts that its outcome was built on: what a
later attempt measured again takes the place of what was lost. A job without such epochs counts with its outcome. A supernet
in training is no network that could be delivered, and a fine-tuning that prunes as it goes on is in the ledger with the MACs
that it began with, so that it counts with its outcome only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accounting.cost.attempts import Attempt, Progress
from accounting.ledger.records import Phase, Status
from accounting.ledger.specs import JobSpec
from accounting.words.quantities import HOUR_S
from reports.compare.reach import Floats, Steps, isotonic


@dataclass(frozen=True)
class Replayed:
    """One contender in one replicate under one charge policy: steps of its trainings, and all that it was charged."""

    steps: Steps
    spent_h: float


@dataclass
class _Training:
    """The points of a job: (place of the attempt, share of it that had passed, epoch, accuracy), in order of epochs."""

    points: list[tuple[int, float, float, float]]
    begin: int


def replay(
    attempts: Sequence[Attempt],
    shares: Mapping[str, Sequence[float]],
    progress: Mapping[str, Sequence[Progress]],
    specs: Mapping[str, JobSpec],
    route: str,
    target: int,
) -> dict[str, Replayed]:
    """By charge policy; ``attempts`` are those that the contender pays for, in the order in which they began.

    ``shares`` has, for each policy, the part (0-1) of each attempt's cost that is charged. Networks of other routes, whose
    work the contender builds on and pays for, are not its own and do not count.
    """
    trainings = _trainings([a if a.route == route else None for a in attempts], progress, target)
    smooth = _smoothed({job: [point[3] for point in found.points] for job, found in trainings.items()})
    found = {}
    for policy, share in shares.items():
        costs = np.array([part * a.allocated_s for part, a in zip(share, attempts, strict=True)]) / HOUR_S
        before = np.concatenate([[0.0], np.cumsum(costs)])
        found[policy] = Replayed(_steps(trainings, smooth, specs, before), float(before[-1]))
    return found


def _trainings(
    attempts: Sequence[Attempt | None], progress: Mapping[str, Sequence[Progress]], target: int
) -> dict[str, _Training]:
    trainings: dict[str, _Training] = {}
    done: set[str] = set()
    for place, attempt in enumerate(attempts):
        if attempt is None or attempt.job in done:
            continue
        training = trainings.setdefault(attempt.job, _Training([], place))
        for point in progress.get(attempt.attempt, ()):
            if not _counts(point, target) or point.val_top1 is None:
                continue
            training.points = [kept for kept in training.points if kept[2] < point.epoch]
            training.begin = place if not training.points else training.begin
            training.points.append((place, _passed(attempt, point.t), point.epoch, point.val_top1))
        if attempt.status is Status.OK:
            done.add(attempt.job)
            if not training.points and (top1 := _outcome(attempt, target)) is not None:
                training.begin = place
                training.points.append((place, 1.0, 0, top1))
    evaluated = {a.job for a in attempts if a is not None and a.phase == Phase.EVALUATE}
    measured = {job: found for job, found in trainings.items() if found.points}
    trained = {job: found for job, found in measured.items() if job not in evaluated}
    return trained or measured  # an evaluation measures again, unless nothing else did


def _steps(
    trainings: Mapping[str, _Training], smooth: Mapping[str, Floats], specs: Mapping[str, JobSpec], before: Floats
) -> Steps:
    columns: list[list[float]] = [[], [], [], []]
    for job, training in trainings.items():
        accuracies = smooth[job]
        start = smooth.get(str(specs.get(job, {}).get("init_from")))
        last_cost = float(before[training.begin])
        last_top1 = float("nan") if start is None else min(float(start[-1]), float(accuracies[0]))
        for (place, share, _, _), top1 in zip(training.points, accuracies, strict=True):
            cost = float(before[place] + share * (before[place + 1] - before[place]))
            for column, value in zip(columns, (last_cost, cost, last_top1, float(top1)), strict=True):
                column.append(value)
            last_cost, last_top1 = cost, float(top1)
    return Steps(*(np.array(column, dtype=np.float64) for column in columns))


def _smoothed(raw: Mapping[str, Sequence[float]]) -> dict[str, Floats]:
    """Isotonic, by job; jobs of one length together."""
    by_length: dict[int, list[str]] = defaultdict(list)
    for job, values in raw.items():
        by_length[len(values)].append(job)
    found: dict[str, Floats] = {}
    for jobs in by_length.values():
        rows = isotonic(np.array([raw[job] for job in jobs], dtype=np.float64))
        found |= dict(zip(jobs, rows, strict=True))
    return found


def _counts(point: Progress, target: int) -> bool:
    return point.phase != Phase.SUPERNET and point.network_macs is not None and 0 < point.network_macs <= target


def _outcome(attempt: Attempt, target: int) -> float | None:
    outcome = attempt.outcome if isinstance(attempt.outcome, dict) else {}
    macs, top1 = outcome.get("macs"), outcome.get("val_top1")
    if isinstance(macs, (int, float)) and 0 < macs <= target and isinstance(top1, (int, float)):
        return float(top1)
    return None


def _passed(attempt: Attempt, t: float) -> float:
    """The share of the attempt that had passed at ``t``."""
    length = attempt.end_t - attempt.begin_t
    return min(max((t - attempt.begin_t) / length, 0.0), 1.0) if length > 0 else 1.0
