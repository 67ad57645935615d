"""Masks for a given share of zero weights, for curves of accuracy against sparsity; for MACs targets see ``solve``."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from pruning.criterion import Criterion
from pruning.gradients import Batches
from pruning.layers import find_layers
from pruning.recount import recounted
from pruning.result import PruneResult, result_of
from pruning.scores import resolve, score_keys
from pruning.select import top


@torch.no_grad()
def prune_to_sparsity(
    model: nn.Module,
    input_size: tuple[int, int, int],
    sparsity: float,
    *,
    criterion: str | Criterion = "magnitude",
    scope: Literal["global", "uniform"] = "global",
    seed: int = 0,
    batches: Batches | None = None,
) -> PruneResult:
    """Masks that keep ``1 - sparsity`` of all convolution and linear weights (global) or of each layer's (uniform).

    The number kept is rounded up. ``target_macs`` of the result is the MACs reached. The model is not changed.

    Raises:
        ValueError: sparsity outside 0-1, unknown scope, or an error of :func:`pruning.solve.prune_to_macs`.

    """
    if scope not in ("global", "uniform"):
        raise ValueError(f"unknown scope {scope!r}; allowed: global, uniform")
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity is {sparsity}; allowed: 0 to 1")
    rule, label = resolve(criterion)
    every = find_layers(model, input_size)
    layers = [layer for layer in every if layer.weight is not None]
    keys = score_keys(model, layers, rule, label, seed, batches)
    if scope == "global":
        whole = top(torch.cat(keys), _kept(sum(key.numel() for key in keys), sparsity))
        masks: list[Tensor] = list(torch.split(whole, [key.numel() for key in keys]))
    else:
        masks = [top(key, _kept(key.numel(), sparsity)) for key in keys]
    pruned = {layer.param_name: mask for layer, mask in zip(layers, masks, strict=True)}
    return recounted(model, input_size, result_of(every, pruned, None, label, scope))


def _kept(count: int, sparsity: float) -> int:
    return math.ceil(round((1.0 - sparsity) * count, 6))
