"""The interface of a pruning criterion: it scores every weight of a layer, and the lowest scores are pruned first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class ScoreContext:
    """What a criterion may use besides a layer's weights.

    Attributes:
        macs_per_weight: MACs that one weight of the layer costs per image (its number of output positions).
        generator: a CPU generator seeded for this layer alone; the same seed gives the same scores.
        gradient: gradient of the loss with respect to the weight, same shape; ``None`` unless asked for.

    """

    macs_per_weight: int
    generator: torch.Generator
    gradient: Tensor | None = None


class Criterion(Protocol):
    """A class named ``Criterion`` in a file of its own in ``pruning/criteria``; the file's name is the criterion's."""

    needs_gradients: bool
    """Whether it needs :attr:`ScoreContext.gradient`; the caller must then give batches."""

    def scores(self, weight: Tensor, context: ScoreContext) -> Tensor:
        """Return one score per weight: same shape, float32, finite, at least 0; weights with higher scores are kept.

        Scores are compared across layers when the scope is global. The score of a weight that is already zero is
        ignored: it stays zero. ``weight`` must not be changed.
        """
        ...
