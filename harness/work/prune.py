"""What a prune job does to a network, whatever its method: masks, channels, blocks, 2 of 4, or a gradual pruner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from accounting.macs.count import count_macs
from harness.data.base import Splits
from pruning.blocks import BlockKind, prune_blocks_to_macs
from pruning.criteria import load_criterion
from pruning.gradients import Batches
from pruning.gradual import GradualPruner
from pruning.layers import LayerFilter, parse_filter
from pruning.masks import apply_masks
from pruning.methods import BLOCK_SCOPES, CHANNEL_SCOPES
from pruning.nm import nm_masks
from pruning.result import PruneResult
from pruning.solve import UnreachableTarget, prune_to_macs
from pruning.structured import StructuredResult, prune_channels_to_macs

SCORING_BATCHES, SCORING_BATCH_SIZE = 4, 64
"""Training images that criteria with gradients see."""


@dataclass(frozen=True, eq=False)
class Pruned:
    """The network, its MACs, the masks it must keep (none where it became smaller), and facts for the outcome."""

    model: nn.Module
    macs: int
    masks: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def prune(rule: dict[str, Any], model: nn.Module, splits: Splits, seed: int) -> Pruned:
    """Prune ``model`` as a job's ``prune`` says; raises ``UnreachableTarget``."""
    scope, target, shape = rule["scope"], int(rule["target_macs"]), splits.info.image_shape
    batches = scoring_batches(rule, splits)
    keep = parse_filter(rule["keep"]) if rule.get("keep") else None
    if scope in (*CHANNEL_SCOPES, *BLOCK_SCOPES):
        return _smaller(remove(rule, model, shape, seed=seed, keep=keep, batches=batches))
    if scope == "nm":
        result = nm_masks(model, shape, criterion=rule["criterion"], keep=keep, seed=seed, batches=batches)
        if result.macs > target:
            raise UnreachableTarget(f"2 of 4 weights leaves {result.macs:,} MACs, above the target of {target:,}")
    else:
        result = prune_to_macs(
            model, shape, target, criterion=rule["criterion"], scope=scope, keep=keep, floor=rule["floor"], seed=seed,
            batches=batches,
        )  # fmt: skip
    return _masked(model, result)


def remove(
    rule: Mapping[str, Any],
    model: nn.Module,
    shape: tuple[int, int, int],
    *,
    seed: int = 0,
    keep: LayerFilter | None = None,
    batches: Batches | None = None,
) -> StructuredResult:
    """The physically smaller network by a scope of channels or blocks; raises what ``pruning`` raises."""
    scope, target = rule["scope"], int(rule["target_macs"])
    round_to, floor = int(rule["round_to"]), float(rule["channel_floor"])
    if scope in BLOCK_SCOPES:
        kind: BlockKind = "residual" if scope == "blocks" else "se"
        return prune_blocks_to_macs(model, shape, target, kind=kind, round_to=round_to, floor=floor, keep=keep)
    return prune_channels_to_macs(
        model, shape, target, criterion=rule["criterion"], scope="global" if scope == "channels_global" else "uniform",
        round_to=round_to, floor=floor, keep=keep, seed=seed, batches=batches,
    )  # fmt: skip


def gradual_pruner(rule: dict[str, Any], seed: int, splits: Splits) -> GradualPruner:
    """What prunes while a fine-tune job with a gradual schedule trains."""
    return GradualPruner(
        splits.info.image_shape,
        rule["start_macs"],
        rule["target_macs"],
        rule["criterion"],
        rule["scope"],
        end=rule["end"],
        keep=parse_filter(rule["keep"]) if rule.get("keep") else None,
        floor=rule["floor"],
        seed=seed,
        batches=scoring_batches(rule, splits),
    )


def counts(model: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """MACs and parameters of a network, for the outcome."""
    report = count_macs(model, image_shape)
    return {
        "macs": report.sparse_macs,
        "dense_macs": report.macs,
        "params": report.params,
        "nonzero_params": report.nonzero,
    }


def scoring_batches(rule: dict[str, Any], splits: Splits) -> list[tuple[Tensor, Tensor]] | None:
    """The first training batches after seeding, where the criterion needs gradients."""
    return list(_first(splits)) if load_criterion(rule["criterion"]).needs_gradients else None


def _first(splits: Splits) -> Iterator[tuple[Tensor, Tensor]]:
    return islice(splits.train.batches(SCORING_BATCH_SIZE, torch.device("cpu"), augment="none"), SCORING_BATCHES)


def _masked(model: nn.Module, result: PruneResult) -> Pruned:
    apply_masks(model, result.masks)
    return Pruned(model, result.macs, result.masks, {"layers": [asdict(layer) for layer in result.layers]})


def _smaller(result: StructuredResult) -> Pruned:
    widths = {name: list(pair) for name, pair in result.widths.items()}
    facts = {"widths": widths, "removed_blocks": list(result.removed_blocks), "left_out": result.left_out}
    return Pruned(result.model, result.macs, {}, facts)
