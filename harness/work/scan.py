"""Scans of a trained network without fine-tuning: each role alone at rising sparsity, and the whole network."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from harness.data.base import Splits
from harness.jobs.job import Job
from harness.training.loop import evaluate, recalibrate_batch_norm
from pruning.analysis import sensitivity_scan
from pruning.masks import apply_masks
from pruning.sparsity import prune_to_sparsity


def scan(job: Job, model: nn.Module, splits: Splits, device: torch.device) -> dict[str, Any]:
    """val_top1 after pruning to each sparsity of ``job.analysis``; batch norm is taken anew each time.

    ``dense_test_top1`` is that of the network as it was trained: what the pruned ones are read against.
    """
    rule = job.analysis or {}
    sparsities, shape = rule["sparsities"], splits.info.image_shape

    def accuracy(masks: dict[str, Tensor]) -> float:
        pruned = copy.deepcopy(model)
        apply_masks(pruned, masks)
        pruned = pruned.to(device, memory_format=torch.channels_last)
        recalibrate_batch_norm(pruned, splits.train, 128, device)
        return evaluate(pruned, splits.val, device)

    sensitivity = [
        {"role": str(p.role), "sparsity": p.sparsity, "macs": p.macs, "val_top1": accuracy(p.masks)}
        for p in sensitivity_scan(model, shape, sparsities)
    ]
    curve = []
    for name in rule["criteria"]:
        scope, _, criterion = name.partition("_")
        for sparsity in sparsities:
            result = prune_to_sparsity(model, shape, sparsity, criterion=criterion, scope=scope)
            point = {"scope": scope, "criterion": criterion, "sparsity": sparsity, "macs": result.macs}
            curve.append({**point, "val_top1": accuracy(result.masks)})
    dense = accuracy({})
    assert math.isfinite(dense)
    return {
        "sensitivity": sensitivity,
        "sparsity_curve": curve,
        "dense_val_top1": dense,
        "dense_test_top1": evaluate(model.to(device, memory_format=torch.channels_last), splits.test, device),
        "num_val": len(splits.val),
    }
