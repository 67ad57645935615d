"""Replies about an accuracy or other terms: what each contender costs then, or why that is unknown."""

from __future__ import annotations

from dataclasses import dataclass

from reports.answers.refusals import Why
from reports.answers.values import Question
from reports.compare.guards import LEAST_REACHED
from reports.compare.values import CheapestOfAll, CostComparison
from reports.compare.verdict import Asked
from reports.statistics import Estimate


@dataclass(frozen=True)
class WayCost:
    """A contender's cost to reach an accuracy, in device-hours: the mean over the replicates that reached it.

    ``is_reached``: whether as many replicates reached it as a statement needs (two, or the only one).
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
    """The answer at one target. ``ways`` has all contenders, the cheapest first, and last those that missed the accuracy.

    ``headline`` compares the study's pair; None if it is incomplete here. All costs are at the accuracy ``level`` (a
    fraction).
    """

    question: Question
    asked: Asked
    level: float
    ways: tuple[WayCost, ...]
    headline: CostComparison | None
    cheapest: CheapestOfAll | None


@dataclass(frozen=True)
class AskedRefused:
    """No answer, and why."""

    question: Question
    why: Why


@dataclass(frozen=True)
class AskedBetween:
    """The answer between two of the study's targets; nothing was trained at it.

    ``left_out_error`` is the factor by which interpolation misses measured targets; None with fewer than three targets.
    """

    question: Question
    low: AskedAnswer
    high: AskedAnswer
    level: float
    ways: tuple[WayCost, ...]
    headline: CostComparison | None
    left_out_error: float | None

    @property
    def asked(self) -> Asked:
        """The question, which is that of the neighbours."""
        return self.low.asked

    @property
    def cheapest(self) -> CheapestOfAll | None:
        """None: a claim about several contenders needs measurements."""
        return None


Reply = AskedAnswer | AskedBetween | AskedRefused
