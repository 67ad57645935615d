"""The strategy of a route that searches: made for its search, and tried before anything is paid for."""

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
    """What the section of such a route has."""

    @property
    def strategy(self) -> StrategyConfig:
        """Which strategy, with how many candidates and which options."""
        ...

    @property
    def num_predicted(self) -> int:
        """Finalists for a target that it predicts."""
        ...

    @property
    def num_seen(self) -> int:
        """Finalists for a target that it has seen."""
        ...


@dataclass(frozen=True)
class Chooser:
    """How a route chooses networks in one replicate.

    ``max_macs`` are what the search is begun with, ``limits`` the MACs within which finalists will be asked for.
    """

    view: View
    route: str
    replicate: int
    section: Section
    space: SearchSpace
    max_macs: Sequence[int]
    limits: Sequence[int]

    def new(self) -> SearchStrategy:
        """The strategy, at its begin."""
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
        """What is wrong with the strategy, where it is a user's own: tried on made-up values, apart from the study."""
        name, num_predicted, num_seen = self.section.strategy.name, self.section.num_predicted, self.section.num_seen
        return strategy_problem(name, self.new(), self.space, self.limits, num_predicted, num_seen)
