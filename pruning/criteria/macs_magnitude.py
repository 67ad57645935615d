"""Magnitude per MAC saved: a weight that is used at many positions must be larger to stay.

Global magnitude keeps the weights of the largest sum of squares for a number of weights. The same for a number of MACs
is a knapsack, whose relaxation is solved by taking weights in order of ``w² / MACs`` (Dantzig 1957); its square root is
the score here, which gives the same order without overflow. Within one layer the order is that of magnitude.
"""

from __future__ import annotations

import math

from torch import Tensor

from pruning.criterion import ScoreContext


class Criterion:
    """``|w| / sqrt(macs_per_weight)``."""

    needs_gradients = False

    def scores(self, weight: Tensor, context: ScoreContext) -> Tensor:
        """Absolute value of each weight over the root of the MACs it costs."""
        return weight.detach().abs().float() / math.sqrt(max(1, context.macs_per_weight))
