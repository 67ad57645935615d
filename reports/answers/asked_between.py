"""A question about an accuracy or other terms, between two targets: costs and ratio, linear in the logarithm of the MACs.

As in :mod:`reports.answers.between`, intervals are the envelope of the neighbours' intervals. Interpolation is refused if,
with an inner target left out, it misses the measured value there by more than that module allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.answers.asked_values import AskedAnswer, AskedBetween, AskedRefused, Reply, WayCost
from reports.answers.between import MOST_LEFT_OUT_ERROR, costs_between, logarithmic, missed_by, weight_between
from reports.answers.refusals import OffTheLine
from reports.answers.refuse_asked import refuse_other_target
from reports.answers.values import Question
from reports.data.frames import Frames


@dataclass(frozen=True)
class _Ends:
    low: AskedAnswer
    high: AskedAnswer


def answer_between(frames: Frames, question: Question, known: Sequence[Reply]) -> AskedBetween | AskedRefused:
    """The reply between two targets; ``known`` are the replies at the study's own targets, ascending."""
    below = [reply for reply in known if reply.question.target < question.target]
    above = [reply for reply in known if reply.question.target > question.target]
    if not below or not above:
        return AskedRefused(question, refuse_other_target(frames, question.target))
    low, high = below[-1], above[0]
    if not isinstance(low, AskedAnswer) or not isinstance(high, AskedAnswer):
        return AskedRefused(question, refuse_other_target(frames, question.target))
    error = left_out_error([reply for reply in known if isinstance(reply, AskedAnswer)])
    if error is not None and error > MOST_LEFT_OUT_ERROR:
        return AskedRefused(question, OffTheLine("costs", error))
    ways = _ways(_Ends(low, high), question.target)
    if not any(way.is_reached for way in ways):
        return AskedRefused(question, refuse_other_target(frames, question.target))
    weight = weight_between(low.question.target, high.question.target, question.target)
    headline = None
    if low.headline is not None and high.headline is not None:
        headline = costs_between(low.headline, high.headline, weight, question.target)
    return AskedBetween(question, low, high, (1 - weight) * low.level + weight * high.level, ways, headline, error)


def left_out_error(known: Sequence[AskedAnswer]) -> float | None:
    """The largest factor by which a contender's cost, or the headline's ratio, differs from its interpolation."""
    series: dict[str, list[tuple[int, float]]] = {}
    for reply in known:
        target = reply.question.target
        for way in reply.ways:
            if way.is_reached and way.cost.value:
                series.setdefault(way.label, []).append((target, way.cost.value))
        ratio = None if reply.headline is None or reply.headline.guarded else reply.headline.cost_ratio.value
        if ratio:
            series.setdefault("", []).append((target, ratio))
    errors = [error for points in series.values() if (error := missed_by(points)) is not None]
    return max(errors, default=None)


def _ways(ends: _Ends, target: int) -> tuple[WayCost, ...]:
    """Contenders present at both targets, the cheapest first; those that missed the accuracy at one of them are last."""
    weight = weight_between(ends.low.question.target, ends.high.question.target, target)
    above: Mapping[str, WayCost] = {way.label: way for way in ends.high.ways}
    ways = [
        WayCost(
            way.label,
            logarithmic(way.cost, above[way.label].cost, weight),
            min(way.num_reached, above[way.label].num_reached),
            min(way.num_entered, above[way.label].num_entered),
        )
        for way in ends.low.ways
        if way.label in above
    ]
    return tuple(sorted(ways, key=lambda way: (not way.is_reached, way.cost.value or 0.0)))
