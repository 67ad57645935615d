"""Answers under other terms or at a given accuracy: what each contender costs then."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reports.answers.asked_between import answer_between
from reports.answers.asked_values import AskedAnswer, AskedRefused, Reply, WayCost
from reports.answers.find import question_of
from reports.answers.refuse_asked import refuse_accuracy
from reports.answers.study import JudgedStudy
from reports.compare.at_ends import with_ends
from reports.compare.charges import AS_MEASURED, Charges, Terms
from reports.compare.reach import Common
from reports.compare.verdict import ASKED, EXACTLY, Asked
from reports.statistics import mean_interval


def asked_answers(study: JudgedStudy, asked: Asked, targets: Sequence[int]) -> list[Reply]:
    """One reply per target. A target between two of the study's own is interpolated; one outside them is refused.

    If the study is not judged at all, every reply is a refusal.
    """
    if study.unjudged is not None:
        return [AskedRefused(question_of(study, target), study.unjudged) for target in targets]
    known = study.frames.info.targets
    if set(targets) <= set(known):
        return _at_known(study, asked, targets)
    own = {reply.question.target: reply for reply in _at_known(study, asked, sorted(known))}
    return [
        own[target] if target in own else answer_between(study.frames, question_of(study, target), list(own.values()))
        for target in targets
    ]


def _at_known(study: JudgedStudy, asked: Asked, targets: Sequence[int]) -> list[Reply]:
    verdicts = study.asked(asked)
    found: list[Reply] = []
    for target in targets:
        question = question_of(study, target)
        compared, cheapest = verdicts.costs.get(target, {}), verdicts.cheapest[target][ASKED]
        level = asked.level if asked.level is not None else _level(study, target)
        best = None if cheapest is None else cheapest.label
        ways = () if level is None else _ways_everywhere(study, target, level, asked, best)
        if level is None or not any(way.is_reached for way in ways):
            found.append(AskedRefused(question, refuse_accuracy(study, target, level, _best(study, target))))
            continue
        found.append(
            AskedAnswer(
                question,
                asked,
                level,
                ways,
                compared.get(study.challenger, {}).get(ASKED),
                cheapest,
            )
        )
    return found


def terms_of(targets_served: int | None, parent_h: float | None) -> Terms:
    """The terms asked for; the study's own if nothing is given."""
    return AS_MEASURED if targets_served is None and parent_h is None else Terms(float(targets_served or 1), parent_h)


def _level(study: JudgedStudy, target: int) -> float | None:
    compared = study.verdicts.costs.get(target, {})
    levels = (one.level for by_policy in compared.values() for one in by_policy.values())
    return next((level for level in levels if level is not None), None)


def _ways_everywhere(
    study: JudgedStudy, target: int, level: float, asked: Asked, best: str | None
) -> tuple[WayCost, ...]:
    """All contenders, with how far their costs go at the ends of declared rates of GPU models."""
    at_ends = [{way.label: way for way in _ways(end, target, level, asked, best)} for end in study.at_ends]
    return tuple(
        with_ends(way, [end[way.label] for end in at_ends]) for way in _ways(study, target, level, asked, best)
    )


def _ways(study: JudgedStudy, target: int, level: float, asked: Asked, best: str | None) -> tuple[WayCost, ...]:
    margin = study.frames.info.margin if asked.level is None else EXACTLY
    ways = [
        _way(study.contenders.charges(one, target, Common(level), margin), asked.terms)
        for one in study.contenders.at(target)
    ]
    return tuple(sorted(ways, key=lambda way: _order(way, best)))


def _order(way: WayCost, best: str | None) -> tuple[bool, bool, float]:
    """Sorts the cheapest of all (by geometric means) first, then by cost; those that did not reach the accuracy are last."""
    return not way.is_reached, way.label != best, way.cost.value if way.cost.value is not None else math.inf


def _way(charges: Charges, terms: Terms) -> WayCost:
    effort = charges.effort(terms)
    here = np.isfinite(effort.cost) & ~np.isnan(effort.spent)
    cost = mean_interval([float(value) for value in effort.cost[here]], at_least=0.0)
    return WayCost(charges.label, cost, effort.num_reached, int((~np.isnan(effort.spent)).sum()))


def _best(study: JudgedStudy, target: int) -> tuple[str, float] | None:
    """The contender with the highest median final accuracy at a target, and that accuracy; None if nothing was measured."""
    finals = {one.label: study.contenders.entered(one, target) for one in study.contenders.at(target)}
    medians = {
        label: float(np.median(values[~np.isnan(values)]))
        for label, values in finals.items()
        if (~np.isnan(values)).any()
    }
    return max(medians.items(), key=lambda item: item[1], default=None)
