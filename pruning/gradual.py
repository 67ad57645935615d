"""Gradual pruning during training: new masks at fixed points of its progress (Zhu & Gupta 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from pruning.gradients import Batches
from pruning.layers import LayerFilter
from pruning.masks import Masks
from pruning.schedules import gradual
from pruning.solve import Scope, prune_to_macs

NUM_STEPS = 20
"""Number of mask changes over the whole training; between two changes, the network trains with fixed masks."""


@dataclass(frozen=True, eq=False)
class GradualPruner:
    """Masks for a point of a training, from cubic MACs targets (:func:`pruning.schedules.gradual`).

    It is stateless: the masks of a step follow from the weights at that point, in which all that was pruned is zero. So
    a training resumed from a checkpoint prunes just as an uninterrupted one does.
    """

    input_size: tuple[int, int, int]
    start_macs: int
    target_macs: int
    criterion: str
    scope: Scope
    end: float = 0.75
    keep: LayerFilter | None = None
    floor: float = 0.0
    seed: int = 0
    batches: Batches | None = None

    def masks(self, model: nn.Module, done: int, total: int) -> Masks | None:
        """New masks before update ``done`` (from 0) of ``total``, or None if the masks do not change.

        It raises what :func:`pruning.solve.prune_to_macs` raises.
        """
        step = self._step(done, total)
        if 0 < done < total - 1 and step == self._step(done - 1, total):
            return None
        # A step uses the target of its end, so that the first step prunes and the last ones are at the final target.
        progress = 1.0 if done + 1 >= total else (step + 1) / NUM_STEPS
        target = gradual(progress, self.start_macs, self.target_macs, end=self.end)
        result = prune_to_macs(
            model,
            self.input_size,
            target,
            criterion=self.criterion,
            scope=self.scope,
            keep=self.keep,
            floor=self.floor,
            seed=self.seed,
            batches=self.batches,
        )
        return result.masks

    @staticmethod
    def _step(done: int, total: int) -> int:
        return math.floor(NUM_STEPS * done / max(1, total))
