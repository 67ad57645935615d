"""A study's config: what may be written in the YAML, checked in one place, with one-line errors."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from harness.errors import InputError
from harness.quantities import parse_hours, parse_macs

Macs = Annotated[int, BeforeValidator(parse_macs)]
Hours = Annotated[float, BeforeValidator(parse_hours)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_as_number(cls, value: object, info: ValidationInfo) -> object:
        """YAML's ``true`` and ``yes`` would pass as 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError(f"{str(value).lower()} is no value for it")
        return value


class Recipe(_Strict):
    """How a network is trained; the same trainer and the same fields for every phase of every route."""

    epochs: int = Field(10, ge=0)
    batch_size: int = Field(64, ge=2)
    optimizer: Literal["sgd", "rmsprop", "adamw", "rmsproptf", "lamb"] = "sgd"
    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0)
    warmup_epochs: float = Field(0.5, ge=0)
    min_lr: float = Field(0.0, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    mixup_alpha: float = Field(0.0, ge=0)
    ema_decay: float = Field(0.0, ge=0, lt=1)
    drop_rate: float = Field(0.0, ge=0, lt=1)
    drop_path_rate: float = Field(0.0, ge=0, lt=1)
    augment: Literal["none", "light", "timm"] = "light"


class RecipeOverride(_Strict):
    """The fields of a recipe that a phase changes; what is left out comes from the study's ``recipe``."""

    epochs: int | None = Field(None, ge=0)
    batch_size: int | None = Field(None, ge=2)
    optimizer: Literal["sgd", "rmsprop", "adamw", "rmsproptf", "lamb"] | None = None
    lr: float | None = Field(None, gt=0)
    momentum: float | None = Field(None, ge=0, lt=1)
    weight_decay: float | None = Field(None, ge=0)
    warmup_epochs: float | None = Field(None, ge=0)
    min_lr: float | None = Field(None, ge=0)
    label_smoothing: float | None = Field(None, ge=0, lt=1)
    mixup_alpha: float | None = Field(None, ge=0)
    ema_decay: float | None = Field(None, ge=0, lt=1)
    drop_rate: float | None = Field(None, ge=0, lt=1)
    drop_path_rate: float | None = Field(None, ge=0, lt=1)
    augment: Literal["none", "light", "timm"] | None = None

    def over(self, base: Recipe) -> Recipe:
        """``base`` with the fields given here."""
        return base.model_copy(update=self.model_dump(exclude_none=True))


class DatasetConfig(_Strict):
    """Which data: the name of a file in ``harness/data``, and what that file needs to know."""

    name: str
    path: str | None = None
    timm_name: str | None = None
    download: bool = False
    image_size: int | None = Field(None, ge=8)
    num_classes: int | None = Field(None, ge=2)
    num_train: int | None = Field(None, ge=10)
    val_fraction: float = Field(0.1, gt=0, lt=0.5)
    num_workers: int = Field(4, ge=0)


class ParentConfig(_Strict):
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


class StrategyConfig(_Strict):
    """The search strategy, its number of trained candidates, and options of its own."""

    name: str = "predictor_evolution"
    num_trials: int = Field(24, ge=1)
    options: dict[str, bool | int | float | str] = {}


class SearchConfig(_Strict):
    """The search route."""

    space: str = "fbnetv3_mini"
    strategy: StrategyConfig = StrategyConfig()
    candidate: RecipeOverride = RecipeOverride(epochs=3)
    retrain: RecipeOverride = RecipeOverride()
    num_predicted: int = Field(1, ge=0)
    num_seen: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _some_finalist(self) -> SearchConfig:
        if self.num_predicted + self.num_seen == 0:
            raise ValueError("num_predicted and num_seen are both 0: nothing would be retrained")
        return self


Criterion = str


class PruneConfig(_Strict):
    """The prune route; several criteria are all fine-tuned, and the best on validation is delivered."""

    criterion: Annotated[list[Criterion], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)] = Field(
        ["global_magnitude"], min_length=1
    )
    schedule: Literal["one_shot"] = "one_shot"
    floor: float = Field(0.002, ge=0, lt=1)
    """Least share of its weights that every layer keeps, so that no layer is cut through."""
    finetune: RecipeOverride = RecipeOverride()

    @field_validator("criterion")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        from pruning.criteria import list_criteria

        allowed = [f"{scope}_{name}" for scope in ("global", "uniform") for name in list_criteria()]
        for given in value:
            if given not in allowed:
                raise ValueError(
                    f"unknown criterion {given!r}{_nearest(given, allowed)}; allowed: {', '.join(allowed)}"
                )
        if len(set(value)) < len(value):
            raise ValueError(f"a criterion stands twice in {value}")
        return value


class ScratchConfig(_Strict):
    """The control: networks of the target size trained directly."""

    family: bool = True
    pruned_structure: bool = True
    train: RecipeOverride = RecipeOverride()


class RoutesConfig(_Strict):
    """Which routes run; a route left out does not."""

    search: SearchConfig | None = None
    prune: PruneConfig | None = None
    scratch: ScratchConfig | None = None


class BudgetConfig(_Strict):
    """Device-hours per route and replicate at which a route stops asking for jobs; none where left out."""

    search: Hours | None = None
    prune: Hours | None = None
    scratch: Hours | None = None


class ExportConfig(_Strict):
    """What a delivered network's folder holds beside its weights, and what is measured on it."""

    onnx: bool = False
    """``model.onnx``, checked against torch's outputs (extra ``onnx``)."""
    int8: bool = False
    """Post-training int8 quantisation: accuracy and size beside the float network's."""
    latency: bool = False
    """Milliseconds of one image on the device that the job holds."""


class ResourcesConfig(_Strict):
    """What one job holds, and how often a job is tried."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices_per_job: float = Field(1, gt=0, le=64)
    cpus_per_job: float = Field(4, gt=0)
    max_attempts: int = Field(3, ge=1)


class StudyConfig(_Strict):
    """One study: one question, one folder."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    dataset: DatasetConfig
    parent: ParentConfig
    targets: list[Macs] = Field(min_length=1)
    replicates: int = Field(3, ge=1)
    seed: int = Field(0, ge=0)
    recipe: Recipe = Recipe()
    budget: BudgetConfig = BudgetConfig()
    routes: RoutesConfig
    export: ExportConfig = ExportConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @field_validator("targets")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError(f"a target stands twice in {value}; name each once")
        return sorted(value, reverse=True)

    @model_validator(mode="after")
    def _some_route(self) -> StudyConfig:
        if self.routes.search is None and self.routes.prune is None and self.routes.scratch is None:
            raise ValueError("routes: name at least one of search, prune, scratch")
        scratch = self.routes.scratch
        if scratch is not None and self.routes.prune is None and scratch.pruned_structure:
            raise ValueError("routes.scratch.pruned_structure needs the prune route; set it to false or add prune")
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
