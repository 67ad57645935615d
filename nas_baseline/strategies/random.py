"""Random search: distinct networks within the targets, which take turns. The control of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas_baseline.proposing.batch_strategy import BatchStrategy, Targets
from nas_baseline.proposing.pool import constrained_pool, spread
from nas_baseline.spaces.base import Arch, SearchSpace

POOL_SIZE = 1000


@dataclass(frozen=True)
class Options:
    """Random search has no settings."""


class Strategy(BatchStrategy):
    """All trials are one batch: it never waits for a value to propose the next network."""

    def __init__(
        self, space: SearchSpace, seed: int, num_trials: int, max_macs: Targets, options: Options | None = None
    ) -> None:
        super().__init__(space, seed, num_trials, max_macs)
        del options

    def next_batch(self, rng: np.random.Generator, room: int) -> list[Arch]:
        """Every trial at once."""
        if self._pools:
            return []
        self._pools = [constrained_pool(self.space, t, max(POOL_SIZE, 4 * room), self.seed) for t in self.targets]
        return spread(self._pools, room, taken=set(self.proposed))
