"""Scans of a trained network without fine-tuning: each role alone at rising sparsity, and the whole network."""

from __future__ import annotations

import copy
import math

from torch import Tensor

from accounting.ledger.outcomes import CurvePoint, JobOutcome, RolePoint
from accounting.words.methods import parse_method
from harness.jobs.work import Scan
from harness.training.loop import evaluate, on_device, recalibrate_batch_norm
from harness.work.bench import Bench
from harness.work.prune import mask_scope
from pruning.analysis import sensitivity_scan
from pruning.masks import apply_masks
from pruning.sparsity import prune_to_sparsity


def scan(work: Scan, bench: Bench) -> JobOutcome:
    """val_top1 after pruning the job's network to each sparsity; batch norm is recalibrated each time.

    ``dense_test_top1`` is the test accuracy of the network as trained, for comparison with the pruned ones.
    """
    bench.begun(0)
    model = bench.network()
    splits, device, shape = bench.splits, bench.device, bench.splits.info.image_shape

    def accuracy(masks: dict[str, Tensor]) -> float:
        pruned = copy.deepcopy(model)
        apply_masks(pruned, masks)
        pruned = on_device(pruned, device)
        recalibrate_batch_norm(pruned, splits.train, 128, device)
        return evaluate(pruned, splits.val, splits.info.task, device)

    sensitivity: list[RolePoint] = [
        {"role": str(p.role), "sparsity": p.sparsity, "macs": p.macs, "val_top1": accuracy(p.masks)}
        for p in sensitivity_scan(model, shape, work.sparsities)
    ]
    curve: list[CurvePoint] = []
    for name in work.criteria:
        method = parse_method(name)
        for sparsity in work.sparsities:
            result = prune_to_sparsity(model, shape, sparsity, criterion=method.criterion, scope=mask_scope(method))
            curve.append(
                {
                    "scope": method.scope,
                    "criterion": method.criterion,
                    "sparsity": sparsity,
                    "macs": result.macs,
                    "val_top1": accuracy(result.masks),
                }
            )
    dense = accuracy({})
    assert math.isfinite(dense)
    return {
        "sensitivity": sensitivity,
        "sparsity_curve": curve,
        "dense_val_top1": dense,
        "dense_test_top1": evaluate(on_device(model, device), splits.test, splits.info.task, device),
        "num_val": len(splits.val),
    }
