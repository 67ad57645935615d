"""Magnitude per MAC saved: a weight that is used at many positions must be larger to stay.

Keeping the largest sum of ``|w|`` within a MACs budget is a knapsack; taking weights in order of value per cost solves
its relaxation exactly (Dantzig 1957). Within one layer it orders the weights as magnitude does.
"""

from __future__ import annotations

from torch import Tensor

from pruning.criterion import ScoreContext


class Criterion:
    """``|w| / macs_per_weight``."""

    needs_gradients = False

    def scores(self, weight: Tensor, context: ScoreContext) -> Tensor:
        """Absolute value of each weight over the MACs it costs."""
        return weight.detach().abs().float() / max(1, context.macs_per_weight)
