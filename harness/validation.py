"""Checks that find mistakes in a study before any device time is spent."""

from __future__ import annotations

import difflib
import importlib.util
import logging
from collections.abc import Sequence

from torch import nn

from accounting.study import plugins
from accounting.words.extras import install_extra
from accounting.words.methods import BLOCK_SCOPES, Method
from accounting.words.names import DeviceKind, Unit, learn_anew, parse_device_hours
from accounting.words.quantities import macs_text
from accounting.words.task import learn_task
from harness.config.blocks import PruneConfig
from harness.config.phases import phases
from harness.config.recipe import pretraining
from harness.config.study import StudyConfig
from harness.data.base import DataInfo, Repeats, TakesStrength, how_often
from harness.data.registry import open_dataset
from harness.data.sized import info_at
from harness.data.tried import check_own
from harness.delivery.onnx_file import require_onnx
from harness.errors import InputError
from harness.jobs.job import Job, Route, SearchingRoute
from harness.jobs.teachers import named_teachers
from harness.jobs.work import PruneRule
from harness.models.build import checkpoint_path, fit_checkpoint, load_checkpoint, parent_spec, pretrained_spec
from harness.models.classifier import is_for_others
from harness.models.parent_check import built_parent, check_trainable
from harness.routes.base import View
from harness.routes.exports import KINDS, WithExports
from harness.work.prune import remove
from nas_baseline.proposing.proposals import InfeasibleTarget
from pruning.layers import LayerFilter, find_layers, parse_filter
from pruning.nm import nm_masks, within
from pruning.recount import MacsDiffer
from pruning.solve import UnreachableTarget, prune_to_macs
from pruning.tried import criterion_problem

log = logging.getLogger(__name__)

USUAL_LOGGER = "tensorboard"
"""The default logger, used if its package is installed, which can then also show its files."""


def check_study(config: StudyConfig, *, need_data: bool) -> View:
    """Check a study, and return it as the routes see it.

    With ``need_data`` False the dataset need not be on this machine, so a study can be planned without it.

    Raises:
        InputError: something cannot work; the message says what.

    """
    learn_anew(config.routes.words)
    dataset = open_dataset(config.dataset)
    if need_data:
        dataset.check()
        check_own(config.dataset, dataset)
    info = dataset.info()
    learn_task(info.task.words)
    side = config.parent.image_size
    if side is not None and side > info.image_shape[1]:
        raise InputError(
            f"parent.image_size: {side} given, and the dataset gives {info.image_shape[1]} pixels a side; name at most "
            "that, or let dataset.image_size be the largest"
        )
    shown = info_at(info, side)
    spec, model, macs = built_parent(config.parent, shown)
    for kind in ("onnx", "int8"):
        if getattr(config.export, kind):
            require_onnx(f"export.{kind}")
    view = View(config, info, spec, macs, teachers=named_teachers(config, shown, spec, macs))
    for target in config.targets:
        if target >= macs:
            raise InputError(
                f"targets: {macs_text(target)} MACs given, the parent has {macs_text(macs)}; name targets below it"
            )
    _check_augmentations(config, dataset)
    check_trainable(config, shown, spec, macs)
    _check_published(config, shown)
    if config.parent.checkpoint is not None:
        path = checkpoint_path(config.parent.checkpoint)
        state = load_checkpoint(path)
        left = fit_checkpoint(model, state, path)
        lacks = f"parent.checkpoint: {path} has no {info.task.words.head_layer} for {info.task.num_outputs} "
        lacks += info.task.words.outputs
        if left and view.recipe(config.parent.pretrain).epochs == 0:
            raise InputError(f"{lacks}; add parent.pretrain with some epochs to train one")
        own = model.state_dict()
        if left and any(value.shape == own[left[0]].shape for value in state.values()):  # under another name, perhaps
            log.warning("%s (%s); parent.pretrain learns one from the start", lacks, " and ".join(left[:2]))
    _check_criteria(config)
    for route, pruning in config.routes.of_the_parent.items():
        _check_prunable(route, pruning, model, shown.image_shape, config.targets)
    routes = _bare_routes(view, 0)
    _check_every_target_has_a_job(view, routes)
    searching = [route for route in routes if isinstance(route, SearchingRoute)]
    problems = {problem for route in searching if (problem := route.strategy_problem())}
    if problems:
        raise InputError(*sorted(problems))
    return view


def _check_published(config: StudyConfig, info: DataInfo) -> None:
    """``InputError`` for published weights without the outputs of the data, if no training would give the parent some."""
    trains, words = pretraining(config.recipe, config.parent.pretrain).epochs > 0, info.task.words
    if not trains and is_for_others(pretrained_spec(config.parent, parent_spec(config.parent, info))):
        raise InputError(
            f"parent.pretrained: the published weights have no {words.head_layer} for {info.task.num_outputs} "
            f"{words.outputs}; add parent.pretrain with some epochs to train one"
        )


def _check_criteria(config: StudyConfig) -> None:
    """``InputError`` unless every criterion gives scores: those that a route names, and all of the user's own."""
    named = {
        method.criterion: f"routes.{route}.criterion"
        for route, pruning in config.routes.prunings.items()
        for method in pruning.methods
        if method.scope not in BLOCK_SCOPES
    }
    own = {file.name: "plugins" for file in plugins.in_use() if plugins.Kind.CRITERION in file.kinds}
    problems = [
        f"{place}: {problem}"
        for name, place in (own | named).items()
        if (problem := criterion_problem(name)) is not None
    ]
    if problems:
        raise InputError(*problems)


