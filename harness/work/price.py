"""What a job would take: images × MACs of a pass over a speed, and the overhead of every job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from harness.jobs.job import Job
from harness.jobs.work import Deliver, Export, Prune, Scan, Score, Train, TrainSupernet, Work
from harness.training.loop import RECALIBRATION_IMAGES

OVERHEAD_S = {"cpu": 0.6, "cuda": 12.0}
"""Seconds of every job beside its work: start-up, reading the data, saving (measured on the CPU; assumed on CUDA)."""

EXPORTED_IMAGES: Mapping[str, Callable[[int], float]] = MappingProxyType(
    {"onnx": lambda n: 100, "compact": lambda n: 10, "latency": lambda n: 500, "int8": lambda n: 0.5 * n}
)
"""How many images an export is worth, by the size of the training split; int8 reads two splits."""

PASSES_PER_TRAINED_IMAGE = 3.0
"""Forward and backward passes cost about three forward ones."""


def price_s(job: Job, num_train: int, macs_per_s: float, device: str) -> float:
    """Seconds of a job on one device that computes ``macs_per_s``."""
    return OVERHEAD_S[device] + _forward_images(job.work, num_train) * job.computed_macs / macs_per_s


def _forward_images(work: Work, num_train: int) -> float:
    """How many images pass forward, those that pass backward counted as more."""
    match work:
        case Train(recipe, stop_epoch):
            return PASSES_PER_TRAINED_IMAGE * min(recipe.epochs, stop_epoch or recipe.epochs) * num_train
        case TrainSupernet(recipe):
            return PASSES_PER_TRAINED_IMAGE * recipe.epochs * num_train
        case Score(archs):
            return len(archs) * (min(RECALIBRATION_IMAGES, num_train) + 0.2 * num_train)
        case Scan(sparsities):
            return 0.5 * num_train * 10 * len(sparsities)
        case Export(kind):
            return EXPORTED_IMAGES[kind](num_train)
        case Prune() | Deliver():
            return 0.5 * num_train
