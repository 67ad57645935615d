"""Draws the candidates a strategy chooses from: distinct networks within a MACs limit, spread by a Sobol sequence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np

from nas_baseline.spaces.base import (
    Arch,
    BatchedSpace,
    DiscreteSpace,
    FromUnit,
    Ints,
    OfChoices,
    as_archs,
    as_indices,
)
from nas_baseline.spaces.looped import own

ENUMERATE_UP_TO = 20_000
MAX_ROUNDS = 8
WALK_STEPS = 400
GROW_STEPS = 100
KEPT = 32
"""How many pools are remembered: those of a study's targets, in a few replicates."""


def constrained_pool(space: BatchedSpace, limit: float, size: int, seed: int) -> list[Arch]:
    """Up to ``size`` distinct canonical networks of at most ``limit`` MACs.

    A small space is enumerated. A larger one is sampled by quasi-Monte-Carlo (FBNetV3, arXiv 2006.02049, section 3.2).
    If fewer than a quarter of ``size`` are within the limit, members are walked down to it by mutations; if these are
    still too few, mutations within the limit add to them and to the smallest member. The answer for a
    :class:`DiscreteSpace`, which never changes, is remembered, because ``plan`` simulates a study several times.
    """
    if isinstance(space, DiscreteSpace):
        return list(_remembered(space, limit, size, seed))
    return list(_drawn(space, limit, size, seed))


def _drawn(space: BatchedSpace, limit: float, size: int, seed: int) -> tuple[Arch, ...]:
    rng = np.random.default_rng([seed, 1])
    everything = enumerate_space(space)
    if everything is not None:
        inside = _within(space, everything, limit)
        keep = rng.permutation(len(inside))[:size]
        return tuple(inside[i] for i in keep)
    found: dict[Arch, None] = {}
    draw = _Sampler(space, seed)
    batch = 1 << max(8, int(np.ceil(np.log2(size))))
    for _ in range(MAX_ROUNDS):
        found.update(dict.fromkeys(_within(space, draw(batch), limit)))
        if len(found) >= size:
            break
    archs = list(found)[:size]
    if len(archs) < size // 4:
        archs += [a for a in _walk_down(space, draw(batch)[: size // 4], limit, rng) if a not in found]
        archs = list(dict.fromkeys(archs))
    if len(archs) < size // 4:
        archs = _grow(space, archs, limit, size // 4, rng)
    return tuple(archs[:size])


_remembered = lru_cache(maxsize=KEPT)(_drawn)


def enumerate_space(space: BatchedSpace, up_to: int = ENUMERATE_UP_TO) -> list[Arch] | None:
    """Every canonical member of a small product space, or None if it is larger or not a product."""
    counts = _num_choices(space)
    if counts is None or float(np.prod([float(c) for c in counts])) > up_to:
        return None
    everything: list[Arch] = list(product(*(range(int(c)) for c in counts)))
    if isinstance(space, DiscreteSpace):
        return list(dict.fromkeys(as_archs(space.canonical_indices(as_indices(everything)))))
    return list(dict.fromkeys(space.canonical(a) for a in everything))


class _Sampler:
    """Draws members: from Sobol points if the space can map them, otherwise independently."""

    def __init__(self, space: BatchedSpace, seed: int) -> None:
        self._space = space
        self._rng = np.random.default_rng([seed, 2])
        self._sobol = None
        counts = _num_choices(space)
        as_written = own(space)
        self._mapped = as_written if isinstance(as_written, FromUnit) else None
        if counts is not None and self._mapped is not None:
            from scipy.stats import qmc  # imported here, since reading a config must not import scipy

            self._sobol = qmc.Sobol(len(counts), rng=np.random.default_rng([seed, 3]))

    def __call__(self, n: int) -> list[Arch]:
        if self._sobol is None or self._mapped is None:
            return list(self._space.sample_batch(self._rng, n))
        return list(self._mapped.from_unit(self._sobol.random(n)))


def _num_choices(space: BatchedSpace) -> Sequence[int] | Ints | None:
    """How many choices each dimension has; None if the space is not a product of dimensions."""
    as_written = own(space)
    return as_written.num_choices if isinstance(as_written, OfChoices) else None


def _within(space: BatchedSpace, archs: Sequence[Arch], limit: float) -> list[Arch]:
    if not archs:
        return []
    inside = space.macs_batch(archs) <= limit
    return [a for a, ok in zip(archs, inside, strict=True) if ok]


def _walk_down(space: BatchedSpace, archs: Sequence[Arch], limit: float, rng: np.random.Generator) -> list[Arch]:
    """The members reached within the limit by mutations that never raise MACs."""
    current, macs = list(archs), space.macs_batch(archs)
    for _ in range(WALK_STEPS):
        outside = np.flatnonzero(macs > limit)
        if len(outside) == 0:
            break
        children = [space.mutate(current[i], rng) for i in outside]
        for i, child, value in zip(outside, children, space.macs_batch(children), strict=True):
            if value <= macs[i]:
                current[i], macs[i] = child, value
    return _within(space, current, limit)


def _grow(space: BatchedSpace, archs: list[Arch], limit: float, size: int, rng: np.random.Generator) -> list[Arch]:
    """The members and, up to ``size``, those that mutations within the limit reach from them."""
    found = dict.fromkeys([*archs, *_within(space, [space.smallest()], limit)])
    for _ in range(GROW_STEPS):
        if len(found) >= size or not found:
            break
        members = list(found)
        parents = [members[int(i)] for i in rng.integers(len(members), size=size)]
        found.update(dict.fromkeys(_within(space, [space.mutate(parent, rng) for parent in parents], limit)))
    return list(found)[: max(size, len(archs))]


def spread(pools: Sequence[Sequence[Arch]], count: int, taken: set[Arch]) -> list[Arch]:
    """Up to ``count`` distinct networks not in ``taken``, one from each pool in turn."""
    queues = [iter(p) for p in pools]
    chosen: dict[Arch, None] = {}
    while queues and len(chosen) < count:
        for queue in list(queues):
            arch = next((a for a in queue if a not in taken and a not in chosen), None)
            if arch is None:
                queues.remove(queue)
            elif len(chosen) < count:
                chosen[arch] = None
    return list(chosen)
