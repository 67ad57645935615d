"""What a study says under other terms, or at an accuracy of one's own: who pays, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.answers.find import question_of
from reports.answers.refuse_asked import refuse_accuracy, refuse_other_target
from reports.answers.study import JudgedStudy
from reports.answers.values import Question
from reports.compare.charges import AS_MEASURED, Charges, Terms
from reports.compare.guards import LEAST_REACHED
from reports.compare.reach import Common
from reports.compare.values import CheapestOfAll, CostComparison
from reports.compare.verdict import ASKED, EXACTLY, Asked
from reports.statistics import Estimate, mean_interval


@dataclass(frozen=True)
class WayCost:
    """What a contender took to reach an accuracy: device-hours, mean over the replicates that reached it.

    ``is_reached``: in as many replicates as a statement needs (two, or all where there is one).
    """

    label: str
    cost: Estimate
    num_reached: int
    num_entered: int

    @property
    def is_reached(self) -> bool:
        """Whether enough replicates reached it."""
        return self.num_reached >= min(LEAST_REACHED, max(1, self.num_entered))


@dataclass(frozen=True)
class AskedAnswer:
    """The answer at one target. ``ways`` are all contenders, the cheapest first, then those that did not reach the accuracy.

    ``headline`` compares the study's pair; None where it has none here. ``level`` is the accuracy (a fraction) of all costs.
    """

    question: Question
    asked: Asked
    level: float
    ways: tuple[WayCost, ...]
    headline: CostComparison | None
    cheapest: CheapestOfAll | None


@dataclass(frozen=True)
class AskedRefused:
    """No answer: why, and the lines of the config that would give one (None: nothing in the config does)."""

    question: Question
    reason: str
    change: str | None


Reply = AskedAnswer | AskedRefused


def asked_answers(study: JudgedStudy, asked: Asked, targets: Sequence[int]) -> list[Reply]:
    """One for each of these targets; what was not measured is refused."""
    verdicts = study.asked(asked)
    known = study.frames.info.targets
    found: list[Reply] = []
    for target in targets:
        question = question_of(study, target)
        if target not in known:
            found.append(AskedRefused(question, *refuse_other_target(study.frames, target)))
            continue
        compared, cheapest = verdicts.costs.get(target, {}), verdicts.cheapest[target][ASKED]
        level = asked.level if asked.level is not None else _level(study, target)
        ways = () if level is None else _ways(study, target, level, asked, None if cheapest is None else cheapest.label)
        if level is None or not any(way.is_reached for way in ways):
            refused = refuse_accuracy(study.frames, target, level, _best(study, target))
            found.append(AskedRefused(question, *refused))
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
    """The study's own where nothing is given."""
    return AS_MEASURED if targets_served is None and parent_h is None else Terms(float(targets_served or 1), parent_h)


def _level(study: JudgedStudy, target: int) -> float | None:
    compared = study.verdicts.costs.get(target, {})
    levels = (one.level for by_policy in compared.values() for one in by_policy.values())
    return next((level for level in levels if level is not None), None)


def _ways(study: JudgedStudy, target: int, level: float, asked: Asked, best: str | None) -> tuple[WayCost, ...]:
    margin = study.frames.info.margin if asked.level is None else EXACTLY
    ways = [
        _way(study.contenders.charges(one, target, Common(level), margin), asked.terms)
        for one in study.contenders.at(target)
    ]
    return tuple(sorted(ways, key=lambda way: _order(way, best)))


def _order(way: WayCost, best: str | None) -> tuple[bool, bool, float]:
    """The cheapest of all first, which geometric means decide, then by cost; who did not get there is last."""
    return not way.is_reached, way.label != best, way.cost.value if way.cost.value is not None else math.inf


def _way(charges: Charges, terms: Terms) -> WayCost:
    effort = charges.effort(terms)
    here = np.isfinite(effort.cost) & ~np.isnan(effort.spent)
    cost = mean_interval([float(value) for value in effort.cost[here]], at_least=0.0)
    return WayCost(charges.label, cost, effort.num_reached, int((~np.isnan(effort.spent)).sum()))


def _best(study: JudgedStudy, target: int) -> tuple[str, float] | None:
    """Who has the highest median final accuracy at a target, and which; None where no network was measured."""
    finals = {one.label: study.contenders.entered(one, target) for one in study.contenders.at(target)}
    medians = {
        label: float(np.median(values[~np.isnan(values)]))
        for label, values in finals.items()
        if (~np.isnan(values)).any()
    }
    return max(medians.items(), key=lambda item: item[1], default=None)
