"""Options that a config gives and that would change nothing: each is an error that names the key.

Only what is written counts, never a default. Studies that were stored were checked when they were new.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from accounting.study.yaml12 import Place
from harness.config.phases import Found, phases, sections
from harness.config.routes import PruneConfig, SearchConfig
from harness.config.section import Strict
from nas_baseline.strategies import list_strategies, predicts, shares_weights

if TYPE_CHECKING:
    from harness.config.study import StudyConfig

WITHOUT_MOMENTUM = ("adamw", "lamb")
REPEATABLE = ("mean", "std")
"""Lists of one value a channel."""


def without_effect(study: StudyConfig) -> list[Found]:
    """(place, what is wrong and what to do) of every given option without effect."""
    found = [*_parent(study), *_scratch(study), *_budgets(study), *_phases(study), *_lists(study, ())]
    if study.resources.device == "cpu" and "cpus_per_job" in study.resources.model_fields_set:
        found.append(_useless(("resources", "cpus_per_job"), "device is cpu, where devices_per_job counts the cores"))
    for place, section in sections(study):
        found += _search(section, place) if isinstance(section, SearchConfig) else _prune(section, place)
    return found


def _parent(study: StudyConfig) -> Iterator[Found]:
    parent = study.parent
    if parent.timm is not None and parent.variant is not None:
        yield _useless(("parent", "variant"), "it belongs to a family, and the parent is a timm network")
    if parent.pretrained and parent.checkpoint is not None:
        yield ("parent", "pretrained"), "parent.pretrained and parent.checkpoint are both given; keep one of them"


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
    if not predicts(strategy) and "num_predicted" in given and config.num_predicted > 0:
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
    trains_family = config.family and has_family
    if not trains_family and config.needs_prune and "epochs" in config.train.model_fields_set:
        yield _useless(
            ("routes", "scratch", "train", "epochs"),
            "they are the family's network's, which is not trained; pruned structures take the parent's and finetune's",
        )
    if not trains_family and not config.needs_prune:
        yield (
            ("routes", "scratch"),
            "routes.scratch trains nothing: no control is switched on; switch one on or remove it",
        )


def _budgets(study: StudyConfig) -> Iterator[Found]:
    for route in sorted(study.budget.model_fields_set):
        if getattr(study.budget, route) is not None and getattr(study.routes, route) is None:
            yield _useless(("budget", route), f"the study has no route {route}")


def _phases(study: StudyConfig) -> Iterator[Found]:
    """What a phase of no epochs changes of the recipe; momentum, where the optimizer of every phase has none."""
    found = phases(study)
    for phase in found:
        for key in sorted(phase.given.model_fields_set - {"epochs"}):
            if phase.epochs == 0:
                yield _useless((*phase.place, key), f"{phase.name} is of 0 epochs")
            elif key == "momentum" and phase.recipe.optimizer in WITHOUT_MOMENTUM:
                yield _useless((*phase.place, key), f"{phase.recipe.optimizer} has betas of its own")
    optimizers = {study.recipe.optimizer, *(phase.recipe.optimizer for phase in found)}
    if "momentum" in study.recipe.model_fields_set and optimizers <= set(WITHOUT_MOMENTUM):
        yield _useless(("recipe", "momentum"), f"{study.recipe.optimizer} has betas of its own")


def _lists(section: Strict, place: Place) -> Iterator[Found]:
    """Lists that hold nothing, and items that stand twice where that means nothing."""
    for key in sorted(section.model_fields_set):
        value, where = getattr(section, key), (*place, key)
        if type(section).model_fields[key].exclude:
            continue  # no key of a config
        if isinstance(value, Strict):
            yield from _lists(value, where)
        elif value == []:
            yield where, f"{'.'.join(map(str, where))}: an empty list; name something, or remove it"
        elif isinstance(value, list) and key not in REPEATABLE:
            twice = sorted({str(item) for item in value if value.count(item) > 1})
            if twice:
                yield where, f"{'.'.join(map(str, where))}: {', '.join(twice)} given twice in {value}; name each once"


def _useless(place: Place, why: str) -> Found:
    return place, f"{'.'.join(map(str, place))}: has no effect: {why}; remove it"
