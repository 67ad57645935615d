"""Everything that can be known to be wrong with a study before any device time is spent."""

from __future__ import annotations

from pathlib import Path

from accounting.macs import count_macs
from harness.config import StudyConfig
from harness.data.registry import open_dataset
from harness.errors import InputError
from harness.jobs import Job, Route
from harness.models import build_network, fit_checkpoint, load_checkpoint, parent_spec
from harness.quantities import format_macs
from harness.routes.base import View
from harness.routes.prune import PruneRoute
from harness.routes.scratch import ScratchRoute
from harness.routes.search import SearchRoute
from nas_baseline.proposals import InfeasibleTarget
from pruning.solve import UnreachableTarget, prune_to_macs


def check_study(config: StudyConfig, *, need_data: bool) -> View:
    """The study as the routes see it; ``InputError`` in one line for what cannot work.

    ``need_data`` False leaves out whether the dataset is there, so that a study can be planned elsewhere.
    """
    dataset = open_dataset(config.dataset)
    if need_data:
        dataset.check()
    info = dataset.info()
    spec = parent_spec(config.parent, info)
    try:
        model = build_network(spec)
        macs = count_macs(model, info.image_shape).macs
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        name = config.parent.timm or f"{config.parent.family} {config.parent.variant}"
        raise InputError(f"parent: {name} cannot take images of {info.image_shape}: {reason}") from None
    view = View(config, info, spec, macs)
    for target in config.targets:
        if target >= macs:
            raise InputError(
                f"targets: {format_macs(target)} MACs given, the parent has {format_macs(macs)}; name targets below it"
            )
    if config.parent.checkpoint is not None:
        path = Path(config.parent.checkpoint)
        left = fit_checkpoint(model, load_checkpoint(path), path)
        if left and view.recipe(config.parent.pretrain)["epochs"] == 0:
            raise InputError(
                f"parent.checkpoint: {path} has no classifier for {info.num_classes} classes; add parent.pretrain with "
                "some epochs, so that one is learned"
            )
    if config.parent.pretrained and config.parent.timm is None:
        raise InputError("parent.pretrained: only a timm parent has published weights; give timm: or remove it")
    if config.routes.prune is not None:
        try:
            floor = config.routes.prune.floor
            for scope in sorted({criterion.partition("_")[0] for criterion in config.routes.prune.criterion}):
                prune_to_macs(model, info.image_shape, min(config.targets), scope=scope, floor=floor)  # type: ignore[arg-type]
        except UnreachableTarget as error:
            raise InputError(f"targets: {error}") from None
    _check_every_target_has_a_job(view, make_routes(view, 0))
    return view


def _check_every_target_has_a_job(view: View, routes: list[Route]) -> None:
    """A study of the control alone can turn out empty: no family network within a target."""
    if view.config.routes.prune is None and view.config.routes.search is None:
        proposed = set()
        while isinstance(job := routes[0].ask(), Job):
            proposed.add(job.target)
        for target in sorted(set(view.config.targets) - proposed):
            raise InputError(
                f"targets: {format_macs(target)} MACs given, and no network of the parent's family is within it; "
                "name larger targets or add the prune or search route"
            )


def make_routes(view: View, replicate: int) -> list[Route]:
    """The routes of one replicate, in the order in which equals are asked; ``InputError`` for what they refuse."""
    routes: list[Route] = []
    try:
        if view.config.routes.prune is not None:
            routes.append(PruneRoute(view, replicate))
        if view.config.routes.search is not None:
            routes.append(SearchRoute(view, replicate))
        if view.config.routes.scratch is not None:
            routes.append(ScratchRoute(view, replicate))
    except InfeasibleTarget as error:
        raise InputError(f"targets: {error}") from None
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise InputError(f"routes: {error}") from None
    return routes
