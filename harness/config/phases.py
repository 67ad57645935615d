"""How each phase of a study trains: its recipe and epochs; and what of it would be cut in silence, each an error by name.

Only for studies that are new: what was stored has been trained as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accounting.study.yaml12 import Place
from harness.config.recipe import Recipe, RecipeOverride
from harness.config.routes import PruneConfig, ScratchConfig, SearchConfig
from nas_baseline.strategies import list_strategies, shares_weights

if TYPE_CHECKING:
    from harness.config.study import StudyConfig

Found = tuple[Place, str]


@dataclass(frozen=True)
class PhaseRecipe:
    """One phase: where it is written, what it changes of the study's recipe, what it trains by.

    ``epochs`` are those of its shortest training: of a round, where rounds share them.
    """

    place: Place
    given: RecipeOverride
    recipe: Recipe
    epochs: int

    @property
    def name(self) -> str:
        """The place as errors write it."""
        return ".".join(map(str, self.place))


def sections(study: StudyConfig) -> Iterator[tuple[Place, SearchConfig | PruneConfig]]:
    """Every search and prune section that is written, with its place."""
    routes = study.routes
    written: list[tuple[Place, SearchConfig | PruneConfig | None]] = [
        (("routes", "search"), routes.search),
        (("routes", "supernet"), routes.supernet),
        (("routes", "prune"), routes.prune),
    ]
    if (both := routes.search_then_prune) is not None:
        written.append((("routes", "search_then_prune", "search"), both.search))
        written.append((("routes", "search_then_prune", "prune"), both.prune))
    for place, section in written:
        if section is not None:
            yield place, section


def phases(study: StudyConfig) -> list[PhaseRecipe]:
    """Every phase that the study has, those of 0 epochs too."""

    def phase(place: Place, given: RecipeOverride, epochs: int | None = None) -> PhaseRecipe:
        recipe = given.over(study.recipe)
        return PhaseRecipe(place, given, recipe, recipe.epochs if epochs is None else epochs)

    found = [phase(("parent", "pretrain"), study.parent.pretrain)]
    if (scratch := study.routes.scratch) is not None and (counts := _epochs_from_scratch(study, scratch)):
        found.append(phase(("routes", "scratch", "train"), scratch.train, min(counts)))
    for place, section in sections(study):
        if isinstance(section, PruneConfig):
            is_shared = any(method.schedule == "iterative" for method in section.methods)
            epochs = section.finetune.over(study.recipe).epochs // (section.rounds if is_shared else 1)
            found.append(phase((*place, "finetune"), section.finetune, epochs))
            continue
        name = section.strategy.name
        if name in list_strategies():  # else refused elsewhere
            first = "supernet" if shares_weights(name) else "candidate"
            found += [phase((*place, key), getattr(section, key)) for key in (first, "retrain")]
    return found


def cut_in_silence(study: StudyConfig) -> list[Found]:
    """(place, what is wrong and what to do): a warm-up of more than half of the epochs, a ``min_lr`` above ``lr``."""
    found: list[Found] = []
    for phase in phases(study):
        if phase.epochs == 0:
            continue
        recipe = phase.recipe
        if recipe.warmup_epochs > phase.epochs / 2:
            inherited = "" if phase.given.warmup_epochs is not None else " from the recipe"
            found.append(
                (
                    (*phase.place, "warmup_epochs"),
                    f"{phase.name}: warmup_epochs is {recipe.warmup_epochs:g}{inherited}, for a training of {phase.epochs} "
                    f"epochs; set {phase.name}.warmup_epochs to at most {phase.epochs / 2:g}, or train for longer",
                )
            )
        if recipe.min_lr > recipe.lr:
            found.append(
                (
                    (*phase.place, "min_lr"),
                    f"{phase.name}: min_lr is {recipe.min_lr:g}, above its lr of {recipe.lr:g}; the rate falls from lr to "
                    f"min_lr: set {phase.name}.min_lr to at most {recipe.lr:g}",
                )
            )
    return found + list(_beyond_the_pixels(study))


def _epochs_from_scratch(study: StudyConfig, config: ScratchConfig) -> list[int]:
    """Of each control that is switched on; of smaller structures at least these."""
    prune = study.routes.prune
    pretrained = study.parent.pretrain.over(study.recipe).epochs
    counts = []
    if config.family and study.parent.family is not None:
        counts.append(config.train.over(study.recipe).epochs)
    if config.equal_epochs and pretrained > 0:
        counts.append(pretrained)
    if prune is not None and (config.pruned_structure or config.random_masks):
        counts.append(max(1, pretrained + prune.finetune.over(study.recipe).epochs))
    return counts


def _beyond_the_pixels(study: StudyConfig) -> Iterator[Found]:
    for key in ("mean", "std"):
        values = getattr(study.dataset, key) or []
        if any(not 0 <= value <= 1 for value in values):
            yield (
                ("dataset", key),
                f"dataset.{key}: {values} given, of pixels of 0 to 1; divide values of 0 to 255 by 255",
            )
