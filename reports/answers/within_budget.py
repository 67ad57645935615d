"""The accuracy that a number of device-hours buys at a target, and by which route."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.answers.asked_values import AskedRefused
from reports.answers.find import question_of
from reports.answers.refusals import FirstNetwork, NoNetworkYet
from reports.answers.refuse_asked import refuse_budget, refuse_other_target
from reports.answers.study import JudgedStudy
from reports.answers.values import Question
from reports.compare.at_ends import with_ends
from reports.compare.contenders import Contender
from reports.compare.reach import Common, Floats
from reports.compare.rule import holm
from reports.statistics import Estimate, mean_interval, mean_p_value


@dataclass(frozen=True)
class WayWithin:
    """What a contender gets for a budget: its best smoothed validation accuracy (a fraction), over replicates that have one.

    ``num_entered`` counts the replicates in which it is done. ``ended_h`` is its total spending if that is below the budget
    in every replicate, so that spending more was never tried; otherwise None.
    """

    label: str
    val_top1: Estimate
    num_entered: int
    ended_h: Estimate | None


@dataclass(frozen=True)
class BudgetAnswer:
    """The answer at one target. ``ways`` has all contenders, the most accurate first, those without a network last.

    ``not_shown`` are those contenders than which the first is not shown to be more accurate (paired by replicate, at a
    level corrected for their number).
    """

    question: Question
    budget_h: float
    ways: tuple[WayWithin, ...]
    not_shown: tuple[str, ...]


Reply = BudgetAnswer | AskedRefused


def budget_answers(study: JudgedStudy, budget_h: float, targets: Sequence[int]) -> list[Reply]:
    """One answer per target. All work is charged to that target, as in the headline."""
    return [
        _everywhere(_answer(study, budget_h, target), [_answer(end, budget_h, target) for end in study.at_ends])
        for target in targets
    ]


def _everywhere(stated: Reply, ends: Sequence[Reply]) -> Reply:
    """The answer, in which the best is not shown to be better than another that is not so at an end of a declared rate."""
    if not isinstance(stated, BudgetAnswer):
        return stated
    at_ends = [{way.label: way for way in end.ways} for end in ends if isinstance(end, BudgetAnswer)]
    ways = tuple(
        with_ends(way, [end[way.label] for end in at_ends]) if len(at_ends) == len(ends) else way for way in stated.ways
    )
    best = ways[0].label
    further: list[str] = []
    for end in ends:  # where one end has no answer, the best is shown to be better than none
        if isinstance(end, BudgetAnswer):
            further += [end.ways[0].label, *end.not_shown]
        else:
            further += [way.label for way in stated.ways]
    not_shown = dict.fromkeys(label for label in [*stated.not_shown, *further] if label != best)
    return replace(stated, ways=ways, not_shown=tuple(not_shown))


def _answer(study: JudgedStudy, budget_h: float, target: int) -> Reply:
    question = question_of(study, target)
    if study.unjudged is not None:
        return AskedRefused(question, study.unjudged)
    if target not in study.frames.info.targets:
        return AskedRefused(question, refuse_other_target(study.frames, target))
    here = study.contenders.at(target)
    spent = {one.label: _spent(study, one, target) for one in here}
    most = {label: float(np.nanmax(hours)) for label, hours in spent.items() if not np.isnan(hours).all()}
    if most and budget_h > max(most.values()):
        return AskedRefused(question, refuse_budget(study.frames, budget_h, most))
    found = {one.label: _within(study, one, target, budget_h, spent[one.label]) for one in here}
    ways = [_way(label, found[label], spent[label], budget_h) for label in found]
    if not any(way.val_top1.n for way in ways):
        return AskedRefused(question, NoNetworkYet(budget_h, _first(study, here, target)))
    ordered = sorted(ways, key=lambda way: -1.0 if way.val_top1.value is None else way.val_top1.value, reverse=True)
    return BudgetAnswer(question, budget_h, tuple(ordered), _not_shown(found, ordered, study.alpha))


def _spent(study: JudgedStudy, contender: Contender, target: int) -> Floats:
    """The total charged, by replicate; NaN if it is not done."""
    return study.contenders.charges(contender, target, Common(None), 0.0).spent.total


def _within(study: JudgedStudy, contender: Contender, target: int, budget_h: float, spent: Floats) -> Floats:
    found = study.contenders.top1_within(contender, target, budget_h)
    return np.where(np.isnan(spent), np.nan, found)


def _way(label: str, top1: Floats, spent: Floats, budget_h: float) -> WayWithin:
    done = spent[~np.isnan(spent)]
    has_ended = bool(len(done)) and bool((done < budget_h).all())
    return WayWithin(
        label,
        mean_interval([float(value) for value in top1 if not np.isnan(value)], at_least=0.0, at_most=1.0),
        len(done),
        mean_interval([float(value) for value in done], at_least=0.0) if has_ended else None,
    )


def _first(study: JudgedStudy, contenders: Sequence[Contender], target: int) -> FirstNetwork | None:
    """Which contender had the first network in any replicate, and after how many device-hours."""
    found = {one.label: study.contenders.charges(one, target, Common(0.0), 0.0).reached.total for one in contenders}
    earliest = {label: float(hours.min()) for label, hours in found.items() if np.isfinite(hours).any()}
    first = min(earliest.items(), key=lambda item: item[1], default=None)
    return None if first is None else FirstNetwork(*first)


def _not_shown(found: dict[str, Floats], ways: Sequence[WayWithin], alpha: float) -> tuple[str, ...]:
    best, others = ways[0].label, [way.label for way in ways[1:] if way.val_top1.n]
    apart = [found[best] - found[other] for other in others]
    known = [[float(value) for value in one if not np.isnan(value)] for one in apart]
    p_values = [mean_p_value(values) for values in known]
    levels = holm(p_values, alpha)
    return tuple(
        other
        for other, values, p, level in zip(others, known, p_values, levels, strict=True)
        if p is None or p > level or sum(values) <= 0
    )
