"""Options in a config that would change nothing: each is an error that names the key.

Only keys that are written count, never defaults. Stored studies were checked when they were new.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from accounting.study.yaml12 import Place
from accounting.words.names import Role, method_label
from harness.config.distill import OFF
from harness.config.errors import nearest
from harness.config.phases import TUNED_KEYS, phases
from harness.config.recipe import Recipe, is_tuned
from harness.config.route_section import Found, useless
from harness.config.section import Strict
from harness.config.tune import OFF as TUNE_OFF

if TYPE_CHECKING:
    from harness.config.study import StudyConfig

WITHOUT_MOMENTUM = ("adamw", "lamb")
MAY_BE_EMPTY = ("loggers",)
"""Lists that mean something when they are empty."""
REPEATABLE = ("mean", "std")
"""Lists with one value per channel, which may repeat."""


def without_effect(study: StudyConfig) -> list[Found]:
    """(place, what is wrong and what to do) for every given option without effect."""
    found = [*_parent(study), *_taught(study), *_tuned(study), *_budgets(study), *_phases(study), *_lists(study, ())]
    if study.resources.device == "cpu" and "cpus_per_job" in study.resources.model_fields_set:
        found.append(useless(("resources", "cpus_per_job"), "device is cpu, where devices_per_job counts the cores"))
    if study.resources.device == "cpu" and study.resources.device_kind is not None:
        found.append(useless(("resources", "device_kind"), "device is cpu, and it names a model of GPU"))
    for route, section in study.routes.powers.items():
        found += section.without_effect(study, ("routes", route))
    return [*found, *_pair(study)]


def _parent(study: StudyConfig) -> Iterator[Found]:
    parent = study.parent
    if parent.timm is not None and parent.variant is not None:
        yield useless(("parent", "variant"), "it belongs to a family, and the parent is a timm network")
    if parent.pretrained and parent.checkpoint is not None:
        yield ("parent", "pretrained"), "parent.pretrained and parent.checkpoint are both given; keep one of them"


def _taught(study: StudyConfig) -> Iterator[Found]:
    """A teacher in the study's recipe that no phase uses."""
    is_known = not study.routes.outside  # how a user's own routes train is unknown
    if study.recipe.distill != OFF and is_known and all(phase.recipe.teaching is None for phase in phases(study)):
        yield useless(("recipe", "distill"), "no phase is trained with it; the parent's own training has no teacher")


def _tuned(study: StudyConfig) -> Iterator[Found]:
    """A tuning in the study's recipe that no phase uses."""
    is_used = any(is_tuned(phase.recipe) and phase.place[-1] in TUNED_KEYS for phase in phases(study))
    if study.recipe.tune != TUNE_OFF and not study.routes.outside and not is_used:
        yield useless(
            ("recipe", "tune"), f"no phase is tuned by it; only {', '.join(TUNED_KEYS)} are, with 1 epoch or more"
        )


def _budgets(study: StudyConfig) -> Iterator[Found]:
    for route in sorted(study.budget.model_fields_set):
        if getattr(study.budget, route) is not None and route not in study.routes.names:
            yield useless(("budget", route), f"the study has no route {route}")


def _pair(study: StudyConfig) -> Iterator[Found]:
    """A declared pair with something that this study never delivers, of which its verdict could say nothing."""
    if study.verdict.pair == type(study.verdict)().pair:
        return
    allowed = _contenders(study)
    for label in study.verdict.pair:
        if label not in allowed:
            named = f"{label!r} is no contender of this study{nearest(label, allowed)}"
            yield ("verdict", "pair"), f"verdict.pair: {named}; allowed here: {', '.join(allowed)}"


def _contenders(study: StudyConfig) -> list[str]:
    """The labels of what the study may deliver: its routes, each method of a pruning, and the controls."""
    found: list[str] = []
    for route, words in study.routes.words.items():
        if words.role is Role.MEASURES:
            continue
        pruning = study.routes.prunings.get(route)
        methods = [] if pruning is None else [method_label(route, method) for method in pruning.methods]
        labels = [kind.label for kind in words.labels]
        has_own = not labels or route in study.routes.outside
        found += [*([route, *methods] if has_own else []), *labels]
    return found


def _phases(study: StudyConfig) -> Iterator[Found]:
    """Overrides of a phase with no epochs; and momentum, if no phase has an optimizer that uses it."""
    found = phases(study)
    for phase in found:
        for key in sorted(phase.given.model_fields_set - {"epochs"}):
            if phase.epochs == 0:
                yield useless((*phase.place, key), f"{phase.name} is of 0 epochs")
            elif key == "tune" and phase.place[-1] not in TUNED_KEYS and phase.given.tune != TUNE_OFF:
                yield useless((*phase.place, key), f"{phase.place[-1]} is not tuned; only {', '.join(TUNED_KEYS)} are")
            elif key == "momentum" and phase.recipe.optimizer in WITHOUT_MOMENTUM:
                yield useless((*phase.place, key), f"{phase.recipe.optimizer} has betas of its own")
            elif key == "head_init_scale" and phase.place[-1] == "finetune":
                yield useless((*phase.place, key), "fine-tuning continues with the last layer that the network has")
            elif key == "repeated_augmentation" and _shows_one(phase.recipe) and phase.recipe.repeated_augmentation > 1:
                yield useless((*phase.place, key), "augment is none, so an image would be the same each time")
            elif key == "randaugment_magnitude" and phase.recipe.augment != "timm":
                yield useless((*phase.place, key), f"augment is {phase.recipe.augment}, which has no RandAugment")
    if "repeated_augmentation" in study.recipe.model_fields_set and all(
        _shows_one(p.recipe) for p in found if p.epochs
    ):
        yield useless(
            ("recipe", "repeated_augmentation"), "no phase varies its images, so they would be the same each time"
        )
    if "randaugment_magnitude" in study.recipe.model_fields_set and all(p.recipe.augment != "timm" for p in found):
        yield useless(("recipe", "randaugment_magnitude"), "no phase has augment: timm, which is RandAugment")
    optimizers = {study.recipe.optimizer, *(phase.recipe.optimizer for phase in found)}
    if "momentum" in study.recipe.model_fields_set and optimizers <= set(WITHOUT_MOMENTUM):
        yield useless(("recipe", "momentum"), f"{study.recipe.optimizer} has betas of its own")


def _shows_one(recipe: Recipe) -> bool:
    """Whether an image looks the same every time it is shown."""
    return recipe.augment == "none" and not (recipe.erase_prob or recipe.mixup_alpha or recipe.cutmix_alpha)


def _lists(section: Strict, place: Place) -> Iterator[Found]:
    """Empty lists and duplicate items, where they mean nothing."""
    for key in sorted(section.model_fields_set):
        value, where = getattr(section, key), (*place, key)
        if type(section).model_fields[key].exclude:
            continue  # not a key of a config
        if isinstance(value, Strict):
            yield from _lists(value, where)
        elif value == [] and key not in MAY_BE_EMPTY:
            yield where, f"{'.'.join(map(str, where))}: an empty list; name something, or remove it"
        elif isinstance(value, list) and key not in REPEATABLE:
            twice = sorted({str(item) for item in value if value.count(item) > 1})
            if twice:
                yield where, f"{'.'.join(map(str, where))}: {', '.join(twice)} given twice in {value}; name each once"
