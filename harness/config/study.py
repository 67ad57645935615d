"""A study's config: everything that the YAML may say, checked in one place, with one-line errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from accounting.study.facts import FACTS
from accounting.study.yaml12 import Document
from accounting.words.extras import install_extra
from accounting.words.names import PRUNE, SEARCH, parse_device_hours, without_method
from accounting.words.quantities import parse_percent
from harness.config.errors import at_line, explain, keys_of
from harness.config.file import prepared, read_documents
from harness.config.no_effect import without_effect
from harness.config.phases import cut_in_silence
from harness.config.recipe import Recipe, RecipeOverride
from harness.config.resources import ResourcesConfig
from harness.config.routes import BudgetConfig, RoutesConfig, routes_alone, with_keys
from harness.config.section import LABEL_PATTERN, NAME_PATTERN, Strict, Target
from harness.config.settings import parse_setting, with_settings
from harness.config.store import StoreConfig
from harness.errors import InputError


class DatasetConfig(Strict):
    """Which data: the name of a dataset, and the keys that it uses."""

    name: str
    """The dataset, one of ``prune-or-search list datasets``, or the path of a file of your own."""
    path: str | None = None
    """Where the data is; a relative path starts at the config's folder."""
    timm_name: str | None = None
    """What ``timm.data.create_dataset`` opens, as ``torch/cifar10``; for the dataset ``timm``."""
    download: bool = False
    """Whether timm may download the data; for the dataset ``timm``."""
    image_size: int | None = Field(None, ge=8, le=8192)
    """Pixels of a side, to which images are resized."""
    num_classes: int | None = Field(None, ge=2, le=1_000_000)
    """Number of classes; counted if the data is there."""
    num_train: int | None = Field(None, ge=10, le=10**10)
    """Training images; counted if the data is there. Some datasets use only the first so many."""
    num_test: int | None = Field(None, ge=10, le=10**10)
    """Test images; counted if the data is there. Some datasets use only the first so many."""
    mean: list[Annotated[float, Field(ge=-1000, le=1000)]] | None = Field(None, min_length=1, max_length=16)
    """Mean of each channel, of pixels from 0 to 1; ImageNet's or the dataset's own if left out."""
    std: list[Annotated[float, Field(gt=0, le=1000)]] | None = Field(None, min_length=1, max_length=16)
    """Standard deviation of each channel, of pixels from 0 to 1."""
    val_fraction: float = Field(0.1, gt=0, lt=0.5)
    """Share of the training images that is held out for selection."""
    num_workers: int = Field(4, ge=0, le=256)
    """Processes that load images, for each job. If no batch comes for 25 minutes, they are killed, and the attempt is tried
    again."""
    options: dict[str, bool | int | float | str] = Field({}, max_length=100)
    """Settings of a dataset that has its own (the fields of the dataclass ``Options`` in its file)."""


class ParentConfig(Strict):
    """The larger network that is pruned: a family's variant, any timm network, or a checkpoint of either."""

    family: str | None = None
    """A family of networks, one of ``prune-or-search list models``; with ``variant``."""
    variant: str | None = None
    """Which member of the family."""
    timm: str | None = None
    """Instead of a family: any name of ``timm.list_models()``."""
    pretrained: bool = False
    """Whether to load the weights that timm has published."""
    checkpoint: str | None = None
    """A file with weights of your own; a relative path begins at the config's folder."""
    image_size: int | None = Field(None, ge=8, le=8192)
    """Pixels of a side at which it is trained, counted, pruned and delivered; the dataset's if left out, at most that."""
    pretrain: RecipeOverride = RecipeOverride()
    """Training of the parent before it is pruned; none if weights are loaded, unless this asks for it."""
    declared_cost: str | None = Field(None, max_length=40)
    """What a published parent is said to have cost, as ``1200 GPU-hours``: charged instead of its pretraining."""
    source: str | None = Field(None, min_length=1, max_length=200)
    """Who says so; with ``declared_cost``, which is shown with it wherever it enters a figure."""

    @model_validator(mode="before")
    @classmethod
    def _what_is_loaded_is_not_trained(cls, raw: object) -> object:
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

    @model_validator(mode="after")
    def _declared_with_its_source(self) -> ParentConfig:
        if (self.declared_cost is None) != (self.source is None):
            raise ValueError("declared_cost and source go together: what the parent cost, and who says so")
        if self.declared_cost is not None:
            try:
                parse_device_hours(self.declared_cost)
            except ValueError as error:
                raise ValueError(f"declared_cost: {error}") from None
        return self


