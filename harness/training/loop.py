"""The only trainer: every phase of every route is trained, evaluated and resumed here.

Optimiser, schedule and EMA are timm's; loss, mixing and quality belong to the task (``harness/task``). CUDA uses bf16
autocast and channels-last; the CPU uses channels-last, which made the quickstart's networks 1.5 times faster there.
Each epoch is seeded by (seed, epoch) alone, so an interrupted epoch is repeated exactly.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timm.data.random_erasing import RandomErasing
from torch import Tensor, nn

from harness.config.recipe import Recipe
from harness.data.base import DataInfo, Split, Splits
from harness.task.base import Mix, Task, TaughtLoss
from harness.training.distillation import AtOwnSize
from harness.training.resume import WHOLE, Relay, StateLost
from harness.training.state import State, half_type, schedule_of
from harness.training.synced_norm import synced_norm
from harness.training.workers import (
    ALONE,
    Crew,
    average_gradients,
    own_draws,
    scored_batches,
    training_batches,
)
from pruning.masks import MaskKeeper, Masks

log = logging.getLogger(__name__)

EVAL_BATCH_SIZE = 250
"""Images per batch in evaluation. Model cards state it, since another order of summation can flip a tied image."""

RECALIBRATION_IMAGES = 2048


class Diverged(RuntimeError):
    """The loss is not a finite number; a retry with the same seed would not help."""


class Stopped(RuntimeError):
    """The training was stopped after an epoch, as requested; its state is kept so that a later attempt can continue."""


@dataclass(frozen=True)
class Epoch:
    """The results of one finished epoch; ``epoch`` counts from 1."""

    epoch: int
    num_epochs: int
    train_loss: float
    val_top1: float
    checkpointed: bool


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a training: ``begun(epochs done before)``, and ``epoch`` after each finished epoch.

    ``dropped(why)`` is called before ``begun`` if a saved state could not be trusted. ``stop`` is called after each
    epoch from which a later attempt could continue; it returns why the training should end there, or None.
    """

    begun: Callable[[int], None]
    epoch: Callable[[Epoch], None]
    dropped: Callable[[str], None] = lambda why: None
    stop: Callable[[], str | None] = lambda: None


Losses = Callable[[nn.Module, Tensor, Tensor, nn.Module], Iterator[Tensor]]
"""Yields the terms of a batch's loss from ``(model, images, targets, loss function)``; each is back-propagated before the
next is computed."""


@dataclass(frozen=True)
class Course:
    """What differs from a plain training.

    ``losses``: an objective other than the loss of the network's output. ``masks(model, updates done, total updates)``:
    new masks before an update, or None. ``stop_epoch``: the training ends after this epoch of its recipe's schedule,
    and its accuracy is measured as after any intermediate epoch. ``lr(updates done)``: the learning rate, in place of
    the schedule's.
    """

    losses: Losses | None = None
    masks: Callable[[nn.Module, int, int], Masks | None] | None = None
    stop_epoch: int | None = None
    lr: Callable[[int], float] | None = None


@dataclass(frozen=True)
class Trained:
    """The network to keep, its val_top1, the val_top1 after each epoch, and the final masks."""

    model: nn.Module
    val_top1: float
    val_curve: tuple[float, ...]
    masks: dict[str, Tensor]


