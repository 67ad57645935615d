"""How far a rehearsal cuts a study down: limits for everything that takes time, and what follows for a recipe."""

from __future__ import annotations

from dataclasses import dataclass

from harness.config.recipe import Recipe, RecipeOverride
from harness.config.tune import Tune, Word

SUFFIX = "_rehearsal"
"""Appended to the name of a rehearsed study, so the study's own folder stays free."""


@dataclass(frozen=True)
class Caps:
    """Upper limits; smaller values of a study stay as they are.

    Two epochs, because training is resumed between them; two replicates, because one gives no interval. ``images`` is the
    number to train and select on, or more if a class would have none. ``image_size`` is the smallest size at which images
    are cropped like large ones (:data:`harness.data.transforms.SMALL`); None: all sizes stay as they are.
    """

    epochs: int = 2
    replicates: int = 2
    candidates: int = 4
    """Candidates that are trained."""
    scored: int = 8
    """Candidates that are scored without training."""
    batch_size: int = 16
    images: int = 96
    images_per_class: int = 8
    val_fraction: float = 0.2
    """A lower limit: of few images, a small share would be too few to select by."""
    test_images: int = 64
    image_size: int | None = 128
    trials: int = 2
    """Settings that are tried if a recipe is tuned."""

    def recipe(self, recipe: Recipe) -> Recipe:
        """A study's recipe within the limits: the learning rate shrinks with the batch, and the warm-up fits one epoch."""
        batch = min(recipe.batch_size, self.batch_size)
        scale = batch / recipe.batch_size
        changes = {
            "epochs": min(recipe.epochs, self.epochs),
            "batch_size": batch,
            "accumulate": min(recipe.accumulate, 2),
            "lr": recipe.lr * scale,
            "min_lr": recipe.min_lr * scale,
            "warmup_epochs": min(recipe.warmup_epochs, 0.5),
            "tune": self._tune(recipe.tune, scale),
        }
        return recipe.model_copy(update=changes)

    def _tune(self, tune: Tune | Word, scale: float) -> Tune | Word:
        if not isinstance(tune, Tune):
            return tune
        trials = min(len(tune.settings(seed=0)), self.trials)
        return tune.model_copy(update={"lr": [lr * scale for lr in tune.lr], "trials": trials})

    def override(self, given: RecipeOverride, base: Recipe) -> RecipeOverride:
        """The overrides of a phase within the limits; ``base`` is the study's recipe before it is cut."""
        before = given.over(base)
        cut = self.recipe(before)
        changes = {
            key: getattr(cut, key)
            for key in type(given).model_fields
            if getattr(given, key) is not None and getattr(cut, key) != getattr(given, key)
        }
        return given.model_copy(update=changes)


CAPS = Caps()
