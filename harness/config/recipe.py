"""How a network is trained: the fields of ``recipe``, and what a phase may change of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from harness.config.distill import OFF, Distill, section_or_off
from harness.config.section import Strict
from harness.config.tune import OFF as TUNE_OFF
from harness.config.tune import Tune, section_or_word

DEFAULT_MAGNITUDE = 9
"""Default magnitude of RandAugment, on a scale to 10."""

# What a key of a recipe may be, whether it is a study's or a phase's.
_Epochs = Annotated[int, Field(ge=0, le=100_000)]
_WarmUp = Annotated[float, Field(ge=0, le=100_000)]
_BatchSize = Annotated[int, Field(ge=2, le=1_000_000)]
_Passes = Annotated[int, Field(ge=1, le=10_000)]
_Repeats = Annotated[int, Field(ge=1, le=100)]
_Magnitude = Annotated[int, Field(ge=0, le=10)]
_Rate = Annotated[float, Field(gt=0, le=1000)]
_Strength = Annotated[float, Field(ge=0, le=1000)]
_Share = Annotated[float, Field(ge=0, lt=1)]
_Chance = Annotated[float, Field(ge=0, le=1)]
_Optimizer = Literal["sgd", "rmsprop", "adamw", "rmsproptf", "lamb"]
_Schedule = Literal["cosine", "linear"]
_Augment = Literal["none", "light", "timm"]
_Distill = Distill | Literal["off"]
_Tune = Tune | Literal["off", "lr_range"]


class Recipe(Strict):
    """How a network is trained; the same trainer and the same fields for every phase of every route."""

    epochs: _Epochs = 10
    """Passes over the training images; 0 trains nothing."""
    batch_size: _BatchSize = 64
    """Images in one training step."""
    accumulate: _Passes = 1
    """Passes in which a worker computes its share of a batch, for batches that do not fit the device's memory at once."""
    sync_batch_norm: bool = True
    """Whether batch norm is over the images of all workers of a job, or over each worker's own."""
    compile: bool = False
    """Whether trainings use ``torch.compile``, which takes tens of seconds to minutes in every job before its first epoch
    and changes the last bits of weights. ``plan --compile`` measures for which phases it pays. Not for supernets."""
    optimizer: _Optimizer = "sgd"
    """The optimizer, by timm's name."""
    lr: _Rate = 0.1
    """The highest learning rate, reached at the end of the warm-up."""
    momentum: _Share = 0.9
    """Momentum of the optimizer; ``adamw`` and ``lamb`` have none."""
    weight_decay: _Strength = 1e-4
    """Weight decay."""
    warmup_epochs: _WarmUp = 0.5
    """Epochs over which the learning rate rises to ``lr``; at most half of all epochs."""
    schedule: _Schedule = "cosine"
    """How the learning rate falls from ``lr`` to ``min_lr``."""
    min_lr: _Strength = 0.0
    """The learning rate at the end of the schedule."""
    label_smoothing: _Share = 0.1
    """Share of the label that is spread evenly over all classes."""
    mixup_alpha: _Strength = 0.0
    """Strength of mixup (the alpha of its Beta distribution); 0 is off."""
    cutmix_alpha: _Strength = 0.0
    """Strength of CutMix (the alpha of its Beta distribution); 0 is off. With mixup, each has half of the batches."""
    erase_prob: _Chance = 0.0
    """How often a rectangle of a training image is replaced by noise (random erasing); 0 is off."""
    randaugment_magnitude: _Magnitude = DEFAULT_MAGNITUDE
    """Strength of RandAugment, with ``augment: timm``."""
    ema_decay: _Share = 0.0
    """Decay of an exponential moving average of the weights, which is then kept instead of them; 0 is off."""
    drop_rate: _Share = 0.0
    """Dropout before the classifier."""
    drop_path_rate: _Share = 0.0
    """Stochastic depth: how often a block is skipped while training."""
    head_init_scale: _Strength | None = None
    """What a new classifier's first weights are multiplied by, as with timm's ``--head-init-scale``; 0 gives each class the
    same probability. If left out, it is 0 where all other layers are trained, and 1 in a network of fresh weights."""
    augment: _Augment = "light"
    """How training images are varied: ``light`` shifts and flips, ``timm`` is RandAugment if the dataset reads files."""
    repeated_augmentation: _Repeats = 1
    """How many times an image is in its batch, varied each time; an epoch has as many steps, with fewer images. 1 is off."""
    distill: _Distill = OFF
    """Learning from a teacher's outputs and the labels; the parent's own training has a teacher only if it says so."""

    tune: _Tune = TUNE_OFF
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

    # Keys are named again, so that types are checked; what they may be and what they mean is said once, above.

    epochs: _Epochs | None = None
    batch_size: _BatchSize | None = None
    accumulate: _Passes | None = None
    sync_batch_norm: bool | None = None
    compile: bool | None = None
    optimizer: _Optimizer | None = None
    lr: _Rate | None = None
    momentum: _Share | None = None
    weight_decay: _Strength | None = None
    warmup_epochs: _WarmUp | None = None
    schedule: _Schedule | None = None
    min_lr: _Strength | None = None
    label_smoothing: _Share | None = None
    mixup_alpha: _Strength | None = None
    cutmix_alpha: _Strength | None = None
    erase_prob: _Chance | None = None
    randaugment_magnitude: _Magnitude | None = None
    ema_decay: _Share | None = None
    drop_rate: _Share | None = None
    drop_path_rate: _Share | None = None
    head_init_scale: _Strength | None = None
    augment: _Augment | None = None
    repeated_augmentation: _Repeats | None = None
    distill: _Distill | None = None
    tune: _Tune | None = None

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
