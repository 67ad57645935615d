"""The answer for one target: measured, interpolated, or refused with what would measure it."""

from __future__ import annotations

from pathlib import Path

from accounting.cost.shares import POLICIES
from reports.answers.between import interpolated
from reports.answers.refusal import parent_macs, refuse_incomplete, refuse_outside
from reports.answers.values import Accuracy, Answer, Comparison, Measured, Question, Refused
from reports.compare.verdict import (
    HEADLINE_CHALLENGER,
    accuracies,
    compare_costs,
    difference_on_test,
    paired_replicates,
)
from reports.data.extensions import extension_sentence
from reports.data.frames import Frames, load_frames


def answer(folder: Path, target_macs: int) -> Answer:
    """What the study in ``folder`` says about networks of at most ``target_macs`` MACs.

    Raises:
        NotAStudy: the folder is no study.
        ValueError: ``target_macs`` is not a positive whole number.

    """
    return answer_from_frames(load_frames(folder), target_macs)


def answer_from_frames(frames: Frames, target_macs: int) -> Answer:
    """:func:`answer` for a study that is already read."""
    if isinstance(target_macs, bool) or int(target_macs) != target_macs or target_macs < 1:
        raise ValueError(
            f"target {target_macs!r} is not a number of MACs; give a positive whole number, such as 600000"
        )
    question = _question(frames, int(target_macs))
    target, known = question.target, question.measured_targets
    if target in known:
        return _measured(frames, question)
    below = [value for value in known if value < target]
    above = [value for value in known if value > target]
    if below and above and target not in frames.info.targets:
        low, high = (_measured(frames, _question(frames, value)) for value in (below[-1], above[0]))
        return interpolated(question, low, high)
    refusal = refuse_incomplete if _is_inside(frames, target) else refuse_outside
    reason, change = refusal(frames, target)
    return Refused(question, reason, change, _further(frames, question))


def all_answers(frames: Frames) -> list[Answer]:
    """One answer for each target of the study, ascending; those not measured yet are refused."""
    return [answer_from_frames(frames, target) for target in frames.info.targets]


def _question(frames: Frames, target: int) -> Question:
    info = frames.info
    measured = tuple(value for value in info.targets if paired_replicates(frames.delivered, value))
    return Question(
        target,
        info.name,
        info.dataset,
        frames.unit,
        measured,
        info.replicates,
        frames.history.extensions,
        extension_sentence(frames.history, info),
    )


def _measured(frames: Frames, question: Question) -> Measured:
    return Measured(
        question=question,
        headline=_compared(frames, question, HEADLINE_CHALLENGER),
        further=_further(frames, question),
        accuracy={label: Accuracy(*both) for label, both in accuracies(frames.delivered, question.target).items()},
    )


def _further(frames: Frames, question: Question) -> tuple[Comparison, ...]:
    """Comparisons of the routes beside search, where a replicate has a network of theirs and a pruned one."""
    return tuple(
        _compared(frames, question, route)
        for route in frames.info.challengers
        if paired_replicates(frames.delivered, question.target, route)
    )


def _compared(frames: Frames, question: Question, challenger: str) -> Comparison:
    target = question.target
    return Comparison(
        challenger=challenger,
        n=len(paired_replicates(frames.delivered, target, challenger)),
        difference=difference_on_test(frames.delivered, target, challenger),
        by_policy={
            policy: compare_costs(frames.view, frames.info, frames.delivered, target, policy, challenger)
            for policy in POLICIES
        },
    )


def _is_inside(frames: Frames, target: int) -> bool:
    """Whether the study's own targets reach this one, so that finishing it would answer."""
    targets = frames.info.targets
    limit = parent_macs(frames)
    return targets[0] <= target <= targets[-1] and (limit is None or target < limit)
