"""A second search, with weight sharing, which is compared with pruning like the first."""

from __future__ import annotations

from pydantic import field_validator

from accounting.words.names import Role, RouteWords
from harness.config.blocks import SearchConfig, StrategyConfig
from harness.routes import search
from nas_baseline.strategies import list_strategies, shares_weights

WORDS = RouteWords(
    Role.CHALLENGER, "supernet", "#56B4E9", "P", rank=4,
    summary="A second search, with shared weights.",
)  # fmt: skip


class Config(SearchConfig):
    """A second search route, with weight sharing."""

    strategy: StrategyConfig = StrategyConfig(name="supernet", num_trials=128)
    """How candidates are chosen; one that shares weights."""

    @field_validator("strategy", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return {"name": "supernet", "num_trials": 128, **value} if isinstance(value, dict) else value

    @field_validator("strategy")
    @classmethod
    def _shares_weights(cls, value: StrategyConfig) -> StrategyConfig:
        if value.name in list_strategies() and not shares_weights(
            value.name
        ):  # an unknown strategy is refused with a hint elsewhere
            raise ValueError(f"name is {value.name!r}, which shares no weights; it goes to routes.search")
        return value


class Route(search.Route):
    """One replicate: the search route's state machine with this section."""

    name = "supernet"
