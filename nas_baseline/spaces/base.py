"""The interface of a search space, and the base class of spaces whose members are one choice per dimension.

An *Arch* is a tuple of ints, the index of the choice in each dimension: hashable, comparable, JSON-serialisable.
MACs are multiply-accumulates of one image through convolution and linear layers; params are the weights of those
layers (no biases, no batch norm). Both are analytic: no network is built.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Arch = tuple[int, ...]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Choice = int | float | str


class SearchSpace(Protocol):
    """Members of a space, moves between them, and their cost. These methods suffice; see ``batched``.

    A space may also have what :class:`MergesEqual`, :class:`CountsParams`, :class:`OfChoices`, :class:`FromUnit` and
    :class:`MarksRecipe` have.
    """

    @property
    def name(self) -> str:
        """Name for messages and records."""
        ...

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw one member."""
        ...

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """A neighbour of ``arch``."""
        ...

    def crossover(self, a: Arch, b: Arch, rng: np.random.Generator) -> Arch:
        """A child that has each dimension from one of its parents."""
        ...

    def encode(self, arch: Arch) -> Floats:
        """Features, shape [num_features]."""
        ...

    def macs(self, arch: Arch) -> int:
        """Multiply-accumulates of one image."""
        ...


@runtime_checkable
class MergesEqual(Protocol):
    """A space in which several members may be the same network."""

    def canonical(self, arch: Arch) -> Arch:
        """The one representative of all members that are the same network."""
        ...


@runtime_checkable
class CountsParams(Protocol):
    """A space that knows the size of its networks; predictors then use it."""

    def params(self, arch: Arch) -> int:
        """The number of convolution and linear weights."""
        ...


@runtime_checkable
class OfChoices(Protocol):
    """A space whose members are one choice per dimension; if it is small, all of them are candidates."""

    @property
    def num_choices(self) -> Sequence[int] | Ints:
        """The number of choices of each dimension."""
        ...


@runtime_checkable
class FromUnit(Protocol):
    """A space of choices into which points of the unit cube can be mapped; candidates are then spread evenly."""

    def from_unit(self, points: Floats) -> list[Arch]:
        """Members from points, shape [n, dimensions]."""
        ...


@runtime_checkable
class MarksRecipe(Protocol):
    """A space that includes the training recipe; predictors then keep its features apart from the network's."""

    @property
    def recipe_mask(self) -> NDArray[np.bool_]:
        """Which features belong to the recipe, shape [num_features]."""
        ...


@runtime_checkable
class BatchedSpace(SearchSpace, Protocol):
    """A search space with the vectorised forms that the strategies work on."""

    def canonical(self, arch: Arch) -> Arch:
        """The one representative of all members that are the same network."""
        ...

    def params(self, arch: Arch) -> int:
        """The number of convolution and linear weights; 0 if unknown."""
        ...

    def sample_batch(self, rng: np.random.Generator, n: int) -> list[Arch]:
        """Draw ``n`` canonical members, repeats possible."""
        ...

    def encode_batch(self, archs: Sequence[Arch]) -> Floats:
        """Features, shape [len(archs), num_features]."""
        ...

    def macs_batch(self, archs: Sequence[Arch]) -> Ints:
        """MACs, shape [len(archs)]."""
        ...

    def params_batch(self, archs: Sequence[Arch]) -> Ints:
        """Number of weights, shape [len(archs)]; zeros if unknown."""
        ...

    def min_macs(self) -> int:
        """The MACs of the smallest member."""
        ...

    def max_macs(self) -> int:
        """The MACs of the largest member."""
        ...

    def smallest(self) -> Arch:
        """A member with the fewest MACs."""
        ...


