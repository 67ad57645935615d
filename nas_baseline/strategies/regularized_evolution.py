"""Regularised evolution (Real et al., arXiv 1802.01548, algorithm 1): tournaments among the youngest, mutation, ageing.

With several targets, the parent of each proposal is drawn among the networks within one of them, in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_baseline.proposing.batch_strategy import BatchStrategy, Targets
from nas_baseline.proposing.pool import constrained_pool, spread
from nas_baseline.spaces.base import Arch, SearchSpace

MAX_TRIES = 50
POOL_SIZE = 1000


@dataclass(frozen=True)
class Options:
    """``population``: the youngest that stay alive; ``tournament``: drawn per parent; ``batch``: trials at a time."""

    population: int = 20
    tournament: int = 5
    batch: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.tournament <= self.population:
            raise ValueError(f"tournament must be from 1 to population ({self.population}), not {self.tournament}")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")

    def batches(self, num_trials: int) -> tuple[int, int]:
        """See :class:`nas_baseline.strategies.Batched`."""
        return min(self.population, max(1, num_trials // 2)), self.batch


class Strategy(BatchStrategy):
    """First ``population`` random networks (at most half of the trials), then children of tournament winners."""

    def __init__(
        self, space: SearchSpace, seed: int, num_trials: int, max_macs: Targets, options: Options | None = None
    ) -> None:
        super().__init__(space, seed, num_trials, max_macs)
        self.options = options or Options()

    def next_batch(self, rng: np.random.Generator, room: int) -> list[Arch]:
        """Random networks first, then mutated winners; random ones again where mutation finds nothing new."""
        taken = set(self.proposed)
        if not self._pools:
            self._pools = [constrained_pool(self.space, t, POOL_SIZE, self.seed) for t in self.targets]
            return spread(self._pools, self.options.batches(room)[0], taken)
        batch: list[Arch] = []
        for i in range(min(self.options.batch, room)):
            limit = self.targets[(len(self.proposed) + i) % len(self.targets)]
            child = self._child(limit, taken, rng)
            if child is None:
                batch += (spare := spread(self._pools, 1, taken))
                taken.update(spare)
            else:
                batch.append(child)
                taken.add(child)
        return batch

    def _child(self, limit: float, taken: set[Arch], rng: np.random.Generator) -> Arch | None:
        alive = self.seen(limit)[-self.options.population :]
        if not alive:
            return None
        for _ in range(MAX_TRIES):
            drawn = rng.integers(len(alive), size=self.options.tournament)
            parent = max((alive[int(d)] for d in drawn), key=lambda pair: pair[1])[0]
            child = self.space.mutate(parent, rng)
            if child not in taken and self.space.macs(child) <= limit:
                return child
        return None
