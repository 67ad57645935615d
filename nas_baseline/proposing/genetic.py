"""Adaptive genetic search over a predictor: FBNetV3's stage 2 (arXiv 2006.02049, section 3.3), minutes on a CPU.

It starts from the best and some random networks within the limit. Each generation keeps the fittest, makes children by
mutation and crossover, and drops those above the limit. The search stops when the best score no longer rises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nas_baseline.spaces.base import Arch, BatchedSpace, Floats


@dataclass(frozen=True)
class GeneticOptions:
    """Sizes of the genetic search; ``patience``: generations without a rise above ``min_gain`` before it ends."""

    population: int = 200
    parents: int = 50
    generations: int = 100
    mutated_share: float = 0.6
    patience: int = 10
    min_gain: float = 1e-6


def evolve(
    space: BatchedSpace,
    score: Callable[[Sequence[Arch]], Floats],
    start: Sequence[Arch],
    limit: float,
    rng: np.random.Generator,
    options: GeneticOptions = GeneticOptions(),
) -> list[tuple[Arch, float]]:
    """Every network scored, with its score, best first; ``start`` must hold one network within the limit.

    ``score`` maps networks to values, shape [n], higher is better.
    """
    start = _within(space, dict.fromkeys(start), limit)
    if not start:
        raise ValueError("evolution needs at least one network within the limit to start from")
    scores: dict[Arch, float] = dict(zip(start, score(start).tolist(), strict=True))
    best, idle = max(scores.values()), 0
    for _ in range(options.generations):
        parents = sorted(scores, key=lambda a: -scores[a])[: options.parents]
        children = dict.fromkeys(c for c in _children(space, parents, options, rng) if c not in scores)
        fresh = _within(space, children, limit)
        if fresh:
            scores.update(zip(fresh, score(fresh).tolist(), strict=True))
        top = max(scores.values())
        idle = 0 if top > best + options.min_gain else idle + 1
        best = max(best, top)
        if idle >= options.patience:
            break
    return sorted(scores.items(), key=lambda pair: -pair[1])


def _children(
    space: BatchedSpace, parents: Sequence[Arch], options: GeneticOptions, rng: np.random.Generator
) -> list[Arch]:
    children = []
    for _ in range(options.population):
        a = parents[int(rng.integers(len(parents)))]
        if rng.random() < options.mutated_share or len(parents) == 1:
            children.append(space.mutate(a, rng))
        else:
            children.append(space.crossover(a, parents[int(rng.integers(len(parents)))], rng))
    return children


def _within(space: BatchedSpace, archs: dict[Arch, None], limit: float) -> list[Arch]:
    if not archs:
        return []
    listed = list(archs)
    return [a for a, m in zip(listed, space.macs_batch(listed), strict=True) if m <= limit]
