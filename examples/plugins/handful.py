"""A search strategy of your own: a config names it as ``strategy: {name: handful, options: {pool: 20}}``."""

from dataclasses import dataclass

from nas_baseline.proposing.batch_strategy import BatchStrategy
from nas_baseline.proposing.pool import constrained_pool, spread


@dataclass(frozen=True)
class Options:
    """Keys of ``strategy.options``, each with a default."""

    pool: int = 50


class Strategy(BatchStrategy):
    """One batch: networks drawn at random within each target, spread over their sizes."""

    def __init__(self, space, seed, num_trials, max_macs, options):
        super().__init__(space, seed, num_trials, max_macs)
        self.pool = options.pool

    def next_batch(self, rng, room):
        """Networks to train next; an empty list ends the search."""
        if self._pools:
            return []
        self._pools = [constrained_pool(self.space, t, max(self.pool, 4 * room), self.seed) for t in self.targets]
        return spread(self._pools, room, taken=set(self.proposed))
