"""The task interface: exactly what would differ between classification and any other task.

A dataset names the task of its images (``DataInfo.task``). The trainer, gradient-based criteria, the supernet, the
checks of parents and datasets, and delivery ask the task; none of them knows what a label is. The words for its quality
are in ``accounting/words/task.py``.
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
"""(images, targets) of a batch → both as used for training: mixed, softened, or in another form."""


class TaughtLoss(nn.Module):
    """A loss of outputs and targets that includes a teacher; :meth:`show` is called before the losses of a batch."""

    def show(self, images: Tensor) -> None:
        """Set the batch (N, C, H, W; normalised like the data) that the next losses refer to."""
        raise NotImplementedError


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per channel, for pixels from 0 to 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Objective:
    """What a training minimises: ``loss(outputs, targets)``, the mean over a batch that ``mix`` has transformed."""

    loss: nn.Module
    mix: Mix


class Task(Protocol):
    """What a study's networks do. ``targets`` accompany the images in the dataset's batches, one for each image."""

    @property
    def words(self) -> TaskWords:
        """The task's name, and the words for its quality."""
        ...

    @property
    def num_outputs(self) -> int:
        """Number of outputs of the head per image; networks are built with it."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """The meaning of each output, in order; empty if the data has no names."""
        ...

    def objective(self, recipe: Recipe) -> Objective:
        """What a training by this recipe minimises."""
        ...

    def taught(
        self, loss: nn.Module, teacher: nn.Module, distill: Distill, images: Normalisation, device: torch.device
    ) -> TaughtLoss:
        """The loss including the teacher's part. ``teacher`` takes the batch as the student sees it."""
        ...

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The plain loss, summed over a batch; pruning criteria use its gradients."""
        ...

    def imitation(self, outputs: Tensor, shown: Tensor) -> Tensor:
        """How far a network's outputs are from another's (detached); the smaller members of a supernet minimise it."""
        ...

    def empty_tally(self, device: torch.device) -> Tensor:
        """A tally of no images; the tallies of batches and workers are added up."""
        ...

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What a batch adds to the tally."""
        ...

    def quality(self, tally: Tensor) -> float:
        """The quality, a fraction 0-1; higher is better.

        Raises:
            ValueError: no image was tallied.

        """
        ...

    def some_targets(self, num_images: int, device: torch.device) -> Tensor:
        """Arbitrary targets, for trying or timing a training step."""
        ...

    def fault_of_targets(self, targets: Tensor, num_images: int) -> str | None:
        """What is wrong with a dataset's targets, as ``gives labels …``; None if nothing is."""
        ...

    def fits(self, outputs: object, num_images: int) -> bool:
        """Whether a network's outputs for a batch have the form that this task needs."""
        ...

    @property
    def outputs_text(self) -> str:
        """The required form in words: ``scores of 10 classes``."""
        ...

    @property
    def reading(self) -> str:
        """A line of Python for a delivered ``model.py`` that prints the result for one image, with the output names."""
        ...

    @property
    def unnamed_text(self) -> str:
        """A sentence for a delivered network's card: what the outputs are if they have no names."""
        ...