class ExportConfig(Strict):
    """What a delivered network's folder has besides its weights, and what is measured on it."""

    onnx: bool = False
    """``model.onnx``, checked against torch's outputs (extra ``onnx``)."""
    compact: bool = False
    """Also deliver a network with zeros without its dead channels (extra ``structured``)."""
    int8: bool = False
    """`model.int8.onnx`, quantised after training: accuracy and size, compared with the float network's (extra `onnx`)."""
    latency: bool = False
    """Milliseconds of one image on the device that the job holds."""


NO_EXPORT = ExportConfig()


class VerdictConfig(Strict):
    """What the study's verdict is about; declared before the run, and any later change is on record."""

    pair: list[str] = Field([PRUNE, SEARCH], min_length=2, max_length=2)
    """The two contenders of the headline: pruning, as ``prune`` or ``prune:global_lamp``, and what it is compared with."""
    margin: float = Field(0.01, ge=0, le=0.2)
    """How far below the less accurate route's median final accuracy costs are compared; 0.01 is one point."""

    @model_validator(mode="after")
    def _pruning_first(self) -> VerdictConfig:
        first, second = self.pair
        if without_method(first) != PRUNE or without_method(second) == PRUNE:
            raise ValueError(f"pair: {self.pair} given; prune comes first, then another route, as [prune, search]")
        return self


DEFAULT_VERDICT = VerdictConfig()


LabelName = Annotated[str, Field(pattern=LABEL_PATTERN, max_length=60)]
LabelText = Annotated[str, Field(min_length=1, max_length=100)]
_Milliseconds = Annotated[float, Field(gt=0, le=10**6)]


class LatencyTarget(Strict):
    """Targets in milliseconds of one image on the machine that runs the study."""

    latency_ms: Annotated[
        list[_Milliseconds],
        BeforeValidator(
            lambda v: v if isinstance(v, list) else [v], json_schema_input_type=_Milliseconds | list[_Milliseconds]
        ),
    ] = Field(min_length=1, max_length=100)
    """Milliseconds, one number or a list."""


class StudyConfig(Strict):
    """One study: one question, one folder."""

    name: str = Field(pattern=NAME_PATTERN, max_length=100)
    """Name of the study and of its folder, ``runs/<name>``."""
    dataset: DatasetConfig
    """Which data."""
    parent: ParentConfig
    """Which network is pruned."""
    targets: list[Target] = Field([], max_length=100)
    """MACs of the delivered networks, as ``0.5M`` or ``50%`` of the parent's; every route aims at each."""
    target_percents: SkipJsonSchema[list[Annotated[float, Field(gt=0, lt=100)]]] = Field(
        [], max_length=100, exclude=True
    )
    """Those of ``targets`` that were given as shares, in percent, until the parent's MACs are known; not for a config."""
    target: LatencyTarget | None = None
    """Instead of ``targets``, which then are the MACs at which removed channels were measured to have that latency."""
    replicates: int = Field(3, ge=1, le=1000)
    """Independent repetitions, each with its own seed; 3 or more for an interval worth reading."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed from which every replicate's own is derived."""
    recipe: Recipe = Recipe()
    """How networks are trained, unless a phase says otherwise."""
    budget: SerializeAsAny[BudgetConfig] = Field(default_factory=lambda: with_keys(BudgetConfig)())
    """Device-hours at which a route stops asking for training jobs."""
    routes: SerializeAsAny[RoutesConfig]
    """Which routes are compared."""
    verdict: VerdictConfig = DEFAULT_VERDICT
    """Which two contenders the headline compares, and at which accuracy."""
    export: ExportConfig = NO_EXPORT
    """Further files and measurements of each delivered network."""
    resources: ResourcesConfig = ResourcesConfig()
    """What each job runs on."""
    plugins: list[str] = Field([], max_length=100)
    """Python files of your own, each with a criterion, strategy, dataset, route, figure or logger named after the file."""
    loggers: list[str] | None = Field(None, max_length=10)
    """Loggers that follow a run, of ``prune-or-search list loggers``; ``[]``: none; by default TensorBoard, if installed."""
    store: StoreConfig | None = None
    """A bucket that takes copies of what is final."""
    labels: dict[LabelName, LabelText] = Field({}, max_length=20)
    """Whose study it is, as ``team: vision``; ``prune-or-search cost`` splits the spend by them."""

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
            raise ValueError(f"duplicate target in {value}; name each once")
        return sorted(value, reverse=True)

    @model_validator(mode="before")
    @classmethod
    def _percents_apart(cls, raw: object) -> object:
        """Move targets that are shares to ``target_percents``; invalid ones stay in ``targets`` and are refused there."""
        if isinstance(raw, dict) and "target_percents" in raw:
            raise ValueError("unknown key 'target_percents'; write shares as targets: [50%]")
        if not isinstance(raw, dict) or not isinstance(raw.get("targets"), list):
            return raw
        shares = [target for target in raw["targets"] if _is_share(target)]
        if not shares:
            return raw
        rest = [target for target in raw["targets"] if not _is_share(target)]
        others = {key: value for key, value in raw.items() if key != "targets"} | ({"targets": rest} if rest else {})
        return {**others, "target_percents": [parse_percent(share) for share in shares]}

    @model_validator(mode="after")
    def _some_target(self) -> StudyConfig:
        if not self.targets and not self.target_percents and self.target is None:
            raise ValueError("'targets' is missing; add MACs, such as [0.5M] or [50%], or target: {latency_ms: 2.5}")
        if twice := {percent for percent in self.target_percents if self.target_percents.count(percent) > 1}:
            raise ValueError(f"targets: {', '.join(f'{p:g}%' for p in sorted(twice))} given twice; name each once")
        if self.target_percents and self.target is not None:
            raise ValueError("targets and target are both given; keep one of them")
        if self.target is not None:
            if not any(m.scope == "channels" for prune in self.routes.of_the_parent.values() for m in prune.methods):
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
    def _equal_budgets(self) -> StudyConfig:
        """Write out an equal budget for each route."""
        object.__setattr__(self, "budget", self.budget.with_equal(self.routes.names))
        return self

    @model_validator(mode="after")
    def _some_route(self) -> StudyConfig:
        routes, powers = self.routes, self.routes.powers
        if not any(section.ALONE for section in powers.values()):
            raise ValueError(f"routes: name at least one of {', '.join(routes_alone())}")
        for name, section in powers.items():
            parts = (section, routes.searches.get(name), routes.prunings.get(name))
            for part in {id(part): part for part in parts if part is not None}.values():
                for problem in part.problems(self, name):
                    raise ValueError(problem)
        if self.export.compact or any(m.is_structured for prune in routes.prunings.values() for m in prune.methods):
            from importlib.util import find_spec

            if find_spec("torch_pruning") is None:
                raise ValueError(f"removing channels needs Torch-Pruning; {install_extra('structured')}")
        return self


