"""Replies to questions of one's own: what each contender takes to an accuracy, or why that is not known."""

from __future__ import annotations

from dataclasses import dataclass

from reports.answers.values import Question
from reports.compare.guards import LEAST_REACHED
from reports.compare.values import CheapestOfAll, CostComparison
from reports.compare.verdict import Asked
from reports.statistics import Estimate


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


@dataclass(frozen=True)
class AskedBetween:
    """The answer between two of the study's targets; nothing was trained at it.

    ``left_out_error`` is the factor by which interpolation misses measured targets; None with fewer than three of them.
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
        """What was asked, as at the neighbours."""
        return self.low.asked

    @property
    def cheapest(self) -> CheapestOfAll | None:
        """Nobody: a claim about several contenders needs what was measured."""
        return None


Reply = AskedAnswer | AskedBetween | AskedRefused
