"""A study's config: what may be written in the YAML, checked in one place, with one-line errors."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator, model_validator

from harness.errors import InputError
from harness.recipe import Recipe, RecipeOverride
from harness.routes.config import BudgetConfig, RoutesConfig
from harness.strict import Macs, Strict


class DatasetConfig(Strict):
    """Which data: the name of a file in ``harness/data``, and what that file needs to know."""

    name: str
    path: str | None = None
    timm_name: str | None = None
    download: bool = False
    image_size: int | None = Field(None, ge=8)
    num_classes: int | None = Field(None, ge=2)
    num_train: int | None = Field(None, ge=10)
    num_test: int | None = Field(None, ge=10)
    mean: list[float] | None = None
    std: list[Annotated[float, Field(gt=0)]] | None = None
    val_fraction: float = Field(0.1, gt=0, lt=0.5)
    num_workers: int = Field(4, ge=0)


class ParentConfig(Strict):
    """The larger network that is pruned: a family's variant, any timm network, or a checkpoint of either."""

    family: str | None = None
    variant: str | None = None
    timm: str | None = None
    pretrained: bool = False
    checkpoint: str | None = None
    pretrain: RecipeOverride = RecipeOverride()

    @model_validator(mode="before")
    @classmethod
    def _what_is_loaded_is_not_trained(cls, raw: Any) -> Any:
        """Published or given weights are used as they are, unless ``pretrain`` asks for more epochs."""
        if isinstance(raw, dict) and (raw.get("pretrained") or raw.get("checkpoint")) and "pretrain" not in raw:
            return {**raw, "pretrain": {"epochs": 0}}
        return raw

    @model_validator(mode="after")
    def _one_source(self) -> ParentConfig:
        if (self.family is None) == (self.timm is None):
            raise ValueError("give either family and variant, or timm")
        if self.family is not None and self.variant is None:
            raise ValueError("a family needs a variant")
        return self


class ExportConfig(Strict):
    """What a delivered network's folder holds beside its weights, and what is measured on it."""

    onnx: bool = False
    """``model.onnx``, checked against torch's outputs (extra ``onnx``)."""
    compact: bool = False
    """Of a network with zeros, also the network without the channels that they have made dead (extra ``structured``)."""
    int8: bool = False
    """Post-training int8 quantisation: accuracy and size beside the float network's."""
    latency: bool = False
    """Milliseconds of one image on the device that the job holds."""


NO_EXPORT = ExportConfig()


