"""Tuning a phase's recipe: the fields of ``tune``, and the settings to try."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from harness.config.section import Strict

OFF: Literal["off"] = "off"
LR_RANGE: Literal["lr_range"] = "lr_range"
Word = Literal["off", "lr_range"]
WORDS = (OFF, LR_RANGE)
MOST_TRIALS = 1000
LEAST_RATES = 10
"""Learning rates that a range test should try; it tries one in each update of an epoch."""


class Tune(Strict):
    """Settings of a recipe that are tried before a network is trained; the best on validation is used."""

    lr: list[Annotated[float, Field(gt=0, le=1000)]] = Field([], max_length=100)
    """Learning rates to try; the recipe's own if left out."""
    weight_decay: list[Annotated[float, Field(ge=0, le=1000)]] = Field([], max_length=100)
    """Weight decays to try; the recipe's own if left out."""
    trials: int | None = Field(None, ge=1, le=MOST_TRIALS)
    """How many combinations to try, drawn at random; all of them if left out."""

    @field_validator("lr", "weight_decay")
    @classmethod
    def _distinct(cls, value: list[float]) -> list[float]:
        if len(set(value)) < len(value):
            raise ValueError(f"duplicate value in {value}")
        return value

    @model_validator(mode="after")
    def _some_choice(self) -> Tune:
        count = len(self._grid)
        if count < 2:
            raise ValueError("nothing to choose from: give two or more values of lr or weight_decay")
        if self.trials is not None and self.trials > count:
            raise ValueError(f"trials is {self.trials}, of {count} combinations; name at most {count}, or leave it out")
        if self.trials is None and count > MOST_TRIALS:
            raise ValueError(f"{count} combinations; set trials to at most {MOST_TRIALS}")
        return self

    @property
    def _grid(self) -> list[dict[str, float]]:
        choices = [
            [(key, value) for value in getattr(self, key)] for key in ("lr", "weight_decay") if getattr(self, key)
        ]
        return [dict(pairs) for pairs in itertools.product(*choices)]

    def settings(self, seed: int) -> list[dict[str, float]]:
        """The overrides of each trial; the same for equal seeds."""
        grid = self._grid
        if self.trials is None or self.trials == len(grid):
            return grid
        drawn = np.random.default_rng(seed).choice(len(grid), size=self.trials, replace=False)
        return [grid[i] for i in sorted(drawn.tolist())]


def section_or_word(value: object) -> object:
    """What ``tune`` may be: a section, or one of :data:`WORDS`."""
    if value is not None and value not in WORDS and not isinstance(value, dict | Tune):
        raise ValueError(f"{value!r} given; write {', '.join(WORDS)}, or a section such as {{lr: [0.05, 0.1]}}")
    return value


def tunings(section: Strict) -> Iterator[Tune | str]:
    """Every ``tune`` in a section, except those that are off."""
    for key in type(section).model_fields:
        value = getattr(section, key)
        if key == "tune" and value not in (None, OFF):
            yield value
        elif isinstance(value, Strict):
            yield from tunings(value)