@dataclass(frozen=True)
class Dimension:
    """One choice. ``ordered`` choices are numbers on a scale, encoded as one feature; others one-hot."""

    name: str
    choices: tuple[Choice, ...]
    ordered: bool = False
    log: bool = False

    def __post_init__(self) -> None:
        if not self.choices:
            raise ValueError(f"dimension '{self.name}' has no choices")
        if self.ordered and self.log and min(self.numbers) <= 0:
            raise ValueError(f"dimension '{self.name}': a logarithmic scale needs positive choices")

    @property
    def numbers(self) -> tuple[int | float, ...]:
        """The choices of an ordered dimension."""
        return tuple(choice for choice in self.choices if not isinstance(choice, str))


ONE_HOT = float(np.sqrt(0.5))
"""Value of a one-hot entry: two categories are then at squared distance 1, like the two ends of a scale."""


class DiscreteSpace:
    """A product of dimensions. Subclasses count (``macs_batch``, ``params_batch``) and may merge equal networks.

    It is immutable, so samples drawn from it may be cached.
    """

    def __init__(self, name: str, dimensions: Sequence[Dimension]) -> None:
        self._name = name
        self.dimensions = tuple(dimensions)
        self.num_choices: Ints = np.array([len(d.choices) for d in self.dimensions], dtype=np.int64)
        self._tables = [_encoding_table(d) for d in self.dimensions]
        self._free = np.flatnonzero(self.num_choices > 1)
        self._extremes: dict[int, tuple[int, Arch]] = {}
        if len(self._free) == 0:
            raise ValueError(f"space '{name}' has a single member: give at least one dimension two choices")

    @property
    def name(self) -> str:
        """Name for messages and records."""
        return self._name

    @property
    def size(self) -> int:
        """Number of index tuples (equal networks counted apart)."""
        return int(np.prod(self.num_choices.astype(object)))

    @property
    def recipe_mask(self) -> NDArray[np.bool_]:
        """Which features belong to the training recipe rather than the network: dimensions named ``recipe.*``."""
        return np.repeat(
            [self.dimensions[d].name.startswith("recipe.") for d in self._free],
            [self._tables[d].shape[1] for d in self._free],
        )

    def canonical(self, arch: Arch) -> Arch:
        """The representative of the networks equal to ``arch``: a row of ``canonical_indices``."""
        return as_archs(self.canonical_indices(as_indices([arch])))[0]

    def canonical_indices(self, indices: Ints) -> Ints:
        """Canonical rows, shape [n, dimensions]; here every member is its own."""
        return indices

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw one member uniformly over index tuples."""
        return self.sample_batch(rng, 1)[0]

    def sample_batch(self, rng: np.random.Generator, n: int) -> list[Arch]:
        """Draw ``n`` members uniformly over index tuples."""
        return as_archs(self.canonical_indices(rng.integers(0, self.num_choices, size=(n, len(self.dimensions)))))

    def from_unit(self, points: Floats) -> list[Arch]:
        """Map points of the unit cube, shape [n, dimensions], to members: how a QMC sequence becomes networks."""
        indices = np.minimum((points * self.num_choices).astype(np.int64), self.num_choices - 1)
        return as_archs(self.canonical_indices(indices))

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Change one dimension (sometimes more) to another choice; ordered ones mostly move by one step."""
        start = self.canonical(arch)
        for _ in range(20):
            child = list(arch)
            for _ in range(int(rng.geometric(0.7))):
                d = int(self._free[rng.integers(len(self._free))])
                child[d] = self._other(d, child[d], rng)
            moved = self.canonical(tuple(child))
            if moved != start:
                return moved
        return moved

    def crossover(self, a: Arch, b: Arch, rng: np.random.Generator) -> Arch:
        """Take each dimension from either parent with equal probability."""
        return self.canonical(tuple(x if m else y for x, y, m in zip(a, b, rng.random(len(a)) < 0.5, strict=True)))

    def encode(self, arch: Arch) -> Floats:
        """Features: one per ordered dimension in 0-1, one-hot for the rest; constant dimensions have none."""
        features: Floats = self.encode_batch([arch])[0]
        return features

    def encode_batch(self, archs: Sequence[Arch]) -> Floats:
        """Features, shape [len(archs), num_features]."""
        indices = as_indices(archs)
        found: Floats = np.concatenate([self._tables[d][indices[:, d]] for d in self._free], axis=1)
        return found

    def macs(self, arch: Arch) -> int:
        """Multiply-accumulates of one image."""
        return int(self.macs_batch([arch])[0])

    def params(self, arch: Arch) -> int:
        """The number of convolution and linear weights."""
        return int(self.params_batch([arch])[0])

    def macs_batch(self, archs: Sequence[Arch]) -> Ints:
        """MACs, shape [len(archs)]."""
        raise NotImplementedError

    def params_batch(self, archs: Sequence[Arch]) -> Ints:
        """Weights, shape [len(archs)]; zeros where unknown."""
        return np.zeros(len(archs), dtype=np.int64)

    def min_macs(self) -> int:
        """The MACs of the smallest member found by going down one dimension at a time."""
        return self._extreme(-1)[0]

    def max_macs(self) -> int:
        """The MACs of the largest member found by going up one dimension at a time."""
        return self._extreme(1)[0]

    def smallest(self) -> Arch:
        """The member that ``min_macs`` counts."""
        return self._extreme(-1)[1]

    def neighbours(self, arch: Arch) -> list[Arch]:
        """All members that differ in one dimension."""
        near = [
            self.canonical((*arch[:d], v, *arch[d + 1 :]))
            for d in self._free
            for v in range(self.num_choices[d])
            if v != arch[d]
        ]
        return list(dict.fromkeys(n for n in near if n != arch))

    def _extreme(self, sign: int) -> tuple[int, Arch]:
        if sign not in self._extremes:
            self._extremes[sign] = extreme_member(self, sign)
        return self._extremes[sign]

    def _other(self, d: int, value: int, rng: np.random.Generator) -> int:
        count = int(self.num_choices[d])
        if self.dimensions[d].ordered and rng.random() < 0.7:
            if 0 < value < count - 1:
                return value + 1 if rng.random() < 0.5 else value - 1
            return value + 1 if value == 0 else value - 1
        return int((value + rng.integers(1, count)) % count)


