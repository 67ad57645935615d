"""Masks that bring a network to a MACs target from below, to within one weight, or an error with the reason.

The MACs of a sparse network are every layer's positions times its non-zero weights (see :mod:`accounting.macs`). The
two scopes are those of arXiv 2301.04502:

- ``global``: one threshold over the scores of all prunable weights;
- ``uniform``: every layer keeps the same share of its weights, those with its best scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from accounting.words.quantities import macs_text
from pruning.criterion import Criterion
from pruning.gradients import Batches
from pruning.layers import Layer, LayerFilter, find_layers
from pruning.recount import recounted
from pruning.result import LayerSparsity, PruneResult, result_of
from pruning.scores import resolve, score_keys
from pruning.select import ALWAYS, select, top

__all__ = ["LayerSparsity", "PruneResult", "Scope", "UnreachableTarget", "prune_to_macs"]

Scope = Literal["global", "uniform"]


class UnreachableTarget(ValueError):
    """No mask reaches the target; the message has the smallest reachable MACs."""


@torch.no_grad()
def prune_to_macs(
    model: nn.Module,
    input_size: tuple[int, int, int],
    target_macs: int,
    *,
    criterion: str | Criterion = "magnitude",
    scope: Scope = "global",
    keep: LayerFilter | None = None,
    floor: float = 0.0,
    seed: int = 0,
    batches: Batches | None = None,
) -> PruneResult:
    """Find the masks that bring ``model`` to at most ``target_macs``, without pruning one weight more than needed.

    The model is not changed, and weights that are zero stay zero. If the network already meets the target, the masks
    are those of its non-zeros. With ``global``, no dropped weight fits into the rest of the target. With ``uniform``,
    no layer's next weight does, and the shares kept differ by at most one weight per layer.

    Args:
        model: any network of convolutions and linear layers.
        input_size: channels, height, width of an image.
        target_macs: MACs of the pruned network.
        criterion: a name in ``pruning/criteria``, or an object like those there.
        scope: ``global`` (one threshold over all layers) or ``uniform`` (the same share of each).
        keep: layers to leave alone; ``None`` prunes all layers, as the paper does.
        floor: least share (0-1) of its weights that each layer keeps.
        seed: seed for random criteria.
        batches: (images, labels), for criteria that need gradients.

    Raises:
        UnreachableTarget: no mask reaches the target.
        ValueError: unknown criterion or scope, floor outside 0-1, missing batches, or weights that are not finite.
        MacsDiffer: the masked network's MACs, counted again, differ from those found.

    """
    if scope not in ("global", "uniform"):
        raise ValueError(f"unknown scope {scope!r}; allowed: global, uniform")
    if not 0.0 <= floor <= 1.0:
        raise ValueError(f"floor is {floor}; allowed: 0 to 1")
    if target_macs < 1:
        raise UnreachableTarget(f"target_macs is {target_macs:,}; allowed: 1 or more")
    rule, label = resolve(criterion)
    layers = find_layers(model, input_size)
    pruned: dict[str, Tensor] = {}
    if target_macs < _macs(layers):
        free = [layer for layer in layers if layer.weight is not None and not (keep is not None and keep(layer))]
        floors = [min(layer.num_nonzero, math.ceil(floor * layer.num_weights)) for layer in free]
        budget = target_macs - _fixed_macs(layers, free, floors, target_macs, floor)
        keys = score_keys(model, free, rule, label, seed, batches)
        for key, least in zip(keys, floors, strict=True):
            if least:
                key[top(key, least)] = ALWAYS
        if scope == "global":
            kept = select(keys, [layer.macs_per_weight for layer in free], budget)
        else:
            counts = _uniform_counts(free, floors, budget)
            kept = [top(key, count) for key, count in zip(keys, counts, strict=True)]
        pruned = {layer.param_name: mask for layer, mask in zip(free, kept, strict=True)}
    return recounted(model, input_size, result_of(layers, pruned, target_macs, label, scope))


def _macs(layers: Sequence[Layer]) -> int:
    return sum(layer.num_nonzero * layer.macs_per_weight for layer in layers)


def _fixed_macs(
    layers: Sequence[Layer], free: Sequence[Layer], floors: Sequence[int], target_macs: int, floor: float
) -> int:
    """MACs of the layers that are left alone; an error if those and the floors of the ``free`` ones exceed the target."""
    current = _macs(layers)
    fixed = current - _macs(free)
    smallest = fixed + sum(least * layer.macs_per_weight for least, layer in zip(floors, free, strict=True))
    if target_macs < smallest:
        raise UnreachableTarget(
            f"cannot prune to {macs_text(target_macs)} MACs: the smallest reachable is {macs_text(smallest)} of "
            f"{macs_text(current)} ({macs_text(fixed)} in layers left alone, floor {floor:g})"
        )
    return fixed


def _uniform_counts(layers: Sequence[Layer], floors: Sequence[int], budget: int) -> list[int]:
    """Number of weights to keep per layer: the same share of each layer, as large as the budget allows.

    It takes the largest share whose rounded-down counts fit, then one more weight of each layer where that fits, in the
    order in which a rising share would reach them.
    """

    def counts_at(share: float) -> list[int]:
        return [
            max(least, min(layer.num_nonzero, math.floor(share * layer.num_weights)))
            for layer, least in zip(layers, floors, strict=True)
        ]

    def macs_of(counts: Sequence[int]) -> int:
        return sum(count * layer.macs_per_weight for count, layer in zip(counts, layers, strict=True))

    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high and counts_at(low) != counts_at(high):
        low, high = (middle, high) if macs_of(counts_at(middle)) <= budget else (low, middle)
    counts = counts_at(low)
    gap = budget - macs_of(counts)
    for i in sorted(range(len(layers)), key=lambda i: (counts[i] + 1) / layers[i].num_weights):
        if counts[i] < layers[i].num_nonzero and layers[i].macs_per_weight <= gap:
            counts[i] += 1
            gap -= layers[i].macs_per_weight
    return counts
