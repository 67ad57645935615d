"""The result of pruning, layer by layer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from accounting.words.quantities import macs_text
from pruning.layers import Layer, Role

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LayerSparsity:
    """What is left of one layer. ``macs`` counts all its weights, ``kept_macs`` only those that were kept."""

    name: str
    role: Role
    macs: int
    kept_macs: int
    num_weights: int
    num_kept: int


@dataclass(frozen=True, eq=False)
class PruneResult:
    """Masks and the MACs that they reach.

    Attributes:
        masks: bool tensors by parameter name, for every layer that costs MACs; layers left alone keep their non-zeros.
        macs: MACs with the masks applied; at most ``target_macs``.
        dense_macs: MACs of the network if no weight were zero.
        target_macs: the MACs asked for.
        layers: one entry per layer, in the order of the network.
        criterion: the criterion's name.
        scope: ``global`` or ``uniform``.

    """

    masks: dict[str, Tensor]
    macs: int
    dense_macs: int
    target_macs: int
    layers: tuple[LayerSparsity, ...]
    criterion: str
    scope: str


def result_of(
    layers: Sequence[Layer], pruned: Mapping[str, Tensor], target_macs: int | None, label: str, scope: str
) -> PruneResult:
    """The result of flat masks by parameter name; layers without a mask keep their non-zeros.

    If there is no target (masks for a pattern or a sparsity), ``target_macs`` of the result is the MACs reached.
    """
    masks, rows = {}, []
    for layer in layers:
        num_kept = layer.num_nonzero
        if layer.weight is not None:
            flat = pruned.get(layer.param_name)
            masks[layer.param_name] = layer.weight != 0 if flat is None else layer.mask(flat)
            num_kept = layer.num_nonzero if flat is None else int(torch.count_nonzero(flat))
        cost = layer.macs_per_weight
        rows.append(
            LayerSparsity(
                layer.name, layer.role, layer.num_weights * cost, num_kept * cost, layer.num_weights, num_kept
            )
        )
    empty = [row.name for row in rows if not row.num_kept]
    if empty and target_macs is not None:
        _log.warning(
            "pruning to %s MACs leaves no weight in %s; a floor would keep some",
            macs_text(target_macs),
            ", ".join(empty),
        )
    macs = sum(row.kept_macs for row in rows)
    return PruneResult(
        masks=masks,
        macs=macs,
        dense_macs=sum(row.macs for row in rows),
        target_macs=macs if target_macs is None else target_macs,
        layers=tuple(rows),
        criterion=label,
        scope=scope,
    )
