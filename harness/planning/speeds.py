"""How many MACs per second a device trains, by kind of training: networks of equal size differ by a factor of two.

The parent's speed is measured. That of every other kind of training is measured as a share of it, on networks that the
routes really propose. They are timed in turn with the parent, so that other load on the machine affects both.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from accounting.ledger.specs import NetworkSpec
from accounting.macs.count import MacsReport, count_macs
from harness.data.base import DataInfo
from harness.data.sized import resized
from harness.jobs.job import Job
from harness.jobs.work import Train, is_compiled
from harness.models.build import build_network, without_pretrained
from harness.training.compiled import CannotCompile, Compiles, Eager, compiling
from harness.training.depthwise import quick_small_maps
from harness.training.loop import EVAL_BATCH_SIZE, on_device
from harness.training.state import half_type
from pruning.masks import MaskKeeper, masks_from_model

PASSES_PER_TRAINED_IMAGE = 3.0
"""Training on an image costs about as much as three forward passes."""
NETWORKS_OF_A_KIND = 3
"""Number of networks timed for each kind of training."""
STEP_MACS = 6e9
"""MACs per step on a CPU; the batch is made so small that a step takes about a second on one core."""
LEAST_STEPS, MOST_STEPS = 5, 50
QUICK = 0.25
"""Which quantile of a step's times counts: other work on the machine, as when a study begins, only adds to them."""


@dataclass(frozen=True)
class Kind:
    """Jobs that train at a similar speed: the same phase of the same route, with or without masks."""

    route: str
    phase: str
    is_masked: bool

    @classmethod
    def of(cls, job: Job) -> Kind:
        """The kind of a job."""
        return cls(job.route, str(job.phase), job.counted_macs < job.computed_macs and not job.is_smaller)


@dataclass(frozen=True)
class Compiling:
    """What ``torch.compile`` does to a network: images per second of one worker without and with it, seconds to compile.

    ``problem`` says why it cannot be compiled, in one line; it then trains without.
    """

    images_per_s: float
    compiled_images_per_s: float
    compile_s: float
    problem: str | None = None

    @property
    def gain(self) -> float:
        """How many times as fast the compiled training is."""
        return self.compiled_images_per_s / self.images_per_s

    def epochs_to_pay(self, images_per_epoch: float, workers: float = 1.0) -> float:
        """Epochs after which the seconds to compile are saved; infinite if it gains nothing.

        ``workers`` is how many times as fast as one worker the job is.
        """
        saved_s = images_per_epoch / workers * (1 / self.images_per_s - 1 / self.compiled_images_per_s)
        return self.compile_s / saved_s if saved_s > 0 else math.inf


@dataclass(frozen=True)
class Speeds:
    """MACs per second of training the parent on one device, and other speeds relative to it.

    ``shares`` are those of other kinds of training; ``evaluation`` is that of passes without gradients, of which a
    training step counts as three. ``compiling`` is what ``torch.compile`` does to kinds of training, if it was measured.
    """

    parent: float
    shares: Mapping[Kind, float] = field(default_factory=dict)
    evaluation: float = 1.0
    compiling: Mapping[Kind, Compiling] = field(default_factory=dict)

    def of(self, job: Job) -> float:
        """MACs per second of a job's passes, not compiled; the parent's speed if that of its kind is not known."""
        return self.parent * self.shares.get(Kind.of(job), 1.0)

    def compiled(self, job: Job) -> tuple[float, float]:
        """How many times as fast the job trains because it is compiled, and the seconds to compile; (1, 0) if it is not."""
        found = self.compiling.get(Kind.of(job))
        return (found.gain, found.compile_s) if found is not None and is_compiled(job.work) else (1.0, 0.0)

    def counted(self, rate: float) -> Speeds:
        """Those of the reference GPU model, of which an hour on the device of these counts as ``rate`` hours."""
        compiling = {kind: replace(one, compile_s=one.compile_s * rate) for kind, one in self.compiling.items()}
        return replace(self, parent=self.parent / rate, compiling=compiling)


def sampled(jobs: Iterable[Job], parent: NetworkSpec) -> dict[Kind, list[Job]]:
    """For each kind of training, at most three jobs with different networks, evenly spread from the first to the last.

    Jobs that train at the parent's own speed, and networks whose shape is known only from their weights, are left out.
    """
    kinds: dict[Kind, dict[str, Job]] = {}
    for job in jobs:
        if not isinstance(job.work, Train) or job.is_smaller or job.computed_macs <= 0:
            continue
        kind = Kind.of(job)
        if job.network == parent and not kind.is_masked:
            continue
        kinds.setdefault(kind, {}).setdefault(repr(job.network), job)
    found = {}
    for kind, by_network in kinds.items():
        each = list(by_network.values())
        places = np.unique(np.linspace(0, len(each) - 1, NETWORKS_OF_A_KIND).round().astype(int))
        found[kind] = [each[place] for place in places]
    return found


