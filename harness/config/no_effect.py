"""Options that a config gives and that would change nothing: each is an error that names the key.

Only what is written counts, never a default. Studies that were stored were checked when they were new.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from accounting.study.yaml12 import Place
from harness.config.recipe import Recipe, RecipeOverride
from harness.config.routes import PruneConfig, SearchConfig
from nas_baseline.strategies import list_strategies, shares_weights

if TYPE_CHECKING:
    from harness.config.study import StudyConfig

Found = tuple[Place, str]
WITHOUT_MOMENTUM = ("adamw", "lamb")
PREDICTS_NOTHING = ("random", "regularized_evolution")


def without_effect(study: StudyConfig) -> list[Found]:
    """(place, what is wrong and what to do) of every given option without effect."""
    found = [*_parent(study), *_scratch(study), *_budgets(study), *_phases(study)]
    if study.resources.device == "cpu" and "cpus_per_job" in study.resources.model_fields_set:
        found.append(_useless(("resources", "cpus_per_job"), "device is cpu, where devices_per_job counts the cores"))
    for route, section in _sections(study):
        for key, part in section:
            place: Place = ("routes", route, *key)
            found += _search(part, place) if isinstance(part, SearchConfig) else _prune(part, place)
    return found


def _parent(study: StudyConfig) -> Iterator[Found]:
    parent = study.parent
    if parent.timm is not None and parent.variant is not None:
        yield _useless(("parent", "variant"), "it belongs to a family, and the parent is a timm network")
    if parent.pretrained and parent.checkpoint is not None:
        yield ("parent", "pretrained"), "parent.pretrained and parent.checkpoint are both given; keep one of them"
    if parent.pretrain.epochs == 0:
        for key in sorted(parent.pretrain.model_fields_set - {"epochs"}):
            yield _useless(("parent", "pretrain", key), "the parent is trained for 0 epochs")


def _search(config: SearchConfig, place: Place) -> Iterator[Found]:
    given, strategy = config.model_fields_set, config.strategy.name
    if strategy not in list_strategies():
        return  # refused where the strategy is made
    if shares_weights(strategy):
        for key in ("candidate", "early_stop", "early_stop_tau"):
            if key in given:
                yield _useless((*place, key), f"{strategy} scores its candidates without training them")
    else:
        for key in ("inherit", "supernet", "scored_per_job"):
            if key in given and not (key == "inherit" and not config.inherit):
                yield _useless((*place, key), f"{strategy} has no supernet; name a strategy that shares weights")
        if "early_stop_tau" in given and not config.early_stop:
            yield _useless((*place, "early_stop_tau"), "early_stop is false")
    if strategy in PREDICTS_NOTHING and "num_predicted" in given and config.num_predicted > 0:
        yield _useless((*place, "num_predicted"), f"{strategy} predicts nothing; set num_seen")


def _prune(config: PruneConfig, place: Place) -> Iterator[Found]:
    given, methods = config.model_fields_set, config.methods
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
        "schedule": (any("+" not in text for text in config.criterion), "every criterion has a schedule of its own"),
    }
    for key, (has_effect, why) in rules.items():
        if key in given and not has_effect:
            yield _useless((*place, key), why)


def _scratch(study: StudyConfig) -> Iterator[Found]:
    config = study.routes.scratch
    if config is None:
        return
    has_family = study.parent.family is not None
    if "family" in config.model_fields_set and config.family and not has_family:
        yield _useless(
            ("routes", "scratch", "family"), "the parent is a timm network, which has no smaller siblings here"
        )
    if not (config.family and has_family) and not config.needs_prune:
        yield (
            ("routes", "scratch"),
            "routes.scratch trains nothing: no control is switched on; switch one on or remove it",
        )


def _budgets(study: StudyConfig) -> Iterator[Found]:
    for route in sorted(study.budget.model_fields_set):
        if getattr(study.budget, route) is not None and getattr(study.routes, route) is None:
            yield _useless(("budget", route), f"the study has no route {route}")


def _phases(study: StudyConfig) -> Iterator[Found]:
    """Momentum, where the optimizer of every phase has none."""
    overrides = list(_overrides(study))
    for place, override in overrides:
        recipe = override.over(study.recipe)
        if override.momentum is not None and recipe.optimizer in WITHOUT_MOMENTUM:
            yield _useless((*place, "momentum"), f"{recipe.optimizer} has betas of its own")
    recipes: list[Recipe] = [study.recipe, *(override.over(study.recipe) for _, override in overrides)]
    if "momentum" in study.recipe.model_fields_set and all(r.optimizer in WITHOUT_MOMENTUM for r in recipes):
        yield _useless(("recipe", "momentum"), f"{study.recipe.optimizer} has betas of its own")


def _overrides(study: StudyConfig) -> Iterator[tuple[Place, RecipeOverride]]:
    yield ("parent", "pretrain"), study.parent.pretrain
    if study.routes.scratch is not None:
        yield ("routes", "scratch", "train"), study.routes.scratch.train
    for route, section in _sections(study):
        for key, part in section:
            names = ("candidate", "retrain", "supernet") if isinstance(part, SearchConfig) else ("finetune",)
            for name in names:
                yield ("routes", route, *key, name), getattr(part, name)


def _sections(study: StudyConfig) -> Iterator[tuple[str, list[tuple[Place, SearchConfig | PruneConfig]]]]:
    """Every search and prune section that is written, with where it is under its route."""
    routes = study.routes
    for route, section in (("search", routes.search), ("supernet", routes.supernet), ("prune", routes.prune)):
        if section is not None:
            yield route, [((), section)]
    both = routes.search_then_prune
    if both is not None:
        parts: list[tuple[Place, SearchConfig | PruneConfig | None]] = [
            (("search",), both.search),
            (("prune",), both.prune),
        ]
        yield "search_then_prune", [(key, part) for key, part in parts if part is not None]


def _useless(place: Place, why: str) -> Found:
    return place, f"{'.'.join(map(str, place))}: has no effect: {why}; remove it"
