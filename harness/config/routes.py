"""The sections of a config under ``routes``, one for each route, and their budgets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    SkipValidation,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from accounting.words.methods import Method
from harness.config.outside import HELD, section_of, split
from harness.config.recipe import RecipeOverride
from harness.config.section import Hours, Strict
from nas_baseline.strategies import list_strategies, shares_weights
from pruning.methods import checked_method


class StrategyConfig(Strict):
    """The search strategy, its number of trained candidates, and options of its own."""

    name: str = "predictor_evolution"
    """The strategy, one of ``prune-or-search list strategies``, or the path of a file of your own."""
    num_trials: int = Field(24, ge=1, le=1_000_000)
    """Candidates that are trained; with a supernet, scored. Each target added later gets a share of its own."""
    options: dict[str, bool | int | float | str] = Field({})
    """Options of the strategy's own; its file lists them."""


class SearchConfig(Strict):
    """The search route."""

    space: str = "fbnetv3_mini"
    """The search space: one of ``prune-or-search list spaces``, or the path of a YAML file."""
    strategy: StrategyConfig = StrategyConfig()
    """How candidates are chosen."""
    candidate: RecipeOverride = RecipeOverride(epochs=3)
    """Training of one candidate."""
    retrain: RecipeOverride = RecipeOverride()
    """Training of the finalists, from fresh weights unless ``inherit`` is true."""
    num_predicted: int = Field(1, ge=0, le=1000)
    """Finalists per target that the predictor ranks highest, never trained before."""
    num_seen: int = Field(1, ge=0, le=1000)
    """Finalists per target that were the best of the trained candidates."""
    early_stop: bool = True
    """Whether candidates after the first batch stop at the epoch whose ranking already correlates with the last one's."""
    early_stop_tau: float = Field(0.9, gt=0, le=1)
    """The rank correlation (Kendall's tau-b) that is enough for ``early_stop``."""
    supernet: RecipeOverride = RecipeOverride()
    """Training of the supernet, where the strategy shares weights."""
    scored_per_job: int = Field(16, ge=1, le=1_000_000)
    """Candidates that one job scores with the supernet's weights."""
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
        ):  # an unknown one is refused with its hint
            raise ValueError(f"name is {value.name!r}, which shares no weights; it goes to routes.search")
        return value


class PruneConfig(Strict):
    """The prune route; several criteria are all fine-tuned, and the best on validation is delivered."""

    criterion: Annotated[
        list[str],
        BeforeValidator(lambda v: [v] if isinstance(v, str) else v, json_schema_input_type=str | list[str]),
    ] = Field(["global_magnitude"], min_length=1)
    """One or more methods of ``prune-or-search list criteria``; ``+iterative`` or ``+gradual`` behind one overrules
    ``schedule``."""
    schedule: Literal["one_shot", "iterative", "gradual"] = "one_shot"
    """When weights are removed, for methods that do not say: at once, in rounds, or while fine-tuning."""
    rounds: int = Field(3, ge=2, le=1000)
    """Rounds of the iterative schedule; they share the epochs of ``finetune``."""
    gradual_end: float = Field(0.75, gt=0, le=1)
    """Share of the fine-tuning after which the gradual schedule has reached its target."""
    floor: float = Field(0.002, ge=0, lt=1)
    """Least share of its weights that every layer keeps, so that no layer is cut through."""
    channel_floor: float = Field(0.1, ge=0, lt=1)
    """Least share of its channels that every group of layers keeps, where channels are removed."""
    round_to: int = Field(1, ge=1, le=1024)
    """Widths are multiples of this, where channels are removed."""
    keep: list[str] = Field([])
    """Layers to leave alone: ``role:ROLE``, ``type:CLASS`` or ``name:PATTERN``."""
    deliver: Literal["best", "each"] = "best"
    """Whether only the network that is best on validation is delivered and tested, or every method's."""
    finetune: RecipeOverride = RecipeOverride()
    """Training after pruning."""

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
    """Train the family's own network of the target size, where the parent has a family."""
    pruned_structure: bool = True
    """Train the pruned structure on fresh weights, for as long as pre-training and fine-tuning together (Scratch-B)."""
    equal_epochs: bool = False
    """Train the pruned structure on fresh weights, for as many epochs as the parent (Scratch-E)."""
    random_masks: bool = False
    """Train fresh weights under masks that keep the same share of every layer, at random places."""
    train: RecipeOverride = RecipeOverride()
    """Training of the family's network; of the others, all but ``epochs``."""

    @property
    def needs_prune(self) -> bool:
        """Whether it takes structures from the prune route."""
        return self.pruned_structure or self.equal_epochs or self.random_masks


