"""Why a question about an accuracy, a budget or other terms has no answer."""

from __future__ import annotations

import math
from collections.abc import Mapping

from accounting.cost.shares import spent_h
from accounting.ledger.records import Phase
from reports.answers.refusal import parent_macs, refuse_incomplete, refuse_outside
from reports.answers.refusals import (
    Incomplete,
    LacksRoutes,
    LargerTarget,
    NeverSpent,
    NotBelowParent,
    NotMeasured,
    NotReached,
    Outside,
)
from reports.answers.study import JudgedStudy
from reports.data.frames import Frames

FIGURES = 2
"""Significant figures of a proposed target."""


def refuse_other_target(frames: Frames, target: int) -> NotMeasured | NotBelowParent | Outside:
    """Why a target that is not the study's has no answer, if nothing can be interpolated."""
    targets = frames.info.targets
    return NotMeasured() if targets[0] < target < targets[-1] else refuse_outside(frames, target)


def refuse_accuracy(
    study: JudgedStudy, target: int, level: float | None, best: tuple[str, float] | None
) -> NotReached | LacksRoutes | Incomplete:
    """Why an accuracy that no contender reached has no answer; ``best`` is the closest one and its accuracy."""
    if level is None or best is None:
        return refuse_incomplete(study, target)
    frames = study.frames
    label, top1 = best
    return NotReached(level, label, top1, _larger_target(frames, level), frames.info.epochs)


def refuse_budget(frames: Frames, budget_h: float, most: Mapping[str, float]) -> NeverSpent:
    """Why more device-hours than any contender spent on a target have no answer; ``most`` is what each spent."""
    label = max(most, key=lambda name: most[name])
    caps = frames.info.budget_h
    capped = {route for (route, _), hours in spent_h(frames.view).items() if hours >= caps.get(route, math.inf)}
    return NeverSpent(budget_h, label, most[label], tuple(sorted(capped)), frames.info.epochs)


def _larger_target(frames: Frames, level: float) -> LargerTarget | None:
    """A target halfway between the largest target and the parent on a logarithmic axis.

    None if there is no room, or if the parent does not reach the accuracy ``level``.
    """
    limit, largest, top1 = parent_macs(frames), frames.info.targets[-1], _parent_top1(frames)
    if limit is None or top1 is None or top1 < level:
        return None
    halfway = int(float(f"{math.sqrt(largest * limit):.{FIGURES}g}"))
    return LargerTarget(halfway, top1) if largest < halfway < limit else None


def _parent_top1(frames: Frames) -> float | None:
    """The lowest validation accuracy of a trained parent over replicates."""
    found = [
        job.outcome.get("val_top1")
        for job in frames.view.jobs
        if job.phase == Phase.PRETRAIN and isinstance(job.outcome, dict)
    ]
    known = [float(value) for value in found if isinstance(value, (int, float))]
    return min(known, default=None)
