"""How a network is trained: the fields of ``recipe``, and what a phase may change of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.config.section import Strict


class Recipe(Strict):
    """How a network is trained; the same trainer and the same fields for every phase of every route."""

    epochs: int = Field(10, ge=0, le=100_000)
    batch_size: int = Field(64, ge=2, le=1_000_000)
    optimizer: Literal["sgd", "rmsprop", "adamw", "rmsproptf", "lamb"] = "sgd"
    lr: float = Field(0.1, gt=0, le=1000)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0, le=1000)
    warmup_epochs: float = Field(0.5, ge=0, le=100_000)
    min_lr: float = Field(0.0, ge=0, le=1000)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    mixup_alpha: float = Field(0.0, ge=0, le=1000)
    ema_decay: float = Field(0.0, ge=0, lt=1)
    drop_rate: float = Field(0.0, ge=0, lt=1)
    drop_path_rate: float = Field(0.0, ge=0, lt=1)
    augment: Literal["none", "light", "timm"] = "light"


class RecipeOverride(Strict):
    """The fields of a recipe that a phase changes; what is left out comes from the study's ``recipe``."""

    epochs: int | None = Field(None, ge=0, le=100_000)
    batch_size: int | None = Field(None, ge=2, le=1_000_000)
    optimizer: Literal["sgd", "rmsprop", "adamw", "rmsproptf", "lamb"] | None = None
    lr: float | None = Field(None, gt=0, le=1000)
    momentum: float | None = Field(None, ge=0, lt=1)
    weight_decay: float | None = Field(None, ge=0, le=1000)
    warmup_epochs: float | None = Field(None, ge=0, le=100_000)
    min_lr: float | None = Field(None, ge=0, le=1000)
    label_smoothing: float | None = Field(None, ge=0, lt=1)
    mixup_alpha: float | None = Field(None, ge=0, le=1000)
    ema_decay: float | None = Field(None, ge=0, lt=1)
    drop_rate: float | None = Field(None, ge=0, lt=1)
    drop_path_rate: float | None = Field(None, ge=0, lt=1)
    augment: Literal["none", "light", "timm"] | None = None

    def over(self, base: Recipe) -> Recipe:
        """``base`` with the fields given here."""
        return base.model_copy(update=self.model_dump(exclude_none=True))