class SearchThenPruneConfig(Strict):
    """Search for a network larger than the target, then prune it; what is left out is as in the routes of that name."""

    larger: float = Field(2.0, gt=1, le=100)
    """MACs of the searched network over the target's."""
    search: SearchConfig | None = None
    """Its search; the study's ``routes.search`` where left out."""
    prune: PruneConfig | None = None
    """Its pruning; the study's ``routes.prune`` where left out."""


class AnalysisConfig(Strict):
    """Scans of the trained parent without fine-tuning: each role alone, and the whole network."""

    sparsities: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        [0.5, 0.7, 0.8, 0.9, 0.95, 0.99], min_length=1, max_length=1000
    )
    """Shares of weights that are set to zero, one after another."""
    criteria: list[Literal["global_magnitude", "uniform_magnitude"]] = Field(["global_magnitude", "uniform_magnitude"])
    """How the weights are chosen: by one threshold, or the same share of each layer."""


class RoutesConfig(Strict):
    """Which routes run; a route left out does not."""

    search: SearchConfig | None = None
    """Search for an architecture, and train each candidate."""
    prune: PruneConfig | None = None
    """Prune the parent, and fine-tune it."""
    scratch: ScratchConfig | None = None
    """Controls: train networks of the target size directly."""
    supernet: SupernetConfig | None = None
    """A second search, with shared weights."""
    search_then_prune: SearchThenPruneConfig | None = None
    """Search for a network above the target, then prune it."""
    analysis: AnalysisConfig | None = None
    """Scan how much sparsity each kind of layer bears."""
    outside: SkipJsonSchema[dict[str, SkipValidation[Strict]]] = Field({}, exclude=True)
    """Routes of files that the study names under ``plugins``; each is written as a key of its own."""

    @model_validator(mode="before")
    @classmethod
    def _of_plugins(cls, raw: Any) -> Any:
        rest, own = split(cls, raw)
        return rest | {HELD: {name: section_of(name, value) for name, value in own.items()}} if own else rest

    @model_serializer(mode="wrap")
    def _with_plugins(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return dict(plain(self)) | {name: section.model_dump(mode="json") for name, section in self.outside.items()}

    @property
    def names(self) -> list[str]:
        """The routes that run."""
        own = [name for name in type(self).model_fields if name != HELD and getattr(self, name) is not None]
        return [*own, *self.outside]

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
    """Device-hours of the search route."""
    prune: Hours | None = None
    """Device-hours of the prune route."""
    scratch: Hours | None = None
    """Device-hours of the controls."""
    supernet: Hours | None = None
    """Device-hours of the supernet route."""
    search_then_prune: Hours | None = None
    """Device-hours of the search-then-prune route."""
    analysis: Hours | None = None
    """Device-hours of the analysis."""
    outside: SkipJsonSchema[dict[str, Hours]] = Field({}, exclude=True)
    """Of routes of files that the study names under ``plugins``; each is written as a key of its own."""

    @model_validator(mode="before")
    @classmethod
    def _of_plugins(cls, raw: Any) -> Any:
        rest, own = split(cls, raw)
        return rest | {HELD: own} if own else rest

    @model_serializer(mode="wrap")
    def _with_plugins(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return dict(plain(self)) | self.outside
