"""Magnitude per MAC saved: a weight that is used at many positions must be larger to be kept.

Global magnitude keeps the weights with the largest sum of squares for a given number of weights. For a given number of
MACs, this is a knapsack problem, whose relaxation is solved by taking weights in order of ``w² / MACs`` (Dantzig 1957).
The score is the square root of that ratio, which gives the same order without overflow. Within a layer, the order is
that of magnitude.
"""

from __future__ import annotations

import math

from torch import Tensor

from pruning.criterion import ScoreContext


class Criterion:
    """``|w| / sqrt(macs_per_weight)``."""

    needs_gradients = False

    def scores(self, weight: Tensor, context: ScoreContext) -> Tensor:
        """Absolute value of each weight divided by the square root of the MACs it costs."""
        return weight.detach().abs().float() / math.sqrt(max(1, context.macs_per_weight))