def _is_share(target: object) -> bool:
    """Whether a target is a valid share of the parent's MACs."""
    try:
        return parse_percent(target) is not None
    except ValueError:
        return False


def load_configs(path: Path, settings: Sequence[str] = ()) -> list[StudyConfig]:
    """The studies that a YAML file describes, one per document; relative paths are relative to the file.

    Each of ``settings`` is ``key.key=value``, and acts as if it were written in every document.

    Raises:
        InputError: the file is invalid; one line for each problem that can be found at once.

    """
    changes = [parse_setting(given) for given in settings]
    documents = [with_settings(document, changes) for document in read_documents(path)]
    studies = [_new_study(document, path) for document in documents]
    names = [study.name for study in studies]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two studies have one name in {', '.join(names)}; name each once")
    return studies


def _new_study(document: Document, path: Path) -> StudyConfig:
    """A study from a config that someone wrote, in which keys without effect are refused, too."""
    raw, problems = prepared(_without_facts(document), path)
    if not isinstance(raw, dict):
        return parse_config(raw, str(path))
    try:
        study = StudyConfig.model_validate(raw)
    except ValidationError as error:
        lines = explain(error, StudyConfig, raw, str(path), document.lines, told=problems)
        raise InputError(*problems.values(), *lines) from None
    found = [
        at_line(path, document.lines, place, text) for place, text in (*without_effect(study), *cut_in_silence(study))
    ]
    if problems or found:
        raise InputError(*problems.values(), *found)
    return study


def _without_facts(document: Document) -> Document:
    """The config in a document: a ``study.yaml`` also has facts from its run, which do not concern another."""
    value = document.value
    if not isinstance(value, dict) or not isinstance(value.get(FACTS), dict):
        return document
    return Document({key: inner for key, inner in value.items() if key != FACTS}, document.lines)


def parse_config(raw: object, source: str) -> StudyConfig:
    """The study in ``raw`` (nested dicts); each error begins with ``source``."""
    if not isinstance(raw, dict):
        raise InputError(f"{source}: a study is a mapping with the keys {', '.join(keys_of(StudyConfig))}")
    try:
        return StudyConfig.model_validate(raw)
    except ValidationError as error:
        raise InputError(*explain(error, StudyConfig, raw, source, {})) from None