def train(
    model: nn.Module,
    splits: Splits,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    masks: dict[str, Tensor],
    resume: Path,
    hooks: Hooks,
    course: Course = Course(),
    identity: str = "",
    crew: Crew = ALONE,
    teacher: AtOwnSize | None = None,
    relay: Relay = WHOLE,
) -> Trained:
    """Train ``model`` by ``recipe`` and return the network to keep (its EMA if the recipe has one).

    With a ``crew`` of several workers, each calls this with the same arguments and its own device, and all get the same
    network. ``teacher``: a network to learn from in addition to the labels; without one, the recipe's ``distill`` has
    no effect.

    Masked weights are zero after every step. At the end, batch norm is recalibrated on clean training images, so that
    its statistics match the final weights. ``resume`` is written after every epoch but the last; it is read if it
    exists and has the same ``identity`` (:mod:`harness.training.resume`). A training in parts (``relay``) gives the
    same network as one in a single part.

    Raises:
        Diverged: the loss or a weight is not finite.
        StateLost: the state of the previous part cannot be trusted.
        Stopped: the training was stopped after an epoch.

    """
    model = on_device(model, device)
    state = State.of(model, recipe, device)
    optimizer, ema = state.optimizer, state.ema
    crew.agree(model.state_dict())
    done, curve, masks = state.restore(resume, device, masks, identity, hooks.dropped)
    if done == 0 and relay.before is not None:
        done, curve, masks = state.restore(relay.before, device, masks, relay.training)
        if done != relay.epochs:
            raise StateLost(f"{relay.before} is not the state after epoch {relay.epochs}")
    crew.check_alike(done, "epoch to continue from")
    keeper = MaskKeeper(model, {name: mask.to(device) for name, mask in masks.items()})
    keeper.hold(optimizer)
    if ema is not None:
        keeper.hold_ema(ema.module)
    updates_per_epoch = max(1, len(splits.train) // recipe.batch_size)
    scheduler = schedule_of(optimizer, recipe, updates_per_epoch)

    def before_update(number: int) -> None:
        scheduler.step_update(number)
        if course.lr is not None:
            for group in optimizer.param_groups:
                group["lr"] = course.lr(number)
        if course.masks is not None:
            new = course.masks(model, number, recipe.epochs * updates_per_epoch)
            if new is not None:
                crew.agree(new)
                masks.update(new)
                keeper.change(masks)

    task, objective = splits.info.task, _objective(recipe, course, splits.info, teacher, device)
    kept = ema.module if ema is not None else model
    last = min(recipe.epochs, course.stop_epoch or recipe.epochs)
    hooks.begun(done)
    for epoch in range(done + 1, last + 1):
        seed_everything(seed, epoch)
        first_update = (epoch - 1) * updates_per_epoch
        with own_draws(model, seed, epoch, device, crew), synced_norm(crew, recipe.sync_batch_norm):
            loss = _one_epoch(state, splits, recipe, device, before_update, objective, first_update, crew)
        if not recipe.sync_batch_norm:
            state.average_statistics(crew)
        if epoch == recipe.epochs:
            recalibrate_batch_norm(kept, splits.train, recipe.batch_size, device, crew)
        curve.append(evaluate(kept, splits.val, task, device, crew))
        if epoch < last and crew.is_first:
            state.save(resume, epoch, curve, masks if course.masks is not None else {}, identity)
        hooks.epoch(Epoch(epoch, recipe.epochs, loss, curve[-1], checkpointed=epoch < last))
        if epoch < last and (why := hooks.stop()) is not None:
            raise Stopped(f"stopped after epoch {epoch} of {last}: {why}")
    if relay.after is not None and crew.is_first:
        state.save(relay.after, last, curve, masks if course.masks is not None else {}, relay.training)
    val_top1 = curve[-1] if curve else evaluate(kept, splits.val, task, device, crew)
    return Trained(kept, val_top1, tuple(curve), masks)


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """The model, moved to a device and into the memory layout used there."""
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def evaluate(model: nn.Module, split: Split, task: Task, device: torch.device, crew: Crew = ALONE) -> float:
    """Quality (fraction 0-1) of ``model`` on the readable images of a split; each image is scored by one worker."""
    model.eval()
    tally = task.empty_tally(device)
    with torch.inference_mode():
        for images, targets in scored_batches(split, EVAL_BATCH_SIZE, device, crew):
            tally += task.tally(model(images.contiguous(memory_format=torch.channels_last)), targets)
    return task.quality(crew.sum(tally))


def recalibrate_batch_norm(
    model: nn.Module, split: Split, batch_size: int, device: torch.device, crew: Crew = ALONE
) -> None:
    """Set batch-norm means and variances to their averages over clean training images; weights do not change."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    seen, batch_size = 0, max(batch_size, 128)
    with torch.inference_mode(), synced_norm(crew):
        for images, _ in training_batches(split, batch_size, device, "none", crew):
            model(images.contiguous(memory_format=torch.channels_last))
            seen += len(images) if crew.size == 1 else batch_size  # the same number in all workers
            if seen >= RECALIBRATION_IMAGES:
                break
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def seed_everything(seed: int, epoch: int) -> None:
    """Seed torch, numpy and random for one epoch; the numbers depend on (seed, epoch) alone."""
    mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    torch.manual_seed(mixed)
    np.random.seed(mixed)
    random.seed(mixed)


def _one_epoch(
    state: State,
    splits: Splits,
    recipe: Recipe,
    device: torch.device,
    before_update: Callable[[int], None],
    objective: _Objective,
    first_update: int,
    crew: Crew,
) -> float:
    """Mean training loss of one epoch over all workers.

    The gradient of an update is the mean over its batch, for any number of workers and passes (``recipe.accumulate``).
    """
    model, ema, optimizer, scaler = state.model, state.ema, state.optimizer, state.scaler
    model.train()
    loss_fn = objective.loss_fn
    half = half_type(device)
    total, count = torch.zeros((), device=device), 0
    for images, targets in training_batches(splits.train, recipe.batch_size, device, recipe.augmentation, crew):
        before_update(first_update + count)
        if objective.erasing is not None:
            images = objective.erasing(images)
        images = images.contiguous(memory_format=torch.channels_last)
        images, targets = objective.mix(images, targets)
        optimizer.zero_grad(set_to_none=True)
        # Equal shares have weight 1; others are weighted by their number of images.
        share = len(images) if crew.size == 1 else recipe.batch_size / crew.size
        for some_images, some_targets in _passes(images, targets, recipe.accumulate):
            weight = len(some_images) / share
            if isinstance(loss_fn, TaughtLoss):
                loss_fn.show(some_images)
            parts = objective.losses(model, some_images, some_targets, loss_fn)
            while True:
                with torch.autocast("cuda", dtype=half) if half else nullcontext():
                    loss = next(parts, None)
                if loss is None:
                    break
                loss = loss * weight
                scaler.scale(loss).backward()
                total += loss.detach()
        average_gradients(model, len(images) / share, crew)
        scaler.step(optimizer)
        scaler.update()
        if ema is not None:
            # The step lets the average warm up; without it, a short training would deliver its random initial weights.
            ema.update(model, step=first_update + count + 1)
        count += 1
    mean = float(crew.sum(total)) / crew.size / max(1, count)
    if not np.isfinite(mean) or not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        raise Diverged(f"the training loss became {mean}")
    return mean


def _passes(images: Tensor, targets: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """A batch in ``count`` parts of about equal size; fewer if it has few images: batch norm needs two in each."""
    count = min(count, max(1, len(images) // 2))
    return zip(images.tensor_split(count), targets.tensor_split(count), strict=True)


def _plain(model: nn.Module, images: Tensor, targets: Tensor, loss_fn: nn.Module) -> Iterator[Tensor]:
    yield loss_fn(model(images), targets)


@dataclass(frozen=True)
class _Objective:
    """What is minimised: the terms of a batch's loss, their loss function, and how images are mixed and erased."""

    losses: Losses
    loss_fn: nn.Module
    mix: Mix
    erasing: RandomErasing | None


def _objective(
    recipe: Recipe, course: Course, info: DataInfo, teacher: AtOwnSize | None, device: torch.device
) -> _Objective:
    plain = info.task.objective(recipe)
    loss_fn = plain.loss
    if teacher is not None and recipe.teaching is not None:
        on_device(teacher, device)
        loss_fn = info.task.taught(loss_fn, teacher, recipe.teaching, info.normalisation, device)
    erasing = RandomErasing(recipe.erase_prob, mode="pixel", device=device) if recipe.erase_prob else None
    return _Objective(course.losses or _plain, loss_fn, plain.mix, erasing)