def extreme_member(space: DiscreteSpace, sign: int) -> tuple[int, Arch]:
    """The smallest (sign -1) or largest (+1) MACs and a member that has them.

    Found by coordinate search from both ends of the index range and a few random members; exact if MACs rise with each
    choice.
    """
    rng = np.random.default_rng(0)
    starts = [tuple(0 for _ in space.num_choices), tuple(int(c) - 1 for c in space.num_choices)]
    found: list[tuple[int, Arch]] = []
    for start in [*starts, *space.sample_batch(rng, 4)]:
        arch = space.canonical(start)
        score = sign * space.macs(arch)
        while True:
            near = space.neighbours(arch)
            scores = sign * space.macs_batch(near)
            if int(scores.max()) <= score:
                break
            arch, score = near[int(scores.argmax())], int(scores.max())
        found.append((score, arch))
    score, arch = max(found, key=lambda each: each[0])
    return sign * score, arch


def as_indices(archs: Sequence[Arch]) -> Ints:
    """Archs as an array, shape [n, dimensions]."""
    if len(archs) == 0:
        return np.asarray(archs, dtype=np.int64)
    shape = len(archs), len(archs[0])
    return np.fromiter(itertools.chain.from_iterable(archs), np.int64, shape[0] * shape[1]).reshape(shape)


def as_archs(indices: Ints) -> list[Arch]:
    """Rows as archs."""
    return [tuple(row) for row in indices.tolist()]


def _encoding_table(d: Dimension) -> Floats:
    if not d.ordered:
        return np.eye(len(d.choices)) * ONE_HOT
    values = np.array([float(c) for c in d.choices])
    if d.log:
        values = np.log(values)
    span = values.max() - values.min()
    return ((values - values.min()) / span if span > 0 else np.zeros_like(values))[:, None]
