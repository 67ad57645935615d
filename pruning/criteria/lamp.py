"""LAMP, layer-adaptive magnitude (Lee et al. 2021, arXiv 2010.07611, eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from pruning.criterion import ScoreContext


class Criterion:
    """``w² / (sum of u² over all weights u of the layer that are at least as large)``; the largest weight scores 1."""

    needs_gradients = False

    def scores(self, weight: Tensor, context: ScoreContext) -> Tensor:
        """LAMP score of each weight, 0-1. Equal magnitudes are ordered by index, as in the paper."""
        magnitude = weight.detach().flatten().abs().float()
        descending, order = torch.sort(magnitude, descending=True, stable=True)
        squares = descending.double().square_()
        survivors = squares.cumsum(0)
        ratio = squares.div_(survivors).nan_to_num_(0.0)  # 0/0: a layer of zeros
        scores = torch.empty_like(magnitude)
        scores[order] = ratio.float()
        return scores.view(weight.shape)