class ResourcesConfig(Strict):
    """What one job holds, and how often a job is tried."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices_per_job: float = Field(1, gt=0, le=64)
    cpus_per_job: float = Field(4, gt=0)
    max_attempts: int = Field(3, ge=1)


class LatencyTarget(Strict):
    """Targets in milliseconds of one image on the machine that runs the study."""

    latency_ms: Annotated[
        list[Annotated[float, Field(gt=0)]], BeforeValidator(lambda v: v if isinstance(v, list) else [v])
    ] = Field(min_length=1)


class StudyConfig(Strict):
    """One study: one question, one folder."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    dataset: DatasetConfig
    parent: ParentConfig
    targets: list[Macs] = Field([])
    target: LatencyTarget | None = None
    """Instead of ``targets``, which are then the MACs at which structured removal was measured to have that latency."""
    replicates: int = Field(3, ge=1)
    seed: int = Field(0, ge=0)
    recipe: Recipe = Recipe()
    budget: BudgetConfig = BudgetConfig()
    routes: RoutesConfig
    export: ExportConfig = NO_EXPORT
    resources: ResourcesConfig = ResourcesConfig()

    @field_validator("target", mode="before")
    @classmethod
    def _not_targets(cls, value: object) -> object:
        if not isinstance(value, dict | LatencyTarget | None):
            raise ValueError(f"{value!r} given, {{latency_ms: 2.5}} is allowed; did you mean 'targets', in MACs?")
        return value

    @field_validator("targets")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError(f"a target stands twice in {value}; name each once")
        return sorted(value, reverse=True)

    @model_validator(mode="after")
    def _some_target(self) -> StudyConfig:
        if not self.targets and self.target is None:
            raise ValueError("'targets' is missing; add MACs, such as [0.5M], or target: {latency_ms: 2.5}")
        if self.target is not None:
            if self.routes.prune is None or not any(m.scope == "channels" for m in self.routes.prune.methods):
                raise ValueError(
                    "target: zeros in a network do not make it faster; a latency needs channels removed evenly, such as "
                    "routes.prune.criterion: channels_magnitude"
                )
            if self.targets and len(self.targets) != len(self.target.latency_ms):
                raise ValueError(
                    "targets and target.latency_ms differ in number; leave targets out to have it measured"
                )
        return self

    @model_validator(mode="after")
    def _some_route(self) -> StudyConfig:
        routes = self.routes
        if routes.search is None and routes.prune is None and routes.scratch is None and routes.supernet is None:
            raise ValueError("routes: name at least one of search, prune, supernet, scratch")
        if routes.prune is None:
            if routes.scratch is not None and routes.scratch.needs_prune:
                raise ValueError("routes.scratch.pruned_structure needs the prune route; set it to false or add prune")
            if routes.analysis is not None:
                raise ValueError("routes.analysis scans the prune route's parent; add prune or leave it out")
        elif routes.scratch is not None and routes.scratch.random_masks and routes.prune.methods[0].is_structured:
            raise ValueError(
                f"routes.scratch.random_masks needs masks, which {routes.prune.methods[0]} has none of; name another "
                "criterion first, or set it to false"
            )
        for name, search in routes.searches.items():
            if search.num_seen == 0 and search.strategy.name in ("random", "regularized_evolution"):
                raise ValueError(f"routes.{name}.num_seen is 0, and {search.strategy.name} predicts nothing to retrain")
        both = routes.search_then_prune
        if both is not None and ("search_then_prune" not in routes.searches or len(routes.prunings) == 0):
            raise ValueError("routes.search_then_prune needs a search and a prune section, its own or the study's")
        for name, prune in routes.prunings.items():
            epochs = prune.finetune.over(self.recipe).epochs
            if any(m.schedule == "iterative" for m in prune.methods) and epochs < prune.rounds:
                raise ValueError(
                    f"routes.{name}.rounds: {prune.rounds} rounds share {epochs} epochs; at least one each"
                )
            if any(m.schedule == "gradual" for m in prune.methods) and epochs == 0:
                raise ValueError(f"routes.{name}.finetune: gradual prunes while it trains; at least 1 epoch, given 0")
        if self.export.compact or any(m.is_structured for prune in routes.prunings.values() for m in prune.methods):
            from importlib.util import find_spec

            if find_spec("torch_pruning") is None:
                raise ValueError("removing channels needs Torch-Pruning; pip install 'prune-or-search[structured]'")
        return self


def load_configs(path: Path) -> list[StudyConfig]:
    """The studies that a YAML file describes, one per document; ``InputError`` with one line for what is wrong."""
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(f"no config at {path}; name a YAML file, such as studies/quickstart.yaml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a text file: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    studies = [parse_config(raw, str(path)) for raw in documents or [None]]
    names = [study.name for study in studies]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two studies have one name in {', '.join(names)}; name each once")
    return studies


def parse_config(raw: object, source: str) -> StudyConfig:
    """The study in ``raw`` (nested dicts); ``source`` stands in front of the error."""
    if not isinstance(raw, dict):
        raise InputError(f"{source}: a study is a mapping with the keys {', '.join(StudyConfig.model_fields)}")
    try:
        return StudyConfig.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise InputError(f"{source}: {_explain(first)}{more}") from None


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        allowed = _allowed_keys(error["loc"][:-1])
        key = str(error["loc"][-1])
        return f"unknown key {where!r}{_nearest(key, allowed)}; allowed here: {', '.join(allowed)}"
    if error["type"] == "missing":
        return f"{where!r} is missing; add it"
    message = error["msg"].removeprefix("Value error, ")
    given = error["input"]
    shown = "" if isinstance(given, dict | list | BaseModel) or repr(given) in message else f", given {given!r}"
    return f"{where or 'study'}: {message}{shown}"


def _nearest(given: str, allowed: list[str]) -> str:
    match = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""


def _allowed_keys(location: tuple[Any, ...]) -> list[str]:
    model: Any = StudyConfig
    for part in location:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        annotation = model.model_fields[part].annotation
        options = get_args(annotation) if get_origin(annotation) in (Union, type(int | None)) else (annotation,)
        models = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if models:
            model = models[0]
    return list(model.model_fields)
