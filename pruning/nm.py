"""N:M masks: of every M consecutive input channels of a filter position, the best N stay (2:4 is what GPUs speed up).

Mishra et al. 2021, arXiv 2104.08378. Groups run along the input channels, which is the inner dimension of the matrix
product of a linear layer, of a 1x1 convolution, and of a channels-last convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pruning.criterion import Criterion
from pruning.gradients import Batches
from pruning.layers import LayerFilter, find_layers
from pruning.recount import recounted
from pruning.result import PruneResult, result_of
from pruning.scores import resolve, score_keys


@torch.no_grad()
def nm_masks(
    model: nn.Module,
    input_size: tuple[int, int, int],
    *,
    n: int = 2,
    m: int = 4,
    criterion: str | Criterion = "magnitude",
    keep: LayerFilter | None = None,
    seed: int = 0,
    batches: Batches | None = None,
) -> PruneResult:
    """Masks with at most ``n`` kept of every ``m``; ``target_macs`` of the result is what was reached.

    Layers whose input channels (per group) are not a multiple of ``m`` keep all their weights, as ``layers`` shows.

    Raises:
        ValueError: not ``1 <= n < m``, or as :func:`pruning.solve.prune_to_macs`.

    """
    if not 1 <= n < m:
        raise ValueError(f"{n}:{m} is not a pattern; allowed: 1 <= n < m")
    rule, label = resolve(criterion)
    layers = find_layers(model, input_size)
    free = [
        layer
        for layer in layers
        if layer.weight is not None
        and layer.num_tied == 1
        and layer.weight.shape[1] % m == 0
        and not (keep is not None and keep(layer))
    ]
    masks: dict[str, Tensor] = {}
    for layer, keys in zip(free, score_keys(model, free, rule, label, seed, batches), strict=True):
        masks[layer.param_name] = _best_of(keys.view(layer.own_weight.shape), n, m).flatten()
    return recounted(model, input_size, result_of(layers, masks, None, label, f"{n}:{m}"))


def follows_pattern(weight: Tensor, n: int = 2, m: int = 4) -> bool:
    """Whether at most ``n`` of every ``m`` consecutive input channels are non-zero."""
    if weight.shape[1] % m:
        return False
    groups = (weight != 0).movedim(1, -1).reshape(-1, m)
    return bool((groups.sum(1) <= n).all())


def _best_of(keys: Tensor, n: int, m: int) -> Tensor:
    """Mask of the n best of every m along dimension 1; ties by index; never a weight that was zero."""
    moved = keys.movedim(1, -1)
    groups = moved.reshape(-1, m)
    order = torch.argsort(groups, dim=1, descending=True, stable=True)
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order[:, :n], True)
    return (mask & (groups >= 0)).view(moved.shape).movedim(-1, 1)
