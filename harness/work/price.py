"""The expected time of a job: images × MACs of a pass, divided by a speed, plus its teacher's passes and overhead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from harness.data.base import DataInfo
from harness.jobs.job import Job
from harness.jobs.start import Start, StateOf
from harness.jobs.work import Deliver, Export, Prune, RangeTest, Scan, Score, Train, TrainSupernet
from harness.planning.speeds import PASSES_PER_TRAINED_IMAGE
from harness.training.loop import RECALIBRATION_IMAGES

OVERHEAD_S = {"cpu": 0.6, "cuda": 12.0}
"""Seconds of every job besides its work: start-up, reading data, saving (measured on the CPU; assumed on CUDA)."""

EXPORTED_IMAGES: Mapping[str, Callable[[int], float]] = MappingProxyType(
    {"onnx": lambda n: 100, "compact": lambda n: 10, "latency": lambda n: 500, "int8": lambda n: 0.5 * n}
)
"""The cost of an export in images, from the size of the training split; int8 reads two splits."""


def price_s(
    job: Job,
    info: DataInfo,
    macs_per_s: float,
    device: str,
    teacher_macs_per_s: float | None = None,
    evaluation: float = 1.0,
) -> float:
    """Seconds of a job on one device that trains at ``macs_per_s``, and evaluates at ``evaluation`` times that.

    ``teacher_macs_per_s`` is the speed of its teacher's passes, if it is another.
    """
    trained, evaluated = _passes(job, info)
    passes_s = (trained + evaluated / evaluation) * job.computed_macs / macs_per_s
    return OVERHEAD_S[device] + passes_s + teaching_s(job, info.num_train, teacher_macs_per_s or macs_per_s)


def teaching_s(job: Job, num_train: int, macs_per_s: float) -> float:
    """The seconds of a job spent on its teacher's forward passes: one per image and epoch."""
    if job.teacher is None:
        return 0.0
    match job.work:
        case Train() as work:
            epochs = _epochs(work, job.start)
        case TrainSupernet(recipe):
            epochs = recipe.epochs
        case RangeTest():
            epochs = 1
        case _:
            return 0.0
    return epochs * num_train * job.teacher.macs / macs_per_s


def epochs_of(job: Job) -> int:
    """Number of its recipe's epochs that a job itself trains; 0 if it trains nothing."""
    return _epochs(job.work, job.start) if isinstance(job.work, Train) else 0


def _epochs(work: Train, start: Start) -> int:
    """Number of its recipe's epochs that the job itself trains."""
    last = min(work.recipe.epochs, work.stop_epoch or work.recipe.epochs)
    return last - (start.epochs if isinstance(start, StateOf) else 0)


def _passes(job: Job, info: DataInfo) -> tuple[float, float]:
    """How many images a job's network sees in training, counted as three passes each, and how many without gradients."""
    num_train = info.num_train
    recalibrated = min(RECALIBRATION_IMAGES, num_train)
    validated = info.num_val or 0.1 * num_train
    match job.work:
        case Train(recipe, stop_epoch) as work:
            last = recalibrated if (stop_epoch or recipe.epochs) >= recipe.epochs else 0
            epochs = _epochs(work, job.start)
            return epochs * PASSES_PER_TRAINED_IMAGE * num_train, epochs * validated + last
        case RangeTest():
            return PASSES_PER_TRAINED_IMAGE * num_train, validated + recalibrated
        case TrainSupernet(recipe):
            return PASSES_PER_TRAINED_IMAGE * recipe.epochs * num_train, 0.0
        case Score(archs, half):
            scored = validated if half is None else validated / 2
            return 0.0, len(archs) * (recalibrated + scored)
        case Scan(sparsities):
            return 0.0, 0.5 * num_train * 10 * len(sparsities)
        case Export(kind):
            return 0.0, EXPORTED_IMAGES[kind](num_train)
        case Prune():
            return 0.0, recalibrated + validated
        case Deliver():
            return 0.0, validated + (info.num_test or 0.2 * num_train)
