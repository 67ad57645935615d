"""The sections of a config under ``routes``, one for each route, and their budgets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from accounting.words.methods import Method
from harness.config.recipe import RecipeOverride
from harness.config.section import Hours, Strict
from nas_baseline.strategies import list_strategies, shares_weights
from pruning.methods import checked_method


class StrategyConfig(Strict):
    """The search strategy, its number of trained candidates, and options of its own."""

    name: str = "predictor_evolution"
    num_trials: int = Field(24, ge=1, le=1_000_000)
    options: dict[str, bool | int | float | str] = Field({})


class SearchConfig(Strict):
    """The search route."""

    space: str = "fbnetv3_mini"
    strategy: StrategyConfig = StrategyConfig()
    candidate: RecipeOverride = RecipeOverride(epochs=3)
    retrain: RecipeOverride = RecipeOverride()
    num_predicted: int = Field(1, ge=0, le=1000)
    num_seen: int = Field(1, ge=0, le=1000)
    early_stop: bool = True
    """Whether candidates after the first batch stop at the epoch whose ranking already correlates with the last one's."""
    early_stop_tau: float = Field(0.9, gt=0, le=1)
    """The rank correlation (Kendall's tau-b) that is enough for that."""
    supernet: RecipeOverride = RecipeOverride()
    """Training of the supernet, where the strategy shares weights."""
    scored_per_job: int = Field(16, ge=1, le=1_000_000)
    inherit: bool = False
    """Whether finalists start from the supernet's weights instead of fresh ones."""

    @model_validator(mode="after")
    def _some_finalist(self) -> SearchConfig:
        if self.num_predicted + self.num_seen == 0:
            raise ValueError("num_predicted and num_seen are both 0: nothing would be retrained")
        return self


class SupernetConfig(SearchConfig):
    """A second search route, with weight sharing."""

    strategy: StrategyConfig = StrategyConfig(name="supernet", num_trials=128)

    @field_validator("strategy", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return {"name": "supernet", "num_trials": 128, **value} if isinstance(value, dict) else value

    @field_validator("strategy")
    @classmethod
    def _shares_weights(cls, value: StrategyConfig) -> StrategyConfig:
        if value.name in list_strategies() and not shares_weights(
            value.name
        ):  # an unknown one is refused with its hint
            raise ValueError(f"name is {value.name!r}, which shares no weights; it goes to routes.search")
        return value


class PruneConfig(Strict):
    """The prune route; several criteria are all fine-tuned, and the best on validation is delivered."""

    criterion: Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)] = Field(
        ["global_magnitude"], min_length=1
    )
    """Methods (:mod:`pruning.methods`): ``<scope>_<criterion>``, with ``+<schedule>`` where it is not ``schedule``."""
    schedule: Literal["one_shot", "iterative", "gradual"] = "one_shot"
    rounds: int = Field(3, ge=2, le=1000)
    """Of the iterative schedule; they share the epochs of ``finetune``."""
    gradual_end: float = Field(0.75, gt=0, le=1)
    """Share of the fine-tuning after which the gradual schedule is at its target."""
    floor: float = Field(0.002, ge=0, lt=1)
    """Least share of its weights that every layer keeps, so that no layer is cut through."""
    channel_floor: float = Field(0.1, ge=0, lt=1)
    """Least share of its channels that every group of layers keeps, where channels are removed."""
    round_to: int = Field(1, ge=1, le=1024)
    """Widths are multiples of this, where channels are removed."""
    keep: list[str] = Field([])
    """Layers to leave alone: ``role:ROLE``, ``type:CLASS``, ``name:PATTERN``."""
    deliver: Literal["best", "each"] = "best"
    """Whether every method's network is delivered and tested, beside the best on validation."""
    finetune: RecipeOverride = RecipeOverride()

    @property
    def methods(self) -> list[Method]:
        """The criteria with their schedules."""
        return [checked_method(text, self.schedule) for text in self.criterion]

    @model_validator(mode="after")
    def _known(self) -> PruneConfig:
        names = [str(method) for method in self.methods]
        if len(set(names)) < len(names):
            raise ValueError(f"a criterion stands twice in {self.criterion}")
        return self

    @field_validator("keep")
    @classmethod
    def _readable(cls, value: list[str]) -> list[str]:
        from pruning.layers import parse_filter

        parse_filter(value)
        return value


class ScratchConfig(Strict):
    """The control: networks of the target size trained directly."""

    family: bool = True
    pruned_structure: bool = True
    """The pruned structure on fresh weights, at the cost of pre-training and fine-tuning together (Scratch-B)."""
    equal_epochs: bool = False
    """The same for as many epochs as the parent was pre-trained (Scratch-E)."""
    random_masks: bool = False
    """Masks with the same share kept in every layer, at random places, on fresh weights."""
    train: RecipeOverride = RecipeOverride()

    @property
    def needs_prune(self) -> bool:
        """Whether it takes structures from the prune route."""
        return self.pruned_structure or self.equal_epochs or self.random_masks


class SearchThenPruneConfig(Strict):
    """Search for a network larger than the target, then prune it; what is left out is as in the routes of that name."""

    larger: float = Field(2.0, gt=1, le=100)
    """MACs of the searched network over the target's."""
    search: SearchConfig | None = None
    prune: PruneConfig | None = None


class AnalysisConfig(Strict):
    """Scans of the trained parent without fine-tuning: each role alone, and the whole network."""

    sparsities: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        [0.5, 0.7, 0.8, 0.9, 0.95, 0.99], min_length=1, max_length=1000
    )
    criteria: list[Literal["global_magnitude", "uniform_magnitude"]] = Field(["global_magnitude", "uniform_magnitude"])


class RoutesConfig(Strict):
    """Which routes run; a route left out does not."""

    search: SearchConfig | None = None
    prune: PruneConfig | None = None
    scratch: ScratchConfig | None = None
    supernet: SupernetConfig | None = None
    search_then_prune: SearchThenPruneConfig | None = None
    analysis: AnalysisConfig | None = None

    @property
    def searches(self) -> dict[str, SearchConfig]:
        """Every search of a study by route."""
        named = {"search": self.search, "supernet": self.supernet}
        if self.search_then_prune is not None:
            named["search_then_prune"] = self.search_then_prune.search or self.search
        return {name: config for name, config in named.items() if config is not None}

    @property
    def prunings(self) -> dict[str, PruneConfig]:
        """Every pruning of a study by route."""
        named = {"prune": self.prune}
        if self.search_then_prune is not None:
            named["search_then_prune"] = self.search_then_prune.prune or self.prune
        return {name: config for name, config in named.items() if config is not None}


class BudgetConfig(Strict):
    """Device-hours per route and replicate at which a route stops asking for jobs; none where left out."""

    search: Hours | None = None
    prune: Hours | None = None
    scratch: Hours | None = None
    supernet: Hours | None = None
    search_then_prune: Hours | None = None
    analysis: Hours | None = None
