"""Training a supernet in the common trainer: its objective, and the scores of its members with inherited weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from accounting.ledger.outcomes import JobOutcome
from harness.jobs.work import Score
from harness.task.base import Task
from harness.training.course import Course
from harness.training.loop import evaluate, on_device, recalibrate_batch_norm
from harness.work.bench import Bench
from harness.work.subnets import score_subnets
from nas_baseline.spaces.networks import build
from nas_baseline.supernet.supernet import Supernet

RECALIBRATION_BATCH = 128


def supernet_course(model: nn.Module, task: Task) -> Course:
    """Training by the sandwich rule: every update uses the largest, the smallest and two random members."""
    assert isinstance(model, Supernet)

    def losses(net: nn.Module, images: Tensor, targets: Tensor, loss_fn: nn.Module) -> Iterator[Tensor]:
        assert isinstance(net, Supernet)
        # torch's generator is seeded by (seed, epoch), so a resumed training draws the same numbers.
        rng = np.random.default_rng(int(torch.randint(2**62, (1,))))
        yield from net.losses(images, targets, loss_fn, task.imitation, net.sandwich(rng))
        net.activate(net.largest())

    return Course(losses=losses)


def score(work: Score, bench: Bench) -> JobOutcome:
    """Validation accuracy of each member with inherited weights, batch norm recalibrated, and no training."""
    bench.begun(0)
    model, splits, device = bench.network(), bench.splits, bench.device
    if not isinstance(model, Supernet):
        return score_subnets(work, model, bench)
    scores = []
    for arch in work.archs:
        member = build(model.space.network_spec(arch))
        member.load_state_dict(model.extract(arch))
        member = on_device(member, device)
        recalibrate_batch_norm(member, splits.train, RECALIBRATION_BATCH, device, bench.crew)
        scores.append(evaluate(member, splits.val, splits.info.task, device, bench.crew))
    return {"scores": scores, "num_val": len(splits.val)}
