"""FBNetV3's search: a pool within the constraint, a predictor refitted between batches, genetic search at the end.

Stage 1, constrained iterative optimisation (arXiv 2006.02049, section 3.2): a quasi-Monte-Carlo first batch, then
batches of the networks with the highest upper confidence bound among the pool and the neighbours of the best. One
stage 1 serves every target: batches take turns between the targets. Stage 2 (``finalists``): adaptive genetic search
over the predictor for one target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas_baseline.barriers import BatchStrategy, Targets
from nas_baseline.gaussian_process import GaussianProcess, Inputs
from nas_baseline.genetic import evolve
from nas_baseline.pool import constrained_pool, spread
from nas_baseline.space import Arch, Floats, SearchSpace

POOL_SIZE = 4000
NUM_ELITES = 10
CHILDREN_PER_ELITE = 30


@dataclass(frozen=True)
class Options:
    """``first_batch`` and ``batch`` count trials; ``confidence`` multiplies the standard deviation in the bound."""

    first_batch: int = 10
    batch: int = 5
    confidence: float = 1.5

    def __post_init__(self) -> None:
        if self.first_batch < 1 or self.batch < 1:
            raise ValueError(f"first_batch and batch must be at least 1, not {self.first_batch} and {self.batch}")
        if self.confidence < 0:
            raise ValueError(f"confidence must not be negative, it is {self.confidence}")


class Strategy(BatchStrategy):
    """The default strategy."""

    def __init__(
        self, space: SearchSpace, seed: int, num_trials: int, max_macs: Targets, options: Options | None = None
    ) -> None:
        super().__init__(space, seed, num_trials, max_macs)
        self.options = options or Options()
        self._pools: list[list[Arch]] = []
        self._encodings: dict[Arch, Floats] = {}
        self._stats_scale: tuple[Floats, Floats] | None = None
        self._model: tuple[int, GaussianProcess] | None = None

    def next_batch(self, rng: np.random.Generator, room: int) -> list[Arch]:
        """Return the first batch, or the most promising networks by upper confidence bound."""
        taken = set(self.proposed)
        if not self._pools:
            self._pools = [constrained_pool(self.space, t, POOL_SIZE, self.seed) for t in self.targets]
        model = self._fitted()
        if len(self.proposed) < self.options.first_batch or model is None:
            count = max(self.options.first_batch - len(self.proposed), 0) or self.options.batch
            return spread(self._pools, min(count, room), taken)
        count = min(self.options.batch, room)
        ranked = [self._by_bound(model, i, rng, taken) for i in range(len(self.targets))]
        turn = self._num_batches
        order = [ranked[(turn + i) % len(ranked)] for i in range(len(ranked))]
        return spread(order, count, taken)

    def ranked(self, max_macs: float | None = None) -> list[tuple[Arch, float]]:
        """Return what was seen within the limit by posterior mean, best first."""
        seen, model = self.seen(max_macs), self._fitted()
        if model is None or not seen:
            return super().ranked(max_macs)
        archs = [a for a, _ in seen]
        mean, _ = model.predict(self._inputs(archs))
        return sorted(zip(archs, mean.tolist(), strict=True), key=lambda pair: -pair[1])

    def finalists(self, max_macs: int | None, k_predicted: int, k_seen: int) -> list[Arch]:
        """Return the ``k_seen`` best seen, then the ``k_predicted`` best that stage 2 predicts beyond them."""
        chosen = super().finalists(max_macs, k_predicted, k_seen)
        model = self._fitted()
        if model is None or k_predicted == 0:
            return chosen
        limit = math.inf if max_macs is None else max_macs
        rng = np.random.default_rng([self.seed, 7, 0 if max_macs is None else max_macs])
        start = [a for a, _ in self.ranked(limit)[:50]] + constrained_pool(self.space, limit, 500, self.seed)
        scored = evolve(self.space, lambda archs: model.predict(self._inputs(archs))[0], start, limit, rng)
        known = {*chosen, *(a for a, _ in self.seen(None))}
        return chosen + [a for a, _ in scored if a not in known][:k_predicted]

    def _fitted(self) -> GaussianProcess | None:
        seen = self.seen()
        if len(seen) < 2:
            return None
        if self._model is None or self._model[0] != len(seen):
            model = GaussianProcess()
            model.fit(self._inputs([a for a, _ in seen]), np.array([v for _, v in seen]))
            self._model = (len(seen), model)
        return self._model[1]

    def _by_bound(self, model: GaussianProcess, i: int, rng: np.random.Generator, taken: set[Arch]) -> list[Arch]:
        limit = self.targets[i]
        elites = [a for a, _ in self.ranked(limit)[:NUM_ELITES]]
        near = [self.space.mutate(a, rng) for a in elites for _ in range(CHILDREN_PER_ELITE)]
        near = [a for a, m in zip(near, self.space.macs_batch(near), strict=True) if m <= limit] if near else []
        archs = [a for a in dict.fromkeys([*self._pools[i], *near]) if a not in taken]
        if not archs:
            return []
        mean, sd = model.predict(self._inputs(archs))
        order = np.argsort(-(mean + self.options.confidence * sd), kind="stable")
        return [archs[j] for j in order[: 4 * self.options.batch]]

    def _inputs(self, archs: Sequence[Arch]) -> Inputs:
        """Encodings, and the logarithms of MACs and weights scaled by their spread in the pool."""
        if self._stats_scale is None:
            pool = self._pools[-1]
            raw = self._statistics(pool)
            sd = raw.std(0)
            self._stats_scale = (raw.mean(0), np.where(sd > 0, sd, 1.0))
        mean, sd = self._stats_scale
        return Inputs(self.space.encode_batch(archs), (self._statistics(archs) - mean) / sd)

    def _statistics(self, archs: Sequence[Arch]) -> Floats:
        counts = np.stack([self.space.macs_batch(archs), self.space.params_batch(archs)], axis=1)
        return np.log1p(counts.astype(np.float64))
