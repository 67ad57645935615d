"""N:M masks: of every M consecutive input channels at a filter position, the best N are kept. GPUs speed up 2:4.

Mishra et al. 2021, arXiv 2104.08378. Groups run along the input channels, the inner dimension of the matrix product of
a linear layer, a 1x1 convolution, or a channels-last convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from accounting.words.quantities import macs_text
from pruning.criterion import Criterion
from pruning.gradients import Batches
from pruning.layers import LayerFilter, find_layers
from pruning.recount import recounted
from pruning.result import PruneResult, result_of
from pruning.scores import resolve, score_keys
from pruning.solve import UnreachableTarget


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
    """Masks that keep at most ``n`` of every ``m`` weights; ``target_macs`` of the result is the MACs reached.

    Layers whose number of input channels (per group) is not a multiple of ``m`` keep all their weights; ``layers`` of
    the result shows this.

    Raises:
        ValueError: not ``1 <= n < m``, or an error of :func:`pruning.solve.prune_to_macs`.

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


def within(result: PruneResult, target_macs: int) -> PruneResult:
    """The result, if it has at most so many MACs.

    Raises:
        UnreachableTarget: it has more; a pattern cannot be made sparser.

    """
    if result.macs > target_macs:
        raise UnreachableTarget(
            f"{result.scope} weights leave {macs_text(result.macs)} MACs, above the target of {macs_text(target_macs)}"
        )
    return result


def follows_pattern(weight: Tensor, n: int = 2, m: int = 4) -> bool:
    """Whether at most ``n`` of every ``m`` consecutive input channels are non-zero."""
    if weight.shape[1] % m:
        return False
    groups = (weight != 0).movedim(1, -1).reshape(-1, m)
    return bool((groups.sum(1) <= n).all())


def _best_of(keys: Tensor, n: int, m: int) -> Tensor:
    """Mask of the n best of every m along dimension 1; ties are broken by index, and zero weights are never kept."""
    moved = keys.movedim(1, -1)
    groups = moved.reshape(-1, m)
    order = torch.argsort(groups, dim=1, descending=True, stable=True)
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order[:, :n], True)
    return (mask & (groups >= 0)).view(moved.shape).movedim(-1, 1)
