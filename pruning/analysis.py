"""Where the sparsity is and where it hurts: a pruned network's layers by role, and the masks of a sensitivity scan."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning.criterion import Criterion
from pruning.gradients import Batches
from pruning.layers import Role, find_layers
from pruning.result import LayerSparsity
from pruning.scores import resolve, score_keys
from pruning.select import top


@dataclass(frozen=True)
class RoleSparsity:
    """Totals over all layers of one role. Shares are fractions, 0-1."""

    role: Role
    num_layers: int
    macs: int
    kept_macs: int
    num_weights: int
    num_kept: int

    @property
    def sparsity(self) -> float:
        """Share of the weights that are zero."""
        return 1.0 - self.num_kept / self.num_weights


@dataclass(frozen=True, eq=False)
class SensitivityPoint:
    """Masks that prune only the layers of one role, each to ``sparsity`` (share of its weights that are zero)."""

    role: Role
    sparsity: float
    macs: int
    masks: dict[str, Tensor]


def by_role(layers: Iterable[LayerSparsity]) -> list[RoleSparsity]:
    """Sum up a :class:`~pruning.result.PruneResult`'s layers by role, in the order of :class:`~pruning.layers.Role`."""
    rows: dict[Role, list[LayerSparsity]] = {}
    for layer in layers:
        rows.setdefault(layer.role, []).append(layer)
    return [
        RoleSparsity(
            role=role,
            num_layers=len(rows[role]),
            macs=sum(row.macs for row in rows[role]),
            kept_macs=sum(row.kept_macs for row in rows[role]),
            num_weights=sum(row.num_weights for row in rows[role]),
            num_kept=sum(row.num_kept for row in rows[role]),
        )
        for role in Role
        if role in rows
    ]


@torch.no_grad()
def sensitivity_scan(
    model: nn.Module,
    input_size: tuple[int, int, int],
    sparsities: Sequence[float] = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99),
    *,
    criterion: str | Criterion = "magnitude",
    seed: int = 0,
    batches: Batches | None = None,
) -> Iterator[SensitivityPoint]:
    """Yield masks for every role of the network at every sparsity; the caller measures the accuracy that they leave.

    The weights are scored once. The model is not changed.

    Raises:
        ValueError: a sparsity outside 0-1, or an error of :func:`pruning.solve.prune_to_macs`.

    """
    if not all(0.0 <= sparsity <= 1.0 for sparsity in sparsities):
        raise ValueError(f"sparsities are {list(sparsities)}; allowed: 0 to 1 each")
    rule, label = resolve(criterion)
    layers = find_layers(model, input_size)
    free = [layer for layer in layers if layer.weight is not None]
    keys = score_keys(model, free, rule, label, seed, batches)
    dense_macs = sum(layer.num_nonzero * layer.macs_per_weight for layer in layers)
    for role in (role for role in Role if any(layer.role is role for layer in free)):
        for sparsity in sparsities:
            masks, macs = {}, dense_macs
            for layer, key in zip(free, keys, strict=True):
                mask = key >= 0
                if layer.role is role:
                    mask = top(key, math.ceil((1.0 - sparsity) * layer.num_weights))
                    macs -= (layer.num_nonzero - int(mask.sum())) * layer.macs_per_weight
                masks[layer.param_name] = layer.mask(mask)
            yield SensitivityPoint(role, sparsity, macs, masks)
