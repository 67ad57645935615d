"""Sections that several routes have: a search with its strategy, and a pruning with its criteria and fine-tuning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from accounting.ledger.records import Phase
from accounting.study.yaml12 import Place
from accounting.words.methods import DISTILLED, Method
from harness.config.begun import Begun
from harness.config.caps import Caps
from harness.config.distill import Distill
from harness.config.halving import Halving
from harness.config.recipe import Recipe, RecipeOverride
from harness.config.route_section import Found, Part, PhaseRecipe, RouteSection, useless
from harness.config.section import Strict
from nas_baseline.strategies import batches, list_strategies, predicts, shares_weights
from pruning.methods import checked_method

if TYPE_CHECKING:
    from harness.config.study import StudyConfig


OWN_SIZES: Literal["space"] = "space"
ONE_SIZE = (
    "shares weights, which are trained at one size of image; leave it out, or name a strategy that trains candidates"
)


class StrategyConfig(Strict):
    """The search strategy, its number of trained candidates, and its own options."""

    name: str = "predictor_evolution"
    """The strategy, one of ``prune-or-search list strategies``, or the path of a file of your own."""
    num_trials: int = Field(24, ge=1, le=1_000_000)
    """Candidates that are trained, or scored with a supernet. Each target that is added later gets its own share."""
    options: dict[str, bool | int | float | str] = Field({})
    """The strategy's own options; its file lists them."""

    def with_trials(self, most: int) -> Self:
        """The same section with at most this many candidates."""
        return self.model_copy(update={"num_trials": min(self.num_trials, most)})

    def planned(self) -> Self:
        """A strategy that proposes as many at a time and asks no predictor, for ``plan``."""
        first, later = batches(self.name, self.num_trials, self.options)
        return self.model_copy(update={"name": "random", "options": {"first_batch": first, "batch": later}})


