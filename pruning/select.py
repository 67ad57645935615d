"""Selecting the best-scored weights within a MACs budget, without sorting them.

This is a weighted selection: every weight has a key (its score's float32 bits read as an integer, which keeps the
order) and a cost (MACs). The result is the longest run of weights, in falling order of key, whose cost fits the budget.
Two radix passes find its last key exactly: a histogram of MACs over the high 15 bits, then one over the low 16 bits of
the bucket in which the budget runs out. The rest of the budget is filled with the next best weights that still fit.

Ties are broken by layer order, then by index, so the same input gives the same masks on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

NEVER = -1
"""Key of a weight that cannot be kept (it is zero already)."""
ALWAYS = 0x7FFFFFFF
"""Key of a weight that must be kept (the floor of its layer)."""

_CHUNK = 1 << 20
"""Number of weights processed at a time, which bounds the temporary memory of the histograms."""


def keys_of(scores: Tensor, weight: Tensor) -> Tensor:
    """Flat int32 keys in the order of the scores; :data:`NEVER` where the weight is zero.

    Raises:
        ValueError: a score of a non-zero weight is negative or not finite.

    """
    flat_scores, flat_weight = scores.detach().flatten(), weight.detach().flatten()
    if flat_scores.dtype != torch.float32:
        raise ValueError(f"scores must be float32, got {flat_scores.dtype}")
    keys = flat_scores.contiguous().view(torch.int32).masked_fill(flat_weight == 0, NEVER)
    if keys.numel():
        low, high = torch.aminmax(keys)
        if low < NEVER or high >= 0x7F800000:  # the sign bit; the bits of infinity and above
            raise ValueError("scores must be finite and at least 0")
    return keys


def select(keys: Sequence[Tensor], costs: Sequence[int], budget: int) -> list[Tensor]:
    """Masks (bool, flat, one per layer) of the weights to keep: the best ones that together cost at most ``budget``.

    Weights with the key :data:`ALWAYS` are kept even beyond the budget; those with :data:`NEVER` never are. No dropped
    weight fits into the rest of the budget.
    """
    high = _histogram(keys, costs, lambda chunk: chunk[chunk >= 0] >> 16, 1 << 15)
    bucket, spent = _run_out(high, budget)
    if bucket < 0:
        return [layer >= 0 for layer in keys]
    low = _histogram(keys, costs, lambda chunk: chunk[(chunk >> 16) == bucket] & 0xFFFF, 1 << 16)
    low_bits, low_spent = _run_out(low, budget - spent)
    threshold = (bucket << 16) | low_bits
    masks = [layer > threshold for layer in keys]
    gap = budget - spent - low_spent
    if threshold == ALWAYS:
        return [layer == ALWAYS for layer in keys]
    gap = _fill_ties(keys, costs, masks, threshold, gap)
    _fill_below(keys, costs, masks, threshold, gap)
    return masks


def top(keys: Tensor, num: int) -> Tensor:
    """Mask of the ``num`` best keys of one layer (fewer if fewer can be kept)."""
    return select([keys], [1], num)[0]


def _histogram(
    keys: Sequence[Tensor], costs: Sequence[int], digits: Callable[[Tensor], Tensor], num_buckets: int
) -> Tensor:
    """MACs per bucket, int64."""
    total = torch.zeros(num_buckets, dtype=torch.int64)
    for layer, cost in zip(keys, costs, strict=True):
        for chunk in torch.split(layer, _CHUNK):
            total += torch.bincount(digits(chunk), minlength=num_buckets).cpu() * cost
    return total


def _run_out(histogram: Tensor, budget: int) -> tuple[int, int]:
    """The first bucket, from the top, that does not fit whole (-1 if all fit), and the MACs above it."""
    above = histogram.flip(0).cumsum(0)
    over = torch.nonzero(above > budget)
    if not len(over):
        return -1, int(above[-1])
    position = int(over[0, 0])
    return len(histogram) - 1 - position, int(above[position] - histogram.flip(0)[position])


def _fill_ties(keys: Sequence[Tensor], costs: Sequence[int], masks: list[Tensor], threshold: int, gap: int) -> int:
    """Keep as many weights with exactly the threshold's key as fit, by layer and index; return the budget left."""
    for layer, cost, mask in zip(keys, costs, masks, strict=True):
        if 0 < cost <= gap:
            ties = torch.nonzero(layer == threshold).flatten()[: gap // cost]
            mask[ties] = True
            gap -= cost * len(ties)
    return gap


def _fill_below(keys: Sequence[Tensor], costs: Sequence[int], masks: list[Tensor], threshold: int, gap: int) -> None:
    """Go through the weights below the threshold in order of key, and keep each one that still fits."""
    for low, high in _bands(threshold):
        fitting = [i for i, cost in enumerate(costs) if cost <= gap]
        if not fitting:
            return
        found = [torch.nonzero((keys[i] >= low) & (keys[i] < high)).flatten() for i in fitting]
        layer_of = torch.cat([torch.full_like(at, i) for i, at in zip(fitting, found, strict=True)])
        at = torch.cat(found)
        _, order = torch.sort(
            torch.cat([keys[i][f] for i, f in zip(fitting, found, strict=True)]), descending=True, stable=True
        )
        layer_of, at = layer_of[order].cpu(), at[order].cpu()
        cost_of = torch.tensor(list(costs))[layer_of]
        while len(at):
            fits = cost_of <= gap
            layer_of, at, cost_of = layer_of[fits], at[fits], cost_of[fits]
            total = cost_of.cumsum(0)
            num = int(torch.searchsorted(total, gap, right=True))
            for i in set(layer_of[:num].tolist()):
                masks[i][at[:num][layer_of[:num] == i].to(masks[i].device)] = True
            gap -= int(total[num - 1]) if num else 0
            layer_of, at, cost_of = layer_of[num:], at[num:], cost_of[num:]


def _bands(threshold: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of keys from just below the threshold down to 0, each wider than the one before."""
    high, width = threshold, 1 << 14
    while high > 0:
        low = max(0, high - width)
        yield low, high
        high, width = low, width * 4
