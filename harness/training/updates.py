"""The updates of one epoch: what changes before each, its gradient, and its step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from timm.data.random_erasing import RandomErasing
from torch import Tensor, nn

from harness.config.recipe import Recipe
from harness.data.base import DataInfo, Splits
from harness.task.base import Mix, TaughtLoss
from harness.training.compiled import Compiles
from harness.training.course import Course, Losses
from harness.training.depthwise import quick_small_maps
from harness.training.state import State, half_type, schedule_of
from harness.training.within import Part, Within
from harness.training.workers import (
    Crew,
    OwnDraws,
    average_gradients,
    draws_apart,
    share_of,
    training_batches,
)
from pruning.masks import MaskKeeper


class Diverged(RuntimeError):
    """The loss is not a finite number; a retry with the same seed would not help."""


class Updates:
    """The updates of a training, epoch by epoch; masked weights are zero after each.

    ``masks`` are those of the moment: a course may change them before any update.
    """

    def __init__(
        self, state: State, splits: Splits, recipe: Recipe, course: Course, masks: dict[str, Tensor],
        device: torch.device, crew: Crew, compiles: Compiles,
    ) -> None:  # fmt: skip
        self.masks = masks
        self._compiles = compiles
        self._state, self._recipe, self._course, self._device, self._crew = state, recipe, course, device, crew
        self._split, self._info = splits.train, splits.info
        self._per_epoch = max(1, len(splits.train) // recipe.batch_size)
        self._keeper = MaskKeeper(state.model, {name: mask.to(device) for name, mask in masks.items()})
        self._keeper.hold(state.optimizer)
        if state.ema is not None:
            self._keeper.hold_ema(state.ema.module)
        self._scheduler = schedule_of(state.optimizer, recipe, self._per_epoch)
        self._objective = _objective(recipe, course, splits.info, device, crew)

    @property
    def per_epoch(self) -> int:
        """How many updates an epoch has."""
        return self._per_epoch

    def epoch(self, epoch: int, own: OwnDraws, within: Within, part: Part | None = None) -> float:
        """Make the updates of an epoch, counted from 1; returns its mean training loss over all workers.

        With ``part``, those of its updates are made already; their batches are read and passed over.

        Raises:
            Diverged: the loss or a weight is not finite.

        """
        state, recipe = self._state, self._recipe
        state.model.train()
        first, count = (epoch - 1) * self._per_epoch, 0
        total = torch.zeros((), device=self._device)
        batches = training_batches(self._split, recipe.batch_size, self._device, recipe.augmentation, self._crew)
        if part is not None:
            while count < part.updates and next(batches, None) is not None:
                count += 1
            total += part.total.to(self._device)
            part.set_draws(self._crew, own)
        for images, targets in batches:
            self._prepare(first + count)
            self._add_gradients(*self._objective.prepared(images, targets), total)
            count += 1
            self._step(first + count)
            if count < self._per_epoch:
                within.after(count, total, own)
        mean = float(self._crew.sum(total)) / self._crew.size / max(1, count)
        if not np.isfinite(mean) or not all(bool(torch.isfinite(p).all()) for p in state.model.parameters()):
            raise Diverged(f"the training loss became {mean}")
        return mean

    def try_out(self) -> None:
        """Compute the gradients of a batch of noise, as large as a batch will be, and leave everything as it was.

        This is where a network is compiled. Random numbers are drawn, which does not matter: each epoch is seeded.
        """
        model = self._state.model.train()
        before = {name: buffer.clone() for name, buffer in model.named_buffers()}
        count = len(share_of(min(self._recipe.batch_size, len(self._split)), self._crew))
        images = torch.randn(count, *self._info.image_shape, device=self._device)
        targets = self._info.task.some_targets(count, self._device)
        prepared = self._objective.prepared(images, targets)
        self._add_gradients(*prepared, torch.zeros((), device=self._device))
        self._state.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])

    def _prepare(self, number: int) -> None:
        """Set the learning rate and the masks of an update, after ``number`` others."""
        course, optimizer = self._course, self._state.optimizer
        self._scheduler.step_update(number)
        if course.lr is not None:
            for group in optimizer.param_groups:
                group["lr"] = course.lr(number)
        if course.masks is not None:
            new = course.masks(self._state.model, number, self._recipe.epochs * self._per_epoch)
            if new is not None:
                self._crew.agree(new)
                self.masks.update(new)
                self._keeper.change(self.masks)
        optimizer.zero_grad(set_to_none=True)

    def _add_gradients(self, images: Tensor, targets: Tensor, total: Tensor) -> None:
        """The gradient of an update: the mean over its batch, for any number of workers and passes.

        The terms of the loss are added to ``total``.
        """
        model, objective, crew, recipe = self._state.model, self._objective, self._crew, self._recipe
        half = half_type(self._device)
        # Equal shares have weight 1; others are weighted by their number of images.
        share = len(images) if crew.size == 1 else recipe.batch_size / crew.size
        for some_images, some_targets in _passes(images, targets, recipe.accumulate):
            weight = len(some_images) / share
            if isinstance(objective.loss_fn, TaughtLoss):
                objective.loss_fn.show(some_images)
            terms = objective.losses(model, some_images, some_targets, objective.loss_fn)
            while True:
                with (
                    torch.autocast("cuda", dtype=half) if half else nullcontext(),
                    quick_small_maps(self._device),
                    self._compiles.passes(),
                ):
                    loss = next(terms, None)
                if loss is None:
                    break
                loss = loss * weight
                self._state.scaler.scale(loss).backward()
                total += loss.detach()
        average_gradients(model, len(images) / share, crew)

    def _step(self, number: int) -> None:
        """Apply the gradients; this is update ``number`` of the training, counted from 1."""
        state = self._state
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.ema is not None:
            # The step lets the average warm up; without it, a short training would deliver its random initial weights.
            state.ema.update(state.model, step=number)


@dataclass(frozen=True)
class _Objective:
    """What is minimised: the terms of a batch's loss, their loss function, and how a crew mixes and erases images."""

    losses: Losses
    loss_fn: nn.Module
    mix: Mix
    erasing: RandomErasing | None
    crew: Crew

    def prepared(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """A batch, erased and mixed, in the layout of memory in which it is computed."""
        if self.erasing is not None:
            with draws_apart(self.crew):  # workers with shares of different sizes draw different numbers of numbers
                images = self.erasing(images)
        return self.mix(images.contiguous(memory_format=torch.channels_last), targets)


def _objective(recipe: Recipe, course: Course, info: DataInfo, device: torch.device, crew: Crew) -> _Objective:
    plain = info.task.objective(recipe)
    loss_fn = plain.loss
    if course.teacher is not None and recipe.teaching is not None:
        loss_fn = info.task.taught(loss_fn, course.teacher, recipe.teaching, info.normalisation, device)
    erasing = RandomErasing(recipe.erase_prob, mode="pixel", device=device) if recipe.erase_prob else None
    return _Objective(course.losses or _plain, loss_fn, plain.mix, erasing, crew)


def _plain(model: nn.Module, images: Tensor, targets: Tensor, loss_fn: nn.Module) -> Iterator[Tensor]:
    yield loss_fn(model(images), targets)


def _passes(images: Tensor, targets: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """A batch in ``count`` parts of about equal size; fewer if it has few images: batch norm needs two in each."""
    count = min(count, max(1, len(images) // 2))
    return zip(images.tensor_split(count), targets.tensor_split(count), strict=True)
