"""What differs from a plain training: the objective, the masks, the learning rate, the end, the teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from harness.training.distillation import AtOwnSize
from pruning.masks import Masks

Losses = Callable[[nn.Module, Tensor, Tensor, nn.Module], Iterator[Tensor]]
"""Yields the terms of a batch's loss from ``(model, images, targets, loss function)``; each is back-propagated before the
next is computed."""


@dataclass(frozen=True)
class Course:
    """What differs from a plain training.

    ``losses``: an objective other than the loss of the network's output. ``masks(model, updates done, total updates)``:
    new masks before an update, or None. ``stop_epoch``: the training ends after this epoch of its recipe's schedule,
    and its accuracy is measured as after any intermediate epoch. ``lr(updates done)``: the learning rate, in place of
    the schedule's. ``teacher``: a network to learn from in addition to the labels; without one, the recipe's
    ``distill`` has no effect.
    """

    losses: Losses | None = None
    masks: Callable[[nn.Module, int, int], Masks | None] | None = None
    stop_epoch: int | None = None
    lr: Callable[[int], float] | None = None
    teacher: AtOwnSize | None = None


PLAIN = Course()
