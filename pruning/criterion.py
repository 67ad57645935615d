"""What a pruning criterion is: a rule that gives every weight of a layer a score; the lowest are pruned first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class ScoreContext:
    """What a criterion may use besides a layer's weights.

    Attributes:
        macs_per_weight: MACs that one weight of the layer costs for one image (its output positions).
        generator: seeded for this layer alone, on the CPU; the same seed gives the same scores.
        gradient: gradient of the loss with respect to the weight, same shape; ``None`` unless asked for.

    """

    macs_per_weight: int
    generator: torch.Generator
    gradient: Tensor | None = None


class Criterion(Protocol):
    """One file in ``pruning/criteria``, the class named ``Criterion``; the file's name is the criterion's."""

    needs_gradients: bool
    """Whether it needs :attr:`ScoreContext.gradient` (the caller must then give batches)."""

    def scores(self, weight: Tensor, context: ScoreContext) -> Tensor:
        """Give one score per weight: same shape, float32, finite, at least 0; higher means keep.

        Scores are compared across layers when the scope is global. The score of a weight that is already zero is
        ignored (it stays zero). Must not change ``weight``.
        """
        ...
