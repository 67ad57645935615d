"""Prune jobs of every method (masks, channels, blocks, 2 of 4), and the pruner of a gradual schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType

import torch
from torch import Tensor, nn

from accounting.ledger.outcomes import JobOutcome, LayerRecord, NetworkCounts
from accounting.macs.count import count_macs
from accounting.words.methods import BLOCK_SCOPES, Method
from harness.data.base import Splits
from harness.jobs.work import Gradually, Prune, PruneRule
from harness.training.loop import evaluate, on_device, recalibrate_batch_norm
from harness.work.bench import Bench
from pruning.blocks import BlockKind, prune_blocks_to_macs
from pruning.criteria import load_criterion
from pruning.gradients import Batches, WithLoss
from pruning.gradual import GradualPruner
from pruning.layers import LayerFilter, parse_filter
from pruning.masks import apply_masks
from pruning.nm import nm_masks, within
from pruning.recount import check_macs
from pruning.result import LayerSparsity, PruneResult
from pruning.solve import Scope, prune_to_macs
from pruning.structured import ChannelScope, StructuredResult, prune_channels_to_macs

SCORING_BATCHES, SCORING_BATCH_SIZE = 4, 64
"""Number and size of the training batches that gradient-based criteria see."""
RECALIBRATION_BATCH = 128
CHANNEL_SCOPES: Mapping[str, ChannelScope] = MappingProxyType(
    {"channels": "uniform", "channels_global": "global", "channels_isomorphic": "isomorphic"}
)
"""How each scope of a method ranks channels."""


@dataclass(frozen=True, eq=False)
class Pruned:
    """The network, its MACs, the masks it must keep (none if it became smaller), and facts for the outcome."""

    model: nn.Module
    macs: int
    masks: dict[str, Tensor] = field(default_factory=dict)
    facts: JobOutcome = field(default_factory=JobOutcome)


def prune_network(work: Prune, bench: Bench) -> JobOutcome:
    """Prune the network that the job starts from and measure it without fine-tuning; returns the outcome's metrics."""
    model = bench.network()
    bench.begun(0)
    pruned = prune(work.rule, model, bench.splits, bench.job.seed)
    model = on_device(pruned.model, bench.device)
    recalibrate_batch_norm(model, bench.splits.train, RECALIBRATION_BATCH, bench.device)
    val_top1 = evaluate(model, bench.splits.val, bench.splits.info.task, bench.device)
    counted = counts(model, bench.splits.info.image_shape)
    check_macs(counted["macs"], pruned.macs)
    kept = bench.keep(model, pruned.masks)
    return {**counted, **kept, "val_top1": val_top1, "epochs": 0, **pruned.facts}


def prune(rule: PruneRule, model: nn.Module, splits: Splits, seed: int) -> Pruned:
    """Prune ``model`` by a job's rule.

    Raises:
        UnreachableTarget: the rule cannot reach its target.

    """
    method, target, shape = rule.method, rule.target_macs, splits.info.image_shape
    batches = scoring_batches(rule, splits)
    keep = _kept(rule)
    if method.is_structured:
        return _smaller(remove(rule, model, shape, seed=seed, keep=keep, batches=batches))
    if method.scope == "nm":
        whole = nm_masks(model, shape, criterion=method.criterion, keep=keep, seed=seed, batches=batches)
        result = within(whole, target)
    else:
        result = prune_to_macs(
            model, shape, target, criterion=method.criterion, scope=mask_scope(method), keep=keep, floor=rule.floor,
            seed=seed, batches=batches,
        )  # fmt: skip
    return _masked(model, result)


def remove(
    rule: PruneRule,
    model: nn.Module,
    shape: tuple[int, int, int],
    *,
    seed: int = 0,
    keep: LayerFilter | None = None,
    batches: Batches | None = None,
) -> StructuredResult:
    """The physically smaller network, for a scope of channels or blocks; raises what ``pruning`` raises."""
    scope, target, round_to, floor = rule.method.scope, rule.target_macs, rule.round_to, rule.channel_floor
    if scope in BLOCK_SCOPES:
        kind: BlockKind = "residual" if scope == "blocks" else "se"
        may_lack = rule.method.schedule == "iterative"  # an earlier round may have removed them all
        return prune_blocks_to_macs(
            model, shape, target, kind=kind, round_to=round_to, floor=floor, keep=keep, may_lack=may_lack
        )
    return prune_channels_to_macs(
        model, shape, target, criterion=rule.method.criterion, scope=CHANNEL_SCOPES[scope],
        round_to=round_to, floor=floor, keep=keep, seed=seed, batches=batches,
    )  # fmt: skip


def gradual_pruner(gradually: Gradually, seed: int, splits: Splits) -> GradualPruner:
    """The pruner that acts while a fine-tune job with a gradual schedule trains."""
    rule = gradually.rule
    return GradualPruner(
        splits.info.image_shape,
        gradually.start_macs,
        rule.target_macs,
        rule.method.criterion,
        mask_scope(rule.method),
        end=gradually.end,
        keep=_kept(rule),
        floor=rule.floor,
        seed=seed,
        batches=scoring_batches(rule, splits),
    )


def counts(model: nn.Module, image_shape: tuple[int, int, int]) -> NetworkCounts:
    """MACs and parameters of a network, for the outcome."""
    report = count_macs(model, image_shape)
    return {
        "macs": report.sparse_macs,
        "dense_macs": report.macs,
        "params": report.params,
        "nonzero_params": report.nonzero,
    }


def scoring_batches(rule: PruneRule, splits: Splits) -> WithLoss | None:
    """The first training batches after seeding, if the criterion needs gradients; else None."""
    if not load_criterion(rule.method.criterion).needs_gradients:
        return None
    return WithLoss(list(_first(splits)), splits.info.task.loss_sum)


def _kept(rule: PruneRule) -> LayerFilter | None:
    return parse_filter(rule.keep) if rule.keep else None


def mask_scope(method: Method) -> Scope:
    """The weights among which a mask method ranks."""
    return "global" if method.scope == "global" else "uniform"


def _first(splits: Splits) -> Iterator[tuple[Tensor, Tensor]]:
    return islice(splits.train.batches(SCORING_BATCH_SIZE, torch.device("cpu"), augment="none"), SCORING_BATCHES)


def _masked(model: nn.Module, result: PruneResult) -> Pruned:
    apply_masks(model, result.masks)
    return Pruned(model, result.macs, result.masks, {"layers": [_layer(layer) for layer in result.layers]})


def _layer(layer: LayerSparsity) -> LayerRecord:
    return {
        "name": layer.name,
        "role": layer.role,
        "macs": layer.macs,
        "kept_macs": layer.kept_macs,
        "num_weights": layer.num_weights,
        "num_kept": layer.num_kept,
    }


def _smaller(result: StructuredResult) -> Pruned:
    widths = {name: list(pair) for name, pair in result.widths.items()}
    facts: JobOutcome = {"widths": widths, "removed_blocks": list(result.removed_blocks), "left_out": result.left_out}
    return Pruned(result.model, result.macs, {}, facts)
