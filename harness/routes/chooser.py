"""The strategy of a route that searches: how it is created, and how a user's own is tried before anything is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.config.blocks import StrategyConfig
from harness.routes.base import View
from nas_baseline.proposing.tried import strategy_problem
from nas_baseline.spaces.base import SearchSpace
from nas_baseline.strategies import SearchStrategy, make_strategy


class Section(Protocol):
    """The keys that the section of a searching route has."""

    @property
    def strategy(self) -> StrategyConfig:
        """The strategy, its number of candidates and its options."""
        ...

    @property
    def num_predicted(self) -> int:
        """Finalists per target that the predictor ranks highest."""
        ...

    @property
    def num_seen(self) -> int:
        """Finalists per target among the candidates already measured."""
        ...


@dataclass(frozen=True)
class Chooser:
    """How a route chooses networks in one replicate.

    ``max_macs`` are the limits with which the search begins; ``limits`` are those for which finalists are requested later.
    """

    view: View
    route: str
    replicate: int
    section: Section
    space: SearchSpace
    max_macs: Sequence[int]
    limits: Sequence[int]

    def new(self) -> SearchStrategy:
        """A fresh strategy, before its first proposal."""
        given = self.section.strategy
        return make_strategy(
            given.name,
            self.space,
            seed=self.view.seed(f"{self.route}-r{self.replicate}-strategy"),
            num_trials=given.num_trials,
            max_macs=list(self.max_macs),
            **given.options,
        )

    def problem(self) -> str | None:
        """What is wrong with a user's own strategy, found by running it on made-up values; None for a packaged one."""
        name, num_predicted, num_seen = self.section.strategy.name, self.section.num_predicted, self.section.num_seen
        return strategy_problem(name, self.new(), self.space, self.limits, num_predicted, num_seen)
