"""The learning-rate range test (Smith 2017, arXiv 1506.01186, section 3.3): one epoch, with a rate rising every batch.

Smith reads the highest useful rate off a plot, where accuracy stops rising. To get a number instead, this follows
fastai's ``lr_find``: a tenth of the rate at which the smoothed training loss is lowest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

SPAN = 100.0
"""Rates range from the recipe's divided by this to the recipe's times this."""
BELOW_LOWEST = 10.0
"""The rate at the lowest loss, divided by the chosen rate."""
SMOOTHING = 0.9
"""Weight of the previous values in the running mean of the loss."""


def rate_at(update: int, num_updates: int, lr: float) -> float:
    """The learning rate of an update (from 0), geometrically spaced from ``lr`` / 100 to ``lr`` × 100."""
    return float(lr * SPAN ** (2 * update / max(1, num_updates - 1) - 1))


def chosen_rate(losses: Sequence[float], num_updates: int, lr: float) -> float:
    """A tenth of the rate at the lowest smoothed loss, rounded to three digits.

    Losses count up to the first that is not finite. The running mean is corrected for its start at zero. The result is
    ``lr`` if no loss is finite, or if only one rate was tried.
    """
    mean, best, found = 0.0, math.inf, lr
    if num_updates < 2:
        return lr
    for update, loss in enumerate(losses):
        if not math.isfinite(loss):
            break
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smoothed = mean / (1 - SMOOTHING ** (update + 1))
        if smoothed < best:
            best, found = smoothed, rate_at(update, num_updates, lr) / BELOW_LOWEST
    return float(f"{found:.3g}")


@dataclass
class Recorder:
    """Records the loss of every update; the objective is the plain one."""

    losses: list[float] = field(default_factory=list)

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, loss_fn: nn.Module) -> Iterator[Tensor]:
        """See :data:`harness.training.course.Losses`."""
        loss = loss_fn(model(images), targets)
        self.losses.append(float(loss.detach()))
        yield loss