def to_compile(jobs: Iterable[Job], *, every: bool = False) -> dict[Kind, Job]:
    """A job of each kind of training that is compiled, or of ``every`` kind: the one in the middle.

    A network whose shape is known only from its weights is replaced by the one that it was cut from.
    """
    kinds: dict[Kind, list[Job]] = {}
    for job in jobs:
        if is_compiled(job.work) or (every and isinstance(job.work, Train) and job.work.recipe.epochs > 0):
            kinds.setdefault(Kind.of(job), []).append(job)
    return {kind: each[len(each) // 2] for kind, each in kinds.items()}


@dataclass(frozen=True)
class Timed:
    """What is timed for a study: its parent and the networks of its jobs. It can be pickled for a separate process.

    Networks that the study compiles are timed compiled as well; if ``compiles``, all are.
    """

    parent: NetworkSpec
    parent_macs: int
    jobs: tuple[Job, ...]
    info: DataInfo
    batch_size: int
    compiles: bool = False

    def measured(self, device: torch.device, budget_s: float) -> Speeds:
        """Time training steps on noise for about ``budget_s`` seconds, half of them on the parent.

        At least five steps of each network are timed. Compiling takes as long as it takes.
        """
        speeds = _measured(self.parent, self.parent_macs, self.jobs, self.info, self.batch_size, device, budget_s)
        return replace(speeds, compiling=self._compiling(device, budget_s))

    def _compiling(self, device: torch.device, budget_s: float) -> dict[Kind, Compiling]:
        found: dict[tuple[str, int | None, bool], Compiling] = {}
        kinds = to_compile(self.jobs, every=self.compiles)
        batch = _batch(self.batch_size, PASSES_PER_TRAINED_IMAGE * self.parent_macs, device)
        which = {kind: (repr(job.network), job.image_size, kind.is_masked) for kind, job in kinds.items()}
        for kind, job in kinds.items():
            if which[kind] not in found:
                steps = _Steps(self.info, batch, device)
                found[which[kind]] = steps.compiled(job.network, job.image_size, budget_s / 2, is_masked=kind.is_masked)
        return {kind: found[which[kind]] for kind in kinds}


def _measured(
    parent: NetworkSpec,
    parent_macs: int,
    jobs: Iterable[Job],
    info: DataInfo,
    batch_size: int,
    device: torch.device,
    budget_s: float,
) -> Speeds:
    batch = _batch(batch_size, PASSES_PER_TRAINED_IMAGE * parent_macs, device)
    evaluated = _batch(EVAL_BATCH_SIZE, parent_macs, device)
    steps = _Steps(info, batch, device)
    kinds = sampled(jobs, parent)
    whole = steps.of(parent)
    trained_s, evaluated_s = _timed([whole, steps.evaluation_of(parent, evaluated)], budget_s / 2)
    own = _speed(parent_macs, batch, trained_s)
    evaluation = (trained_s / batch / PASSES_PER_TRAINED_IMAGE) / (evaluated_s / evaluated)
    shares = {}
    for kind, examples in kinds.items():
        found = []
        for job in examples:
            other = steps.of(job.network, is_masked=kind.is_masked, side=job.image_size)
            seconds = _timed([whole, other], budget_s / 2 / max(1, sum(map(len, kinds.values()))))
            found.append(_speed(job.computed_macs, batch, seconds[1]) / _speed(parent_macs, batch, seconds[0]))
        shares[kind] = float(np.exp(np.mean(np.log(found))))
    return Speeds(own, shares, evaluation)


def modelled_speeds(
    parent: NetworkSpec,
    parent_macs: int,
    jobs: Iterable[Job],
    image_shape: tuple[int, int, int],
    seconds_of: Callable[[MacsReport], float],
) -> Speeds:
    """Speeds predicted by a device model; ``seconds_of`` gives the seconds to train on one image, from the layers."""

    def speed(network: NetworkSpec, macs: int, side: int | None = None) -> float:
        shape = image_shape if side is None else (image_shape[0], side, side)
        return PASSES_PER_TRAINED_IMAGE * macs / seconds_of(count_macs(_built(network), shape))

    def of(job: Job) -> float:
        return speed(job.network, job.computed_macs, job.image_size)

    own = speed(parent, parent_macs)
    shares = {
        kind: float(np.exp(np.mean([np.log(of(job) / own) for job in examples])))
        for kind, examples in sampled(jobs, parent).items()
    }
    return Speeds(own, shares)


def _built(network: NetworkSpec) -> nn.Module:
    """The network with fresh weights, which are as fast as published ones."""
    return build_network(without_pretrained(network))


def _batch(most: int, macs_per_image: float, device: torch.device) -> int:
    return most if device.type != "cpu" else max(2, min(most, int(STEP_MACS / max(1.0, macs_per_image))))


def _speed(macs: int, batch: int, seconds: float) -> float:
    return PASSES_PER_TRAINED_IMAGE * macs * batch / seconds


class _Steps:
    """Makes training steps as the trainer does them, on one batch of noise."""

    def __init__(self, info: DataInfo, batch: int, device: torch.device) -> None:
        self._images = torch.randn(batch, *info.image_shape, device=device)
        self._task, self._targets = info.task, info.task.some_targets(batch, device)
        self._device = device

    def of(self, network: NetworkSpec, *, is_masked: bool = False, side: int | None = None) -> Callable[[], None]:
        """A training step of a network with fresh weights, on images with side ``side`` (None: those of the data).

        With ``is_masked`` it has masks that drop nothing, which cost as much as others.
        """
        model = on_device(_built(network), self._device)
        return self._step(model, Eager(), is_masked=is_masked, side=side)

    def compiled(self, network: NetworkSpec, side: int | None, budget_s: float, *, is_masked: bool) -> Compiling:
        """A network's training without and with ``torch.compile``, timed in turn."""
        plain = self.of(network, is_masked=is_masked, side=side)
        model = on_device(_built(network), self._device)
        count = len(self._images)
        try:
            with compiling(model, wanted=True) as compiles:
                step = self._step(model, compiles, is_masked=is_masked, side=side)
                begin_s = time.perf_counter()
                step()
                first_s = time.perf_counter() - begin_s
                plain_s, compiled_s = _timed([plain, step], budget_s)
        except CannotCompile as error:
            plain_s = _timed([plain], budget_s)[0]
            return Compiling(count / plain_s, count / plain_s, 0.0, str(error))
        return Compiling(count / plain_s, count / compiled_s, max(0.0, first_s - compiled_s))

    def _step(
        self, model: nn.Module, compiles: Compiles, *, is_masked: bool = False, side: int | None = None
    ) -> Callable[[], None]:
        height, width = self._images.shape[2:] if side is None else (side, side)
        images = resized(self._images, (height, width), "bilinear").contiguous(memory_format=torch.channels_last)
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, fused=True)
        if is_masked:
            MaskKeeper(model, masks_from_model(model)).hold(optimizer)
        half = half_type(self._device)

        def step() -> None:
            with (
                torch.autocast("cuda", dtype=half) if half else nullcontext(),
                quick_small_maps(self._device),
                compiles.passes(),
            ):
                output = model(images)
            self._task.loss_sum(output, self._targets).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if self._device.type == "cuda":
                torch.cuda.synchronize()

        return step

    def evaluation_of(self, network: NetworkSpec, batch: int) -> Callable[[], None]:
        """A pass without gradients, as on the validation split, over a batch of its size."""
        images = torch.randn(batch, *self._images.shape[1:], device=self._device)
        images = images.contiguous(memory_format=torch.channels_last)
        model = on_device(_built(network), self._device).eval()

        def step() -> None:
            with torch.inference_mode():
                model(images)
            if self._device.type == "cuda":
                torch.cuda.synchronize()

        return step


def _timed(steps: Sequence[Callable[[], None]], budget_s: float) -> list[float]:
    """The lower quartile of each step's seconds; they take turns, and the first round is a warm-up that does not count."""
    for step in steps:
        step()
    rounds: list[list[float]] = []
    began = time.perf_counter()
    while len(rounds) < LEAST_STEPS or (time.perf_counter() - began < budget_s and len(rounds) < MOST_STEPS):
        times = []
        for step in steps:
            begin = time.perf_counter()
            step()
            times.append(time.perf_counter() - begin)
        rounds.append(times)
    return [float(seconds) for seconds in np.quantile(np.array(rounds), QUICK, axis=0)]
