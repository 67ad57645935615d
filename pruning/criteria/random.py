"""Random: the control that any criterion must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from pruning.criterion import ScoreContext


class Criterion:
    """Uniform on 0-1, drawn on the CPU so that a seed gives the same masks on every device."""

    needs_gradients = False

    def scores(self, weight: Tensor, context: ScoreContext) -> Tensor:
        """Draw a random number for each weight."""
        return torch.rand(weight.shape, generator=context.generator).to(weight.device)
