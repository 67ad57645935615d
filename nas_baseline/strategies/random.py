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
    """``first_batch`` and ``batch`` count trials; 0: all that are left. Values of one batch are awaited before the next."""

    first_batch: int = 0
    batch: int = 0

    def __post_init__(self) -> None:
        if self.first_batch < 0 or self.batch < 0:
            raise ValueError(f"first_batch and batch must be at least 0, not {self.first_batch} and {self.batch}")

    def batches(self, num_trials: int) -> tuple[int, int]:
        """See :class:`nas_baseline.strategies.Batched`."""
        return self.first_batch or num_trials, self.batch or num_trials


class Strategy(BatchStrategy):
    """Its proposals depend on no value; unless told to, it does not wait for any."""

    def __init__(
        self, space: SearchSpace, seed: int, num_trials: int, max_macs: Targets, options: Options | None = None
    ) -> None:
        super().__init__(space, seed, num_trials, max_macs)
        self.options = options or Options()

    def next_batch(self, rng: np.random.Generator, room: int) -> list[Arch]:
        """Every trial that is left, or as many as the options say."""
        if not self._pools:
            self._pools = [constrained_pool(self.space, t, max(POOL_SIZE, 4 * room), self.seed) for t in self.targets]
        first, later = self.options.batches(room)
        return spread(self._pools, min(later if self.proposed else first, room), taken=set(self.proposed))
