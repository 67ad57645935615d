"""FBNetV3's search: a pool within the constraint, a predictor refitted between batches, genetic search at the end.

Stage 1, constrained iterative optimisation (arXiv 2006.02049, section 3.2): the first batch is quasi-Monte-Carlo; later
batches have the highest upper confidence bound among the pool and the networks that a short evolution of the bound finds.
Stage 1 serves all targets, which share each batch. Stage 2 (``finalists``): adaptive genetic search over the predictor, for
one target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nas_baseline.predictor.base import Encoder, Predictor
from nas_baseline.predictor.gaussian_process import GaussianProcess
from nas_baseline.proposing.batch_strategy import BatchStrategy, Targets
from nas_baseline.proposing.genetic import GeneticOptions, evolve
from nas_baseline.proposing.pool import constrained_pool, enumerate_space, spread
from nas_baseline.spaces.base import Arch, Floats, SearchSpace

POOL_SIZE = 4000
NUM_STARTS = 50
NUM_RANDOM_STARTS = 500
PREDICTORS = ("gp", "mlp")
SHORT = GeneticOptions(population=100, generations=10, patience=3)


@dataclass(frozen=True)
class Options:
    """Settings, the same for every space.

    ``first_batch`` (at most half of the trials) and ``batch`` count trials; ``confidence`` multiplies the standard
    deviation in the bound; ``own_share`` (0-1) is how much of a value that the predictor does not explain is the
    network's own and not noise; ``predictor`` is ``gp`` (Gaussian process) or ``mlp`` (FBNetV3's pretrained network).
    """

    first_batch: int = 8
    batch: int = 4
    confidence: float = 1.5
    own_share: float = 0.4
    predictor: str = "gp"

    def __post_init__(self) -> None:
        if self.first_batch < 1 or self.batch < 1:
            raise ValueError(f"first_batch and batch must be at least 1, not {self.first_batch} and {self.batch}")
        if not 0 <= self.confidence <= 1000:
            raise ValueError(f"confidence must be from 0 to 1000, not {self.confidence}")
        if not 0 <= self.own_share <= 1:
            raise ValueError(f"own_share must be from 0 to 1, not {self.own_share}")
        if self.predictor not in PREDICTORS:
            raise ValueError(f"predictor '{self.predictor}' is not known; allowed: {', '.join(PREDICTORS)}")

    def batches(self, num_trials: int) -> tuple[int, int]:
        """See :class:`nas_baseline.strategies.Batched`."""
        return min(self.first_batch, max(2, num_trials // 2)), self.batch


class Strategy(BatchStrategy):
    """The default strategy."""

    predicts: ClassVar[bool] = True

    def __init__(
        self, space: SearchSpace, seed: int, num_trials: int, max_macs: Targets, options: Options | None = None
    ) -> None:
        super().__init__(space, seed, num_trials, max_macs)
        self.options = options or Options()
        self._encode: Encoder | None = None
        self._model: tuple[int, Predictor] | None = None
        everything = enumerate_space(self.space)
        self._whole = everything is not None and len(everything) <= POOL_SIZE

    def extend(self, max_macs: Targets, num_trials: int) -> None:
        """See :meth:`BatchStrategy.extend`; the encoder stays as it was fitted to the first pools."""
        if self._pools:
            self._encoder()
        super().extend(max_macs, num_trials)

    def revise(self, values: Mapping[int, float | None]) -> None:
        """See :meth:`BatchStrategy.revise`; the predictor will be refitted."""
        super().revise(values)
        if self._model is not None:
            self._model = 0, self._model[1]

    def next_batch(self, rng: np.random.Generator, room: int) -> list[Arch]:
        """The first batch, or the most promising networks by upper confidence bound."""
        taken = set(self.proposed)
        if not self._pools:
            self._pools = [constrained_pool(self.space, t, POOL_SIZE, self.seed) for t in self.targets]
        first, later = self.options.batches(self.num_trials)
        model = self._fitted()
        if model is None:
            return spread(self._pools, min(first, room), taken)
        count = min(later, room)
        chosen: list[list[Arch]] = []
        for i in range(len(self.targets)):
            # Targets take turns at being first, so over the batches all get the same share.
            archs = self._candidates(model, (self._num_batches + i) % len(self.targets), rng, taken)
            share = math.ceil(count / len(self.targets))
            picks = model.choose(self._encoder()(archs), share, self.options.confidence) if archs else []
            chosen.append([archs[j] for j in picks])
            taken.update(chosen[-1])
        return spread(chosen, count, set(self.proposed))

    def ranked(self, max_macs: float | None = None) -> list[tuple[Arch, float]]:
        """What was seen within the limit, best first, with the value the predictor makes of the one told."""
        seen, model = self.seen(), self._fitted()
        if model is None:
            return super().ranked(max_macs)
        believed = model.believed(np.array([v for _, v in seen]), self.options.own_share).tolist()
        by_arch = {arch: value for (arch, _), value in zip(seen, believed, strict=True)}
        return sorted(((a, by_arch[a]) for a, _ in self.seen(max_macs)), key=lambda pair: -pair[1])

    def predict(self, archs: Sequence[Arch]) -> tuple[Floats, Floats] | None:
        """The predictor's mean and standard deviation for networks, or None before it can be fitted."""
        model = self._fitted()
        return None if model is None else model.predict(self._encoder()(archs))

    def finalists(self, max_macs: int | None, k_predicted: int, k_seen: int) -> list[Arch]:
        """The ``k_seen`` best seen, then the ``k_predicted`` best that stage 2 predicts beyond all seen.

        Where that is none (nothing to predict from, or nothing beyond), the best seen.
        """
        return self._finalists(max_macs, k_predicted, k_seen) or super().finalists(max_macs, 0, 1)

    def _finalists(self, max_macs: int | None, k_predicted: int, k_seen: int) -> list[Arch]:
        chosen = super().finalists(max_macs, k_predicted, k_seen)
        model = self._fitted()
        if model is None or k_predicted == 0:
            return chosen
        limit = math.inf if max_macs is None else float(max_macs)
        rng = np.random.default_rng([self.seed, 7, max_macs or 0])
        start = [a for a, _ in self.ranked(limit)[:NUM_STARTS]]
        start += constrained_pool(self.space, limit, NUM_RANDOM_STARTS, self.seed)
        scored = evolve(self.space, lambda archs: model.bound(self._encoder()(archs), 0.0), start, limit, rng)
        known = set(self.proposed)  # Networks that failed are not tried again.
        return chosen + [arch for arch, _ in scored if arch not in known][:k_predicted]

    def _fitted(self) -> Predictor | None:
        """The predictor fitted on everything told, fitting it if something is new."""
        seen = self.seen()
        if len(seen) < 2:
            return None
        if self._model is None or self._model[0] != len(seen):  # 0: told values have changed
            model = self._model[1] if self._model else self._new_predictor()
            model.fit(self._encoder()([a for a, _ in seen]), np.array([v for _, v in seen]))
            self._model = (len(seen), model)
        return self._model[1]

    def _new_predictor(self) -> Predictor:
        if self.options.predictor == "gp":
            return GaussianProcess()
        # torch is only imported if the network is requested
        from nas_baseline.predictor.mlp import MLPPredictor

        model = MLPPredictor(self.seed)
        model.pretrain(self._encoder()(self._pools[-1]))
        return model

    def _encoder(self) -> Encoder:
        if self._encode is None:
            self._encode = Encoder(self.space, self._pools[-1])
        return self._encode

    def _candidates(self, model: Predictor, i: int, rng: np.random.Generator, taken: set[Arch]) -> list[Arch]:
        """Networks within target ``i`` not yet taken: the pool, and what evolving the bound finds."""
        pool, limit = self._pools[i], self.targets[i]
        found: list[Arch] = []
        self._encoder().keep(pool)
        if not self._whole:
            bounds = model.bound(self._encoder()(pool), self.options.confidence)
            best = [pool[j] for j in np.argsort(-bounds, kind="stable")[:NUM_STARTS]]
            start = best + [a for a, _ in self.ranked(limit)[:NUM_STARTS]]
            scored = evolve(
                self.space, lambda archs: model.bound(self._encoder()(archs), self.options.confidence), start, limit, rng,
                SHORT,
            )  # fmt: skip
            found = [a for a, _ in scored[:POOL_SIZE]]
        return [a for a in dict.fromkeys([*found, *pool]) if a not in taken]
