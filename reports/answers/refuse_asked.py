"""Why a question about an accuracy, a budget or other terms has no answer, and the config change that would give one."""

from __future__ import annotations

import math
from collections.abc import Mapping

from accounting.cost.shares import spent_h
from accounting.ledger.records import Phase
from accounting.words.names import label_text, unit_text
from accounting.words.quantities import hours_text, macs_text
from accounting.words.task import task
from reports.answers.refusal import parent_macs, refuse_incomplete, refuse_outside
from reports.answers.study import JudgedStudy
from reports.data.frames import Frames
from reports.words.wording import number, percent

OTHER_STUDY = "in another study (--out)"
"""Appended to a change that the study's folder cannot take, because attempts were paid for without it."""
FIGURES = 2
"""Significant figures of a proposed target."""


def refuse_other_target(frames: Frames, target: int) -> tuple[str, str | None]:
    """(reason, config change) for a target that is not the study's, if nothing can be interpolated."""
    targets = frames.info.targets
    if not targets[0] < target < targets[-1]:
        return refuse_outside(frames, target)
    known, wanted = (", ".join(map(macs_text, sorted(some))) for some in (targets, {*targets, target}))
    return (
        f"not measured: this is answered at the study's own targets ({known}), and cannot be interpolated here",
        f"targets: [{wanted}]",
    )


def refuse_between(frames: Frames, target: int, error: float, most: float) -> tuple[str, str]:
    """(reason, config change) for a target between two of the study's own that do not lie on a line."""
    wanted = ", ".join(map(macs_text, sorted({*frames.info.targets, target})))
    return (
        f"not measured, and interpolating between the study's targets misses measured costs by up to {error:.2f}× "
        f"(at most {most}× is allowed)",
        f"targets: [{wanted}]",
    )


def refuse_accuracy(
    study: JudgedStudy, target: int, level: float | None, best: tuple[str, float] | None
) -> tuple[str, str | None]:
    """(reason, config change) for an accuracy that no contender reached; ``best`` is the closest one and its accuracy."""
    if level is None or best is None:
        return refuse_incomplete(study, target)
    frames = study.frames
    label, top1 = best
    reason = (
        f"no contender reached {percent(level)} on validation often enough; the best, {label_text(label)}, ends at "
        f"{percent(top1)} (median), and costs are not extrapolated"
    )
    larger, parent = _larger_target(frames), _parent_top1(frames)
    if parent is not None and parent >= level and larger is not None:
        wanted = ", ".join(map(macs_text, sorted({*frames.info.targets, larger})))
        return (
            f"{reason}; the parent, with {percent(parent)}, reaches it, so a larger target may",
            f"targets: [{wanted}]",
        )
    return reason, longer_training(frames)


def refuse_budget(frames: Frames, budget_h: float, most: Mapping[str, float]) -> tuple[str, str | None]:
    """(reason, config change) for more device-hours than any contender spent on a target; ``most`` is what each spent."""
    label = max(most, key=lambda name: most[name])
    unit = unit_text(frames.unit)
    reason = (
        f"no contender spent {number(budget_h)} {unit} on this target; the most, by {label_text(label)}, were "
        f"{number(most[label])}, and {task().qualities} are not extrapolated"
    )
    caps = frames.info.budget_h
    used = {route for (route, _), hours in spent_h(frames.view).items() if hours >= caps.get(route, math.inf)}
    if used:
        more = ", ".join(f"{route}: {hours_text(float(f'{2 * budget_h:.2g}'))}" for route in sorted(used))
        return f"{reason}; the budget of {' and '.join(sorted(used))} was spent", f"budget: {{{more}}}"
    return reason, longer_training(frames)


def refuse_small_budget(frames: Frames, budget_h: float, first: tuple[str, float] | None) -> tuple[str, str | None]:
    """(reason, None) for fewer device-hours than any contender needed for its first network."""
    unit = unit_text(frames.unit)
    took = "" if first is None else f"; the first one was measured after {number(first[1])}, by {label_text(first[0])}"
    return f"no contender has a network within this target for {number(budget_h)} {unit}{took}", None


def longer_training(frames: Frames) -> str | None:
    """Config lines that double the epochs of every full training; None if the config gives none."""
    lines = [_nested(key, 2 * count) for key, count in frames.info.epochs.items()]
    return "\n".join([f"{lines[0]}  # longer training, {OTHER_STUDY}", *lines[1:]]) if lines else None


def _nested(key: str, value: int) -> str:
    """``recipe.epochs`` → ``recipe: {epochs: 24}``."""
    first, *rest = key.split(".")
    return f"{first}: " + "".join(f"{{{part}: " for part in rest) + f"{value}" + "}" * len(rest)


def _larger_target(frames: Frames) -> int | None:
    """A target halfway between the largest target and the parent on a logarithmic axis; None if there is no room."""
    limit, largest = parent_macs(frames), frames.info.targets[-1]
    if limit is None:
        return None
    halfway = int(float(f"{math.sqrt(largest * limit):.{FIGURES}g}"))
    return halfway if largest < halfway < limit else None


def _parent_top1(frames: Frames) -> float | None:
    """The lowest validation accuracy of a trained parent over replicates."""
    found = [
        job.outcome.get("val_top1")
        for job in frames.view.jobs
        if job.phase == Phase.PRETRAIN and isinstance(job.outcome, dict)
    ]
    known = [float(value) for value in found if isinstance(value, (int, float))]
    return min(known, default=None)
