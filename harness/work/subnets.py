"""Sub-networks of a trained parent: their scores with inherited weights."""

from __future__ import annotations

from torch import nn

from accounting.ledger.outcomes import JobOutcome
from harness.data.halves import HalfSplit
from harness.jobs.work import Score
from harness.training.loop import evaluate, on_device, recalibrate_batch_norm
from harness.work.bench import Bench
from pruning.subnets import Subnets

RECALIBRATION_BATCH = 128


def score_subnets(work: Score, parent: nn.Module, bench: Bench) -> JobOutcome:
    """Validation accuracy of each member of the trained ``parent``, with batch norm recalibrated and without training.

    The parent's batch-norm statistics do not fit its parts: with them the ranking is nearly lost, with recalibrated
    ones it holds (EagleEye, arXiv 2007.02491, section 3.3, adaptive batch norm). Networks without batch norm are scored
    unchanged.
    """
    splits, device = bench.splits, bench.device
    subnets = Subnets(parent, splits.info.image_shape)
    images = splits.val if work.half is None else HalfSplit(splits.val, work.half)
    scores = []
    for member in work.archs:
        model = on_device(subnets.module(member), device)
        recalibrate_batch_norm(model, splits.train, RECALIBRATION_BATCH, device, bench.crew)
        scores.append(evaluate(model, images, splits.info.task, device, bench.crew))
    return {"scores": scores, "num_val": len(images)}
