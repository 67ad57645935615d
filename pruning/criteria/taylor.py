"""First-order Taylor: how much the loss would change without the weight (Molchanov et al. 2019, arXiv 1906.10771)."""

from __future__ import annotations

from torch import Tensor

from pruning.criterion import ScoreContext


class Criterion:
    """``|w * dL/dw|``, the gradient being the mean over the given batches."""

    needs_gradients = True

    def scores(self, weight: Tensor, context: ScoreContext) -> Tensor:
        """First-order estimate of the loss change for each weight."""
        if context.gradient is None:
            raise ValueError("criterion 'taylor' needs gradients: give batches of (images, labels)")
        return (weight.detach().float() * context.gradient.float()).abs()
