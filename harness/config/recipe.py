"""How a network is trained: the fields of ``recipe``, and what a phase may change of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from harness.config.distill import OFF, Distill, section_or_off
from harness.config.section import Strict
from harness.config.tune import OFF as TUNE_OFF
from harness.config.tune import Tune, section_or_word

DEFAULT_MAGNITUDE = 9
"""Default magnitude of RandAugment, on a scale to 10."""


class Recipe(Strict):
    """How a network is trained; the same trainer and the same fields for every phase of every route."""

    epochs: int = Field(10, ge=0, le=100_000)
    """Passes over the training images; 0 trains nothing."""
    batch_size: int = Field(64, ge=2, le=1_000_000)
    """Images in one training step."""
    accumulate: int = Field(1, ge=1, le=10_000)
    """Passes in which a worker computes its share of a batch, for batches that do not fit the device's memory at once."""
    sync_batch_norm: bool = True
    """Whether batch norm is over the images of all workers of a job, or over each worker's own."""
    optimizer: Literal["sgd", "rmsprop", "adamw", "rmsproptf", "lamb"] = "sgd"
    """The optimizer, by timm's name."""
    lr: float = Field(0.1, gt=0, le=1000)
    """The highest learning rate, reached at the end of the warm-up."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of the optimizer; ``adamw`` and ``lamb`` have none."""
    weight_decay: float = Field(1e-4, ge=0, le=1000)
    """Weight decay."""
    warmup_epochs: float = Field(0.5, ge=0, le=100_000)
    """Epochs over which the learning rate rises to ``lr``; at most half of all epochs."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How the learning rate falls from ``lr`` to ``min_lr``."""
    min_lr: float = Field(0.0, ge=0, le=1000)
    """The learning rate at the end of the schedule."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the label that is spread evenly over all classes."""
    mixup_alpha: float = Field(0.0, ge=0, le=1000)
    """Strength of mixup (the alpha of its Beta distribution); 0 is off."""
    cutmix_alpha: float = Field(0.0, ge=0, le=1000)
    """Strength of CutMix (the alpha of its Beta distribution); 0 is off. With mixup, each has half of the batches."""
    erase_prob: float = Field(0.0, ge=0, le=1)
    """How often a rectangle of a training image is replaced by noise (random erasing); 0 is off."""
    randaugment_magnitude: int = Field(DEFAULT_MAGNITUDE, ge=0, le=10)
    """Strength of RandAugment, with ``augment: timm``."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay of an exponential moving average of the weights, which is then kept instead of them; 0 is off."""
    drop_rate: float = Field(0.0, ge=0, lt=1)
    """Dropout before the classifier."""
    drop_path_rate: float = Field(0.0, ge=0, lt=1)
    """Stochastic depth: how often a block is skipped while training."""
    augment: Literal["none", "light", "timm"] = "light"
    """How training images are varied: ``light`` shifts and flips, ``timm`` is RandAugment if the dataset reads files."""
    repeated_augmentation: int = Field(1, ge=1, le=100)
    """How many times an image is in its batch, varied each time; an epoch has as many steps, with fewer images. 1 is off."""
    distill: Distill | Literal["off"] = OFF
    """Learning from a teacher's outputs and the labels; the parent's own training has a teacher only if it says so."""

    tune: Tune | Literal["off", "lr_range"] = TUNE_OFF
    """Choosing learning rate and weight decay before a network is fine-tuned, or trained to be delivered: by trials, or only
    the learning rate by a range test of one epoch (``lr_range``). Candidates, supernets and the parent are not tuned."""

    _word = field_validator("distill", mode="before")(section_or_off)
    _tuning = field_validator("tune", mode="before")(section_or_word)

    @property
    def augmentation(self) -> str:
        """As a split is asked for it: ``augment``; ``timm-m5``, RandAugment of another strength than usual; ``light*3``."""
        is_usual = self.augment != "timm" or self.randaugment_magnitude == DEFAULT_MAGNITUDE
        how = self.augment if is_usual else f"timm-m{self.randaugment_magnitude}"
        return how if self.repeated_augmentation == 1 else f"{how}*{self.repeated_augmentation}"

    @property
    def teaching(self) -> Distill | None:
        """How it learns from a teacher; None where it does not, or trains nothing."""
        return self.distill if isinstance(self.distill, Distill) and self.epochs > 0 else None

    def as_spec(self) -> dict[str, object]:
        """As a job's ``recipe`` in ledgers: keys that the first ledgers lack only if they differ from their default."""
        said = self.model_dump()
        defaults = type(self)().model_dump()
        return {key: value for key, value in said.items() if key in IN_FIRST_LEDGERS or value != defaults[key]}


IN_FIRST_LEDGERS = frozenset({
    "epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "warmup_epochs", "min_lr", "label_smoothing",
    "mixup_alpha", "ema_decay", "drop_rate", "drop_path_rate", "augment",
})  # fmt: skip
"""Keys that every ledger has. A new key is not added here: jobs that do not use it stay the same in old studies."""


class RecipeOverride(Strict):
    """The fields of a recipe that a phase changes; what is left out comes from the study's ``recipe``."""

    epochs: int | None = Field(None, ge=0, le=100_000)
    batch_size: int | None = Field(None, ge=2, le=1_000_000)
    accumulate: int | None = Field(None, ge=1, le=10_000)
    sync_batch_norm: bool | None = None
    optimizer: Literal["sgd", "rmsprop", "adamw", "rmsproptf", "lamb"] | None = None
    lr: float | None = Field(None, gt=0, le=1000)
    momentum: float | None = Field(None, ge=0, lt=1)
    weight_decay: float | None = Field(None, ge=0, le=1000)
    warmup_epochs: float | None = Field(None, ge=0, le=100_000)
    schedule: Literal["cosine", "linear"] | None = None
    min_lr: float | None = Field(None, ge=0, le=1000)
    label_smoothing: float | None = Field(None, ge=0, lt=1)
    mixup_alpha: float | None = Field(None, ge=0, le=1000)
    cutmix_alpha: float | None = Field(None, ge=0, le=1000)
    erase_prob: float | None = Field(None, ge=0, le=1)
    randaugment_magnitude: int | None = Field(None, ge=0, le=10)
    ema_decay: float | None = Field(None, ge=0, lt=1)
    drop_rate: float | None = Field(None, ge=0, lt=1)
    drop_path_rate: float | None = Field(None, ge=0, lt=1)
    augment: Literal["none", "light", "timm"] | None = None
    repeated_augmentation: int | None = Field(None, ge=1, le=100)
    distill: Distill | Literal["off"] | None = None
    tune: Tune | Literal["off", "lr_range"] | None = None

    _word = field_validator("distill", mode="before")(section_or_off)
    _tuning = field_validator("tune", mode="before")(section_or_word)

    def over(self, base: Recipe) -> Recipe:
        """``base`` with the fields given here."""
        given = {key: getattr(self, key) for key in type(self).model_fields}
        return base.model_copy(update={key: value for key, value in given.items() if value is not None})


def pretraining(base: Recipe, override: RecipeOverride) -> Recipe:
    """The recipe that trains the parent, which has no teacher unless one is named for it."""
    own = override.over(base)
    return own if override.distill is not None else own.model_copy(update={"distill": OFF})


def is_tuned(recipe: Recipe) -> bool:
    """Whether a training by the recipe has settings to be chosen first."""
    return recipe.tune != TUNE_OFF and recipe.epochs > 0


for _key, _field in RecipeOverride.model_fields.items():
    _field.description = Recipe.model_fields[_key].description
RecipeOverride.model_rebuild(force=True)
