"""Magnitude: a weight matters as much as its absolute value (Han et al. 2015, arXiv 1506.02626)."""

from __future__ import annotations

from torch import Tensor

from pruning.criterion import ScoreContext


class Criterion:
    """``|w|``."""

    needs_gradients = False

    def scores(self, weight: Tensor, context: ScoreContext) -> Tensor:
        """Absolute value of each weight."""
        return weight.detach().abs().float()