class SearchConfig(RouteSection):
    """The search route."""

    SEARCH: ClassVar[Part | None] = Part()

    space: str = "fbnetv3_mini"
    """The search space: one of ``prune-or-search list spaces``, or the path of a YAML file."""
    strategy: StrategyConfig = StrategyConfig()
    """How candidates are chosen."""
    candidate: RecipeOverride = RecipeOverride(epochs=3)
    """Training of one candidate."""
    retrain: RecipeOverride = RecipeOverride()
    """Training of the finalists, from fresh weights unless ``inherit`` is true."""
    num_predicted: int = Field(1, ge=0, le=1000)
    """Finalists per target that the predictor ranks highest and that were never trained."""
    num_seen: int = Field(1, ge=0, le=1000)
    """Finalists per target that are the best of the trained candidates."""
    image_size: Literal["space"] | list[Annotated[int, Field(ge=8, le=8192)]] | None = None
    """Image sizes to search among, in pixels of a side, or ``space`` for those of the space's file. Each network is
    trained, counted and delivered at its own size. Without this key all have the dataset's size."""
    early_stop: bool = True
    """Whether candidates after the first batch stop at the epoch whose ranking already agrees with the last epoch's."""
    early_stop_tau: float = Field(0.9, gt=0, le=1)
    """The rank correlation (Kendall's tau-b) that is enough for ``early_stop``."""
    halving: Halving | None = None
    """Successive halving of the candidates, instead of ``early_stop``; off without this section."""
    supernet: RecipeOverride = RecipeOverride()
    """Training of the supernet, if the strategy shares weights."""
    scored_per_job: int = Field(16, ge=1, le=1_000_000)
    """Candidates that one job scores with the supernet's weights."""
    inherit: bool = False
    """Whether finalists start from the supernet's weights instead of fresh ones."""

    @model_validator(mode="after")
    def _some_finalist(self) -> SearchConfig:
        if self.num_predicted + self.num_seen == 0:
            raise ValueError("num_predicted and num_seen are both 0: nothing would be retrained")
        return self

    @field_validator("image_size")
    @classmethod
    def _rising(cls, value: object) -> object:
        if isinstance(value, list) and (not value or value != sorted(set(value))):
            raise ValueError(f"sizes must rise, and there must be one at least, not {value}")
        return value

    def planned(self) -> SearchConfig:
        """See :class:`RouteSection`; unless weights are shared, a simpler strategy with as many candidates and batches."""
        if not self._is_known or shares_weights(self.strategy.name):
            return self
        predicted = self.num_predicted if predicts(self.strategy.name) else 0
        finalists = {"num_predicted": 0, "num_seen": predicted + self.num_seen}
        return self.model_copy(update={"strategy": self.strategy.planned(), **finalists})

    def rehearsed(self, caps: Caps, base: Recipe) -> Self:
        """See :class:`RouteSection`; keeps two rungs, which fit into two epochs."""
        is_scored = self._is_known and shares_weights(self.strategy.name)
        values = {
            "strategy": self.strategy.with_trials(caps.scored if is_scored else caps.candidates),
            "num_predicted": min(self.num_predicted, 1),
            "num_seen": min(self.num_seen, 1),
            "halving": None if self.halving is None else self.halving.model_copy(update={"eta": 2, "rungs": 2}),
        }
        per_job: dict[str, object] = {"scored_per_job": min(self.scored_per_job, caps.scored // 2)} if is_scored else {}
        sizes, most = self.image_size, caps.image_size
        if most is not None and (sizes == OWN_SIZES or (isinstance(sizes, list) and sizes[-1] > most)):
            per_job["image_size"] = [most * 7 // 8, most]
        return super().rehearsed(caps, base).with_values({**values, **per_job})

    def problems(self, study: StudyConfig, route: str) -> Iterator[str]:
        """See :class:`RouteSection`."""
        if self._is_known and self.num_seen == 0 and not predicts(self.strategy.name):
            yield f"routes.{route}.num_seen is 0, and {self.strategy.name} predicts nothing to retrain"
        if self._is_known and self.image_size is not None and shares_weights(self.strategy.name):
            yield f"routes.{route}.image_size: {self.strategy.name} {ONE_SIZE}"

    def without_effect(self, study: StudyConfig, place: Place) -> Iterator[Found]:
        """See :class:`RouteSection`."""
        given, strategy = self.model_fields_set, self.strategy.name
        if not self._is_known:
            return  # refused where the strategy is created
        if shares_weights(strategy):
            for key in ("candidate", "early_stop", "early_stop_tau", "halving"):
                if key in given:
                    yield useless((*place, key), f"{strategy} scores its candidates without training them")
        else:
            for key in ("inherit", "supernet", "scored_per_job"):
                if key in given and not (key == "inherit" and not self.inherit):
                    yield useless((*place, key), f"{strategy} has no supernet; name a strategy that shares weights")
            if "early_stop_tau" in given and not self.early_stop:
                yield useless((*place, "early_stop_tau"), "early_stop is false")
            yield from self._halved(study, place)
        if not predicts(strategy) and "num_predicted" in given and self.num_predicted > 0:
            yield useless((*place, "num_predicted"), f"{strategy} predicts nothing; set num_seen")

    def phases(self, study: StudyConfig, place: Place) -> Iterator[PhaseRecipe]:
        """See :class:`RouteSection`."""
        if self._is_known:  # otherwise refused elsewhere
            first = ("supernet", self.supernet) if shares_weights(self.strategy.name) else ("candidate", self.candidate)
            for key, given in (first, ("retrain", self.retrain)):
                yield PhaseRecipe.of(study, (*place, key), given)

    def is_bound(self, key: str, old: object, begun: Begun) -> bool:
        """See :class:`RouteSection`; the training of finalists may change until the first has begun."""
        return key.partition(".")[0] != "retrain" or begun.phase(Phase.RETRAIN, Phase.TUNE)

    def _halved(self, study: StudyConfig, place: Place) -> Iterator[Found]:
        """What contradicts ``halving``: ``early_stop``, or fewer epochs than the rungs need."""
        if self.halving is None:
            return
        name = ".".join(map(str, place))
        for key in ("early_stop", "early_stop_tau"):
            if key in self.model_fields_set and (self.early_stop or key == "early_stop_tau"):
                yield (
                    (*place, key),
                    f"{name}.{key} and {name}.halving are both given: candidates stop at one epoch, or from rung to rung; "
                    "keep one of them",
                )
        epochs, rungs, least = self.candidate.over(study.recipe).epochs, self.halving.rungs, self.halving.least_epochs
        ends = self.halving.ends(epochs)
        if len(ends) < rungs:
            yield (
                (*place, "halving", "rungs"),
                f"{name}.halving: {rungs} rungs of eta {self.halving.eta} do not fit in {epochs} epochs: they would end at "
                f"{', '.join(map(str, ends))}; set {name}.candidate.epochs to at least {least}, or fewer rungs",
            )

    @property
    def _is_known(self) -> bool:
        return self.strategy.name in list_strategies()


class PruneConfig(RouteSection):
    """The prune route. With several criteria all are fine-tuned, and the best on validation is delivered."""

    PRUNING: ClassVar[Part | None] = Part()

    criterion: Annotated[
        list[str],
        BeforeValidator(lambda v: [v] if isinstance(v, str) else v, json_schema_input_type=str | list[str]),
    ] = Field(["global_magnitude"], min_length=1)
    """One or more methods of ``prune-or-search list criteria``. ``+iterative`` or ``+gradual`` after one overrides
    ``schedule``; ``+distilled`` fine-tunes it with a teacher, as a separate contender from the same method without."""
    schedule: Literal["one_shot", "iterative", "gradual"] = "one_shot"
    """When weights are removed, for methods that do not say so themselves: at once, in rounds, or while fine-tuning."""
    rounds: int = Field(3, ge=2, le=1000)
    """Rounds of the iterative schedule; they share the epochs of ``finetune``."""
    gradual_end: float = Field(0.75, gt=0, le=1)
    """Share of the fine-tuning after which the gradual schedule reaches its target."""
    floor: float = Field(0.002, ge=0, lt=1)
    """Least share of its weights that every layer keeps, so no layer is cut through."""
    channel_floor: float = Field(0.1, ge=0, lt=1)
    """Least share of its channels that every group of layers keeps, if channels are removed."""
    round_to: int = Field(1, ge=1, le=1024)
    """Widths are multiples of this, if channels are removed."""
    keep: list[str] = Field([])
    """Layers to leave alone: ``role:ROLE``, ``type:CLASS`` or ``name:PATTERN``."""
    deliver: Literal["best", "each"] = "best"
    """Whether only the network that is best on validation is delivered and tested, or that of every method."""
    finetune: RecipeOverride = RecipeOverride()
    """Training after pruning."""
    distilled: Distill = Distill()
    """The teacher of methods with ``+distilled``; other methods have their recipe's teacher, or none."""

    @property
    def methods(self) -> list[Method]:
        """The pruning methods: each criterion with its schedule."""
        return [checked_method(text, self.schedule) for text in self.criterion]

    @model_validator(mode="after")
    def _known(self) -> PruneConfig:
        names = [str(method) for method in self.methods]
        if len(set(names)) < len(names):
            raise ValueError(f"duplicate criterion in {self.criterion}")
        return self

    @field_validator("keep")
    @classmethod
    def _readable(cls, value: list[str]) -> list[str]:
        from pruning.layers import parse_filter

        parse_filter(value)
        return value

    def rehearsed(self, caps: Caps, base: Recipe) -> Self:
        """See :class:`RouteSection`; also cuts the rounds, which share the epochs of fine-tuning."""
        is_in_rounds = any(method.schedule == "iterative" for method in self.methods)
        rounds = {"rounds": min(self.rounds, caps.epochs)} if is_in_rounds else {}
        return super().rehearsed(caps, base).with_values(rounds)

    def problems(self, study: StudyConfig, route: str) -> Iterator[str]:
        """See :class:`RouteSection`."""
        epochs = self.finetune.over(study.recipe).epochs
        if any(m.schedule == "iterative" for m in self.methods) and epochs < self.rounds:
            yield f"routes.{route}.rounds: {self.rounds} rounds share {epochs} epochs; at least one each"
        if any(m.schedule == "gradual" for m in self.methods) and epochs == 0:
            yield f"routes.{route}.finetune: gradual prunes while it trains; at least 1 epoch, given 0"

    def without_effect(self, study: StudyConfig, place: Place) -> Iterator[Found]:
        """See :class:`RouteSection`."""
        given, methods = self.model_fields_set, self.methods
        schedules, structured = {method.schedule for method in methods}, [method.is_structured for method in methods]
        rules = {
            "rounds": ("iterative" in schedules, "no method has the iterative schedule"),
            "gradual_end": ("gradual" in schedules, "no method has the gradual schedule"),
            "floor": (
                any(method.scope in ("global", "uniform") for method in methods),
                "no method sets single weights to zero",
            ),
            "channel_floor": (any(structured), "no method removes channels or blocks"),
            "round_to": (any(structured), "no method removes channels or blocks"),
            "schedule": (
                any("+" not in text.removesuffix(f"+{DISTILLED}") for text in self.criterion),
                "every criterion has a schedule of its own",
            ),
            "distilled": (any(method.is_distilled for method in methods), "no criterion has +distilled"),
        }
        for key, (has_effect, why) in rules.items():
            if key in given and not has_effect:
                yield useless((*place, key), why)
        if any(method.is_distilled for method in methods):
            recipe, name = self.finetune.over(study.recipe), ".".join(map(str, place))
            if recipe.epochs == 0:
                yield useless((*place, "criterion"), f"{name}.finetune is of 0 epochs, and +distilled is about them")
            elif recipe.teaching is not None:
                yield (
                    (*place, "criterion"),
                    f"{name}.criterion: +distilled has no effect: {name}.finetune has a teacher already; set "
                    f"{name}.finetune.distill to off, or leave +distilled away",
                )

    def phases(self, study: StudyConfig, place: Place) -> Iterator[PhaseRecipe]:
        """See :class:`RouteSection`."""
        is_shared = any(method.schedule == "iterative" for method in self.methods)
        epochs = self.finetune.over(study.recipe).epochs // (self.rounds if is_shared else 1)
        yield PhaseRecipe.of(study, (*place, "finetune"), self.finetune, epochs)

    def parent_recipes(self) -> Iterator[tuple[str, RecipeOverride]]:
        """See :class:`RouteSection`."""
        yield "finetune", self.finetune

    def compared(self) -> dict[str, object]:
        """See :class:`RouteSection`; the order of methods, and where a schedule is given, make no difference."""
        raw: dict[str, object] = self.model_dump(mode="json")
        raw.pop("schedule")
        return raw | {"criterion": sorted(str(method) for method in self.methods)}

    def is_bound(self, key: str, old: object, begun: Begun) -> bool:
        """See :class:`RouteSection`; only keys used by a method that has begun are bound."""
        methods = [checked_method(name) for name in begun.methods()]
        is_used = {
            "deliver": False,
            "rounds": any(method.schedule == "iterative" for method in methods),
            "gradual_end": any(method.schedule == "gradual" for method in methods),
            "distilled": any(method.is_distilled for method in methods),
            "floor": any(not method.is_structured for method in methods),
            "channel_floor": any(method.is_structured for method in methods),
            "round_to": any(method.is_structured for method in methods),
            "finetune": begun.phase(Phase.FINETUNE, Phase.TUNE),
        }
        return is_used.get(key.partition(".")[0], bool(methods))

    def lost(self, key: str, old: object, new: object, begun: Begun) -> list[str] | None:
        """See :class:`RouteSection`; names methods that have begun."""
        if key != "criterion" or not isinstance(old, list) or not isinstance(new, list):
            return None
        methods = [str(checked_method(name)) for name in begun.methods()]
        return [method for method in methods if method in old and method not in new]

    def in_order(self, order: Sequence[Method]) -> PruneConfig:
        """The same section with its methods in another order."""
        return self.model_copy(update={"criterion": [str(method) for method in order], "schedule": "one_shot"})
