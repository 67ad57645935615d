"""The answer for one target: measured, interpolated, or refused with what would measure it."""

from __future__ import annotations

from pathlib import Path

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.quantities import macs_text
from reports.answers.between import MOST_LEFT_OUT_ERROR, interpolated, left_out_error
from reports.answers.refusal import parent_macs, refuse_incomplete, refuse_outside
from reports.answers.refusals import OffTheLine
from reports.answers.study import JudgedStudy
from reports.answers.values import Accuracy, Answer, Comparison, Measured, Question, Refused
from reports.compare.accuracy import accuracies, test_difference
from reports.data.extensions import growth_of, num_looks
from reports.data.frames import Frames, load_frames


def answer(folder: Path, target_macs: int) -> Answer:
    """The study's answer about networks of at most ``target_macs`` MACs.

    Raises:
        NotAStudy: the folder is not a study.
        ValueError: ``target_macs`` is not a positive whole number.

    """
    return answer_of(JudgedStudy(load_frames(folder)), target_macs)


def answer_from_frames(frames: Frames, target_macs: int) -> Answer:
    """:func:`answer` for a study that is already read."""
    return answer_of(JudgedStudy(frames), target_macs)


def all_answers(frames: Frames) -> list[Answer]:
    """One answer per target of the study, ascending; targets not measured yet are refused."""
    return answers_of(JudgedStudy(frames))


def answers_of(study: JudgedStudy) -> list[Answer]:
    """:func:`all_answers` of a study whose judgement others use, too."""
    return [answer_of(study, target) for target in study.frames.info.targets]


def answer_of(study: JudgedStudy, target_macs: int) -> Answer:
    """:func:`answer` for a study whose judgement others use, too."""
    if isinstance(target_macs, bool) or int(target_macs) != target_macs or target_macs < 1:
        raise ValueError(
            f"target {target_macs!r} is not a number of MACs; give a positive whole number, such as 600000"
        )
    frames = study.frames
    question = question_of(study, int(target_macs))
    target, known = question.target, question.measured_targets
    if study.unjudged is not None:
        return Refused(question, study.unjudged, ())
    if target in known:
        return _measured(study, question)
    below = [value for value in known if value < target]
    above = [value for value in known if value > target]
    if below and above and target not in frames.info.targets:
        ends = [_measured(study, question_of(study, value)) for value in (below[-1], above[0])]
        error = left_out_error([_measured(study, question_of(study, value)) for value in known])
        if error is not None and error > MOST_LEFT_OUT_ERROR:
            return Refused(question, OffTheLine("cost ratios", error), ())
        return interpolated(question, ends[0], ends[1], error)
    is_inside = _is_inside(frames, target)
    why = refuse_incomplete(study, target) if is_inside else refuse_outside(frames, target)
    return Refused(question, why, _further(study, question))


def question_of(study: JudgedStudy, target: int) -> Question:
    """The question about one target."""
    frames = study.frames
    info = frames.info
    return Question(
        target=target,
        study=info.name,
        dataset=info.dataset,
        unit=frames.unit,
        measured_targets=study.measured_targets(),
        replicates=info.replicates,
        extensions=frames.history.extensions,
        growth=growth_of(frames.history, info),
        num_looks=num_looks(frames.history),
        declared=info.declared_parent,
        targets=info.targets,
        equivalence=frames.view.equivalence,
        moved=frames.caveats.moved,
        standing=frames.audit.standing,
    )


def _measured(study: JudgedStudy, question: Question) -> Measured:
    headline = _compared(study, question, study.challenger)
    if headline is None:
        raise ValueError(f"{macs_text(question.target)} MACs are not a target at which both contenders are measured")
    return Measured(
        question=question,
        headline=headline,
        further=_further(study, question),
        accuracy={
            label: Accuracy(*both) for label, both in accuracies(study.frames.delivered, question.target).items()
        },
        cheapest=study.verdicts.cheapest[question.target],
        pays=study.who_pays(question.target),
    )


def _further(study: JudgedStudy, question: Question) -> tuple[Comparison, ...]:
    """Comparisons of the other contenders that have, in some replicate, a network to compare with a pruned one."""
    labels = study.verdicts.costs.get(question.target, {})
    found = [
        _compared(study, question, label)
        for label in labels
        if label != study.challenger and study.paired(label, question.target)
    ]
    return tuple(one for one in found if one is not None)


def _compared(study: JudgedStudy, question: Question, label: str) -> Comparison | None:
    target = question.target
    by_policy = study.verdicts.costs.get(target, {}).get(label)
    pruned, other = study.contender(study.contenders.pair[0], target), study.contender(label, target)
    if by_policy is None or pruned is None or other is None:
        return None
    return Comparison(
        challenger=label,
        n=min(by_policy[HEADLINE_POLICY].num_entered.values()),
        difference=test_difference(study.contenders, pruned, other, target),
        by_policy=by_policy,
    )


def _is_inside(frames: Frames, target: int) -> bool:
    """Whether a target is within the study's own, so that finishing the study would answer the question."""
    targets = frames.info.targets
    limit = parent_macs(frames)
    return targets[0] <= target <= targets[-1] and (limit is None or target < limit)
