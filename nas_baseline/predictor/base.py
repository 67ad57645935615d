"""The interface of predictors, what they see of networks, and the scale on which they fit values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from nas_baseline.spaces.base import Arch, BatchedSpace, Floats, MarksRecipe
from nas_baseline.spaces.looped import own


@dataclass(frozen=True)
class Inputs:
    """Encodings of n networks: architecture [n, a], recipe [n, r] (r may be 0), statistics [n, 2] (MACs, weights)."""

    architecture: Floats
    recipe: Floats
    statistics: Floats

    @cached_property
    def encoding(self) -> Floats:
        """Architecture and recipe side by side, shape [n, a + r]."""
        return np.concatenate([self.architecture, self.recipe], axis=1)

    def __len__(self) -> int:
        return len(self.architecture)


class Predictor(Protocol):
    """Predicts the values of networks; higher is better."""

    def pretrain(self, pool: Inputs) -> None:
        """Learn from networks without values. May do nothing."""
        ...

    def fit(self, inputs: Inputs, values: Floats) -> None:
        """Fit to values, shape [n]."""
        ...

    def predict(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """Mean and standard deviation, each of shape [n]."""
        ...

    def bound(self, inputs: Inputs, confidence: float) -> Floats:
        """A score that orders networks by mean plus ``confidence`` standard deviations, shape [n]."""
        ...

    def believed(self, values: Floats, own_share: float) -> Floats:
        """The values believed of the fitted networks, ``own_share`` of the way from predicted to measured."""
        ...

    def choose(self, inputs: Inputs, count: int, confidence: float) -> list[int]:
        """The rows to measure next, distinct, at most ``count``."""
        ...


SPAN = (0.5, 1.0)
"""A feature whose range in the pool is within these bounds is not rescaled, as in every ``DiscreteSpace``."""


class Encoder:
    """Turns members of a space into inputs; statistics are logarithms of MACs and weights, standardised on a pool.

    A feature whose range in the pool is outside ``SPAN`` is scaled to range 1, so a space may encode raw widths.
    What is kept (:meth:`keep`) is encoded once, however often it is asked for.
    """

    def __init__(self, space: BatchedSpace, pool: Sequence[Arch]) -> None:
        self._space = space
        raw = self._statistics(pool)
        sd = raw.std(0)
        self._mean, self._sd = raw.mean(0), np.where(sd > 1e-9, sd, 1.0)
        as_written = own(space)
        mask = as_written.recipe_mask if isinstance(as_written, MarksRecipe) else None
        encoding = self._space.encode_batch(pool)
        self._recipe = np.zeros(encoding.shape[1], dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
        span = np.ptp(encoding, axis=0)
        self._scale = np.where(((span >= SPAN[0]) & (span <= SPAN[1])) | (span <= 1e-9), 1.0, span)
        self._row_of: dict[Arch, int] = {}
        self._kept: Floats = np.empty((0, encoding.shape[1] + 2))

    def __call__(self, archs: Sequence[Arch]) -> Inputs:
        """The inputs of networks."""
        rows = np.array([self._row_of.get(arch, -1) for arch in archs], dtype=np.int64)
        is_new = rows < 0
        if is_new.all():
            found = self._encoded(archs)
        else:
            found = self._kept[rows]
            if is_new.any():
                found[is_new] = self._encoded([arch for arch, new in zip(archs, is_new, strict=True) if new])
        encoding, statistics = found[:, :-2], found[:, -2:]
        return Inputs(encoding[:, ~self._recipe], encoding[:, self._recipe], statistics)

    def keep(self, archs: Sequence[Arch]) -> None:
        """Remember the encodings of networks that will be asked for again."""
        new = [arch for arch in dict.fromkeys(archs) if arch not in self._row_of]
        if new:
            self._row_of.update(zip(new, range(len(self._kept), len(self._kept) + len(new)), strict=True))
            self._kept = np.concatenate([self._kept, self._encoded(new)])

    def _encoded(self, archs: Sequence[Arch]) -> Floats:
        """Architecture, recipe and statistics side by side, shape [n, a + r + 2]."""
        encoding = self._space.encode_batch(archs) / self._scale
        statistics = (self._statistics(archs) - self._mean) / self._sd
        return np.concatenate([encoding, statistics], axis=1)

    def _statistics(self, archs: Sequence[Arch]) -> Floats:
        counts = np.stack([self._space.macs_batch(archs), self._space.params_batch(archs)], axis=1)
        return np.log1p(counts.astype(np.float64))


@dataclass(frozen=True)
class Warp:
    """An increasing scale on which differences among the best count most: -log(1 + (best - value) / spread).

    ``best`` and ``spread`` (the interquartile range, at least a thousandth of the whole range) are those of the measured
    values. Accuracies of random networks have a long lower tail, which would otherwise dominate a fit.
    """

    best: float
    spread: float

    @staticmethod
    def of(values: Floats) -> Warp:
        """The warp of a set of values, shape [n]."""
        low, high = np.quantile(values, [0.25, 0.75])
        # If most values are equal, the interquartile range is almost 0, and the whole range says more.
        spread = max(float(high - low), 1e-3 * float(values.max() - values.min())) or 1.0
        return Warp(float(values.max()), spread)

    def __call__(self, values: Floats) -> Floats:
        """Map values, which must be at most ``best``, to the scale."""
        warped: Floats = -np.log1p((self.best - values) / self.spread)
        return warped

    def inverse(self, warped: Floats) -> Floats:
        """Map back to values; above 0 means better than ``best``."""
        values: Floats = self.best - self.spread * np.expm1(np.minimum(-warped, 50.0))
        return values

    def slope(self, values: Floats) -> Floats:
        """D(value) / d(warped) at values: turns a standard deviation back into units of value."""
        return self.spread + np.maximum(self.best - values, 0.0)
