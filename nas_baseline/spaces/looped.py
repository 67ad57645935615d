"""Adds the vectorised methods to any search space by looping: a space of five methods becomes a ``BatchedSpace``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas_baseline.spaces.base import Arch, BatchedSpace, CountsParams, Floats, Ints, MergesEqual, SearchSpace

NUM_WALKS, NUM_SAMPLES = 4, 500
PATIENCE, PATIENCE_PER_DIMENSION = 60, 20


def batched(space: SearchSpace) -> BatchedSpace:
    """``space`` itself if it has every vectorised form; otherwise a view of it that has them."""
    return space if isinstance(space, BatchedSpace) else LoopedSpace(space)


def own(space: BatchedSpace) -> SearchSpace:
    """The space as its author wrote it, without loops around it; it may have optional members."""
    return space.inner if isinstance(space, LoopedSpace) else space


class LoopedSpace:
    """The vectorised forms by one call per member of ``inner``."""

    def __init__(self, inner: SearchSpace) -> None:
        self.inner = inner
        self._merges = inner if isinstance(inner, MergesEqual) else None
        self._counts = inner if isinstance(inner, CountsParams) else None
        self._features: dict[Arch, Floats] = {}
        self._extremes: dict[int, tuple[int, Arch]] = {}

    def __getattr__(self, name: str) -> Any:
        """Whatever else the space has, for a user's strategy that knows the user's space."""
        if name == "inner" or name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def name(self) -> str:
        """Name for messages; the class of the space if it has none."""
        return str(getattr(self.inner, "name", type(self.inner).__name__))

    def canonical(self, arch: Arch) -> Arch:
        """The space's own canonical form, or the member itself."""
        return arch if self._merges is None else self._merges.canonical(arch)

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw one canonical member."""
        return self.canonical(self.inner.sample(rng))

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """A neighbour."""
        return self.canonical(self.inner.mutate(arch, rng))

    def crossover(self, a: Arch, b: Arch, rng: np.random.Generator) -> Arch:
        """A child of two."""
        return self.canonical(self.inner.crossover(a, b, rng))

    def encode(self, arch: Arch) -> Floats:
        """Features, kept for the next call."""
        if arch not in self._features:
            self._features[arch] = np.asarray(self.inner.encode(arch), dtype=np.float64).ravel()
        return self._features[arch]

    def macs(self, arch: Arch) -> int:
        """MACs."""
        return int(self.inner.macs(arch))

    def params(self, arch: Arch) -> int:
        """Number of weights; 0 if the space does not say."""
        return 0 if self._counts is None else int(self._counts.params(arch))

    def sample_batch(self, rng: np.random.Generator, n: int) -> list[Arch]:
        """Draw ``n`` members."""
        return [self.sample(rng) for _ in range(n)]

    def encode_batch(self, archs: Sequence[Arch]) -> Floats:
        """Features, shape [len(archs), num_features]."""
        return np.stack([self.encode(a) for a in archs])

    def macs_batch(self, archs: Sequence[Arch]) -> Ints:
        """MACs, shape [len(archs)]."""
        return np.array([self.macs(a) for a in archs], dtype=np.int64)

    def params_batch(self, archs: Sequence[Arch]) -> Ints:
        """Weights, shape [len(archs)]."""
        return np.array([self.params(a) for a in archs], dtype=np.int64)

    def min_macs(self) -> int:
        """The smallest MACs that sampling and descent find."""
        return self._extreme(-1)[0]

    def max_macs(self) -> int:
        """The largest MACs that sampling and ascent find."""
        return self._extreme(1)[0]

    def smallest(self) -> Arch:
        """The member that ``min_macs`` counts."""
        return self._extreme(-1)[1]

    def _extreme(self, sign: int) -> tuple[int, Arch]:
        if sign not in self._extremes:
            self._extremes[sign] = self._walk(sign)
        return self._extremes[sign]

    def _walk(self, sign: int) -> tuple[int, Arch]:
        rng = np.random.default_rng(0)
        starts = sorted((sign * self.macs(a), a) for a in self.sample_batch(rng, NUM_SAMPLES))[-NUM_WALKS:]
        best, member = starts[-1]
        patience = PATIENCE + PATIENCE_PER_DIMENSION * len(member)
        for value, arch in starts:
            idle = 0
            while idle < patience:
                child = self.mutate(arch, rng)
                score = sign * self.macs(child)
                idle = 0 if score > value else idle + 1
                if score >= value:
                    value, arch = score, child
            if value > best:
                best, member = value, arch
        return sign * best, member
