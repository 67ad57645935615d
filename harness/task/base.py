"""The task as a seam: what differs between classification and whatever comes after it, and nothing else.

A dataset says which task its images are for (``DataInfo.task``). The trainer, the criteria with gradients, the supernet, the
checks of parents and datasets, and the delivery ask the task; none of them knows what a label is. How the quality is told is
in ``accounting/words/task.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from accounting.words.task import TaskWords
from harness.config.distill import Distill
from harness.config.recipe import Recipe

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(images, targets) of a batch → both as they are learned from: mixed, softened, or of another form."""


class TaughtLoss(nn.Module):
    """A loss of outputs and targets with a teacher's part in it; :meth:`show` comes before the losses of a batch."""

    def show(self, images: Tensor) -> None:
        """The batch (N, C, H, W; normalised as the data's) that the next losses are of."""
        raise NotImplementedError


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, of pixels from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Objective:
    """What a training minimises: ``loss(outputs, targets)``, the mean over a batch, of what ``mix`` makes of the batch."""

    loss: nn.Module
    mix: Mix


class Task(Protocol):
    """What a study's networks do. ``targets`` are what the dataset's batches have beside the images, one for each image."""

    @property
    def words(self) -> TaskWords:
        """What it is called, and how its quality is told."""
        ...

    @property
    def num_outputs(self) -> int:
        """How many numbers the head gives for an image: what a network is built with."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """What they mean, in their order; empty if the data has no names."""
        ...

    def objective(self, recipe: Recipe) -> Objective:
        """What a training by this recipe minimises."""
        ...

    def taught(
        self, loss: nn.Module, teacher: nn.Module, distill: Distill, images: Normalisation, device: torch.device
    ) -> TaughtLoss:
        """The loss with the teacher's part in it. ``teacher`` takes the batch as the student sees it."""
        ...

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The plain loss, summed over a batch: what gradients for pruning are of."""
        ...

    def imitation(self, outputs: Tensor, shown: Tensor) -> Tensor:
        """How far a network's outputs are from another's (detached): what the smaller members of a supernet minimise."""
        ...

    def empty_tally(self, device: torch.device) -> Tensor:
        """A tally of no images. Tallies of batches, and of workers, are added up."""
        ...

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What a batch adds to the tally."""
        ...

    def quality(self, tally: Tensor) -> float:
        """The quality, a fraction 0 to 1, higher is better; ``ValueError`` where no image was tallied."""
        ...

    def some_targets(self, num_images: int, device: torch.device) -> Tensor:
        """Targets of any content, to try or to time a training step with."""
        ...

    def fault_of_targets(self, targets: Tensor, num_images: int) -> str | None:
        """What is wrong with a dataset's targets, as ``gives labels …``; None where nothing is."""
        ...

    def fits(self, outputs: object, num_images: int) -> bool:
        """Whether a network's outputs for a batch have the form that this task needs."""
        ...

    @property
    def outputs_text(self) -> str:
        """That form in words: ``scores of 10 classes``."""
        ...

    @property
    def reading(self) -> str:
        """A line of Python in a delivered ``model.py``: prints what a network says of one image, by the names of outputs."""
        ...

    @property
    def unnamed_text(self) -> str:
        """A sentence for the card of a delivered network: what the outputs are where they have no names."""
        ...
