"""The only trainer: every phase of every route is trained, evaluated and resumed here.

Optimiser, schedule and EMA are timm's; loss, mixing and quality belong to the task (``harness/task``). CUDA uses bf16
autocast and channels-last; the CPU uses channels-last, which made the quickstart's networks 1.5 times faster there.
Each epoch is seeded by (seed, epoch) alone, so an interrupted epoch is repeated exactly.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from harness.config.recipe import Recipe
from harness.data.base import Split, Splits
from harness.task.base import Task
from harness.training.compiled import Compiled, compiling
from harness.training.course import PLAIN, Course
from harness.training.resume import StateFiles, StateLost
from harness.training.state import State
from harness.training.synced_norm import synced_norm
from harness.training.updates import Updates
from harness.training.within import Part, Within
from harness.training.workers import ALONE, Crew, own_draws, scored_batches, training_batches

log = logging.getLogger(__name__)

EVAL_BATCH_SIZE = 250
"""Images per batch in evaluation. Model cards state it, since another order of summation can flip a tied image."""

RECALIBRATION_IMAGES = 2048


class Stopped(RuntimeError):
    """The training was stopped at a checkpoint, as requested; its state is kept so that a later attempt can continue."""


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

    ``dropped(why)`` is called before ``begun`` if a saved state could not be trusted. ``stop`` is called wherever the state
    was saved, from where a later attempt could continue; it returns why the training should end there, or None.
    ``saved(epochs done)`` is called after the state was saved within an epoch. Epochs are fractions there.
    """

    begun: Callable[[float], None]
    epoch: Callable[[Epoch], None]
    dropped: Callable[[str], None] = lambda why: None
    stop: Callable[[], str | None] = lambda: None
    saved: Callable[[float], None] = lambda epochs: None


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
    files: StateFiles,
    hooks: Hooks,
    course: Course = PLAIN,
    crew: Crew = ALONE,
    every_s: float | None = None,
) -> Trained:
    """Train ``model`` by ``recipe`` and return the network to keep (its EMA if the recipe has one).

    With a ``crew`` of several workers, each calls this with the same arguments and its own device, and all get the same
    network.

    Masked weights are zero after every step. At the end, batch norm is recalibrated on clean training images, so that
    its statistics match the final weights. The state is written to ``files`` after every epoch but the last, and within an
    epoch once it was not written for ``every_s`` seconds (:mod:`harness.training.within`). It is read if it can be trusted
    (:mod:`harness.training.resume`). A training in parts gives the same network as one in a single part.

    If the recipe says so, the network is compiled before ``hooks.begun`` is called, so that the time counts as start-up.

    Raises:
        CannotCompile: torch cannot compile the network.
        Diverged: the loss or a weight is not finite.
        StateLost: the state of the previous part cannot be trusted.
        Stopped: the training was stopped after an epoch.

    """
    model = on_device(model, device)
    state = State.of(model, recipe, device)
    crew.agree(model.state_dict())
    done, curve, masks, part = _restored(state, files, device, masks, hooks)
    crew.check_alike(done, "epoch to continue from")
    crew.check_alike(0 if part is None else part.updates, "update to continue from")
    if course.teacher is not None and recipe.teaching is not None:
        on_device(course.teacher, device)
    task, kept = splits.info.task, state.kept
    last = min(recipe.epochs, course.stop_epoch or recipe.epochs)
    with compiling(model, wanted=recipe.compile and done < last) as compiles:
        updates = Updates(state, splits, recipe, course, masks, device, crew, compiles)
        changing_masks = updates.masks if course.masks is not None else {}
        if isinstance(compiles, Compiled):  # before the work begins: it is start-up
            with own_draws(model, seed, done, device, crew), synced_norm(crew, recipe.sync_batch_norm):
                updates.try_out()
            compiles.settle()
        per_epoch, finished = updates.per_epoch, done

        def save_within(reached: Part) -> None:
            epochs = finished + reached.updates / per_epoch
            if crew.is_first:
                state.save(files.resume, finished, curve, changing_masks, files.identity, reached)
            hooks.saved(epochs)
            if (why := hooks.stop()) is not None:
                raise Stopped(f"stopped after {epochs:.3g} of {last} epochs: {why}")

        # Each worker's own running statistics, which are averaged at the end of an epoch, would be lost.
        can_save = crew.size == 1 or recipe.sync_batch_norm
        within = Within(every_s if can_save else None, crew, save_within)
        hooks.begun(done if part is None else done + part.updates / per_epoch)
        for epoch in range(done + 1, last + 1):
            seed_everything(seed, epoch)
            with own_draws(model, seed, epoch, device, crew) as own, synced_norm(crew, recipe.sync_batch_norm):
                loss = updates.epoch(epoch, own, within, part)
            part = None
            if not recipe.sync_batch_norm:
                state.average_statistics(crew)
            if epoch == recipe.epochs:
                recalibrate_batch_norm(kept, splits.train, recipe.batch_size, device, crew)
            curve.append(evaluate(kept, splits.val, task, device, crew))
            if epoch < last and crew.is_first:
                state.save(files.resume, epoch, curve, changing_masks, files.identity)
            finished = epoch
            within.begin_anew()
            hooks.epoch(Epoch(epoch, recipe.epochs, loss, curve[-1], checkpointed=epoch < last))
            if epoch < last and (why := hooks.stop()) is not None:
                raise Stopped(f"stopped after epoch {epoch} of {last}: {why}")
    if files.relay.after is not None and crew.is_first:
        state.save(files.relay.after, last, curve, changing_masks, files.relay.training)
    val_top1 = curve[-1] if curve else evaluate(kept, splits.val, task, device, crew)
    return Trained(kept, val_top1, tuple(curve), updates.masks)


def _restored(
    state: State, files: StateFiles, device: torch.device, masks: dict[str, Tensor], hooks: Hooks
) -> tuple[int, list[float], dict[str, Tensor], Part | None]:
    """Resume from this job's own state or else from that of the job before it; returns as ``State.restore``."""
    relay = files.relay
    restored = state.restore(files.resume, device, masks, files.identity, hooks.dropped)
    if restored[0] == 0 and restored[3] is None and relay.before is not None:
        restored = state.restore(relay.before, device, restored[2], relay.training)
        if restored[0] != relay.epochs:
            raise StateLost(f"{relay.before} is not the state after epoch {relay.epochs}")
    return restored


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