def check_loggers(config: StudyConfig) -> list[str]:
    """The names of a study's loggers; ``InputError`` for one that does not exist or whose package is not installed."""
    if config.loggers is None:
        return [USUAL_LOGGER] if importlib.util.find_spec(USUAL_LOGGER) is not None else []
    for name in config.loggers:
        try:
            found = plugins.load(plugins.Kind.LOGGER, name).Logger
        except plugins.PluginError as error:
            raise InputError(f"loggers: {error}") from None
        lacking = [part for part in ("NEEDS", "BEGINS_ANEW", "log", "close") if not hasattr(found, part)]
        if lacking:
            must = "harness/loggers/base.py says what it must have"
            raise InputError(f"loggers: {name}: its Logger has no {', '.join(lacking)}; {must}")
        if found.NEEDS and importlib.util.find_spec(found.NEEDS) is None:
            raise InputError(
                f"loggers: {name} needs the package {found.NEEDS}; {install_extra(name)}, or leave {name} out"
            )
    return list(config.loggers)


def check_declared(config: StudyConfig, device_kind: DeviceKind) -> None:
    """``InputError`` if the parent's declared cost is in hours of another kind of device than the study's."""
    declared = config.parent.declared_cost
    if declared is None:
        return
    _, unit = parse_device_hours(declared)
    if unit is not (own := Unit.of(device_kind)):
        raise InputError(
            f"parent.declared_cost: {declared!r} given, and this study's costs are in {own.text}; no rate converts one into "
            f"the other: declare it in {own.text}, or leave it out and ask `answer --parent-price`"
        )


def _check_augmentations(config: StudyConfig, dataset: object) -> None:
    """``InputError`` for augmentations that the dataset does not support: RandAugment, repeated images in a batch."""
    takes_strength = isinstance(dataset, TakesStrength) and dataset.RANDAUGMENT
    repeats = isinstance(dataset, Repeats) and dataset.REPEATED
    places = [("recipe",), *(phase.place for phase in phases(config))]
    recipes = [config.recipe, *(phase.recipe for phase in phases(config))]
    for place, recipe in zip(places, recipes, strict=True):
        key = ".".join(map(str, place))
        if how_often(recipe.augmentation)[0] != recipe.augment and not takes_strength:
            raise InputError(
                f"{key}.randaugment_magnitude: has no effect: the dataset {config.dataset.name} has no RandAugment; remove "
                "it"
            )
        if recipe.repeated_augmentation > 1 and not repeats:
            raise InputError(
                f"{key}.repeated_augmentation: the dataset {config.dataset.name} does not show an image several times in a "
                "batch (its plug-in has no REPEATED); remove it"
            )


def _check_prunable(
    route: str, config: PruneConfig, model: nn.Module, shape: tuple[int, int, int], targets: Sequence[int]
) -> None:
    """``InputError`` unless every method can reach every target, as far as fresh weights, shapes and floors tell."""
    keep = _kept(route, config.keep, model, shape)
    try:
        for scope in sorted({method.scope for method in config.methods}):
            if scope in ("global", "uniform"):
                prune_to_macs(model, shape, min(targets), scope=scope, floor=config.floor, keep=keep)  # type: ignore[arg-type]
            elif scope == "nm":
                within(nm_masks(model, shape, keep=keep), min(targets))
            else:
                for target in targets:
                    rule = PruneRule(
                        Method(scope, "magnitude"),
                        target,
                        channel_floor=config.channel_floor,
                        round_to=config.round_to,
                    )
                    remove(rule, model, shape, keep=keep)
    except UnreachableTarget as error:
        raise InputError(f"targets: {error}") from None
    except (ValueError, MacsDiffer) as error:
        raise InputError(f"routes.{route}: {error}") from None


def _kept(route: str, terms: Sequence[str], model: nn.Module, shape: tuple[int, int, int]) -> LayerFilter | None:
    """The filter for ``keep``; ``InputError`` for a term that matches no layer of the parent."""
    if not terms:
        return None
    layers = find_layers(model, shape)
    for term in terms:
        if not any(map(parse_filter([term]), layers)):
            names = [layer.name for layer in layers]
            near = difflib.get_close_matches(term.partition(":")[2], names, n=3, cutoff=0.3) or names[:3]
            raise InputError(
                f"routes.{route}.keep: {term!r} matches no layer of the parent; layers are {', '.join(near)}, …"
            )
    return parse_filter(terms)


def _check_every_target_has_a_job(view: View, routes: list[Route]) -> None:
    """Refuse a study with only the control if the parent's family has no network within a target: it would be empty."""
    routes_config = view.config.routes
    if not routes_config.in_comparison and not routes_config.outside:
        proposed = set()
        while isinstance(job := routes[0].ask(), Job):
            proposed.add(job.target)
        for target in sorted(set(view.config.targets) - proposed):
            raise InputError(
                f"targets: {macs_text(target)} MACs given, and no network of the parent's family is within it; "
                "name larger targets or add the prune or search route"
            )


def make_routes(view: View, replicate: int) -> list[Route]:
    """The routes of one replicate, in the order that breaks ties; ``InputError`` for what a route refuses."""
    routes = _bare_routes(view, replicate)
    if not any(getattr(view.config.export, kind) for kind in KINDS):
        return routes
    return [WithExports(route, view) for route in routes]


def _bare_routes(view: View, replicate: int) -> list[Route]:
    """The same routes, without exports of delivered networks."""
    routes: list[Route] = []
    config = view.config.routes
    try:
        for name in config.in_turn:
            routes.append(plugins.load(plugins.Kind.ROUTE, name).Route(view, replicate, config.sections[name]))
    except InfeasibleTarget as error:
        raise InputError(f"targets: {error}") from None
    except (ValueError, TypeError, FileNotFoundError) as error:
        said = str(plugins.fault(error) or error)
        raise InputError(said if said.startswith("routes.") else f"routes: {said}") from None
    return routes
