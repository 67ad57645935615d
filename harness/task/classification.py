"""Classification: one label per image, cross-entropy, top-1. Losses and mixing are timm's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.data import Mixup
from timm.data.mixup import mixup_target
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor, nn
from torch.nn import functional as F

from accounting.words.task import CLASSIFICATION, TaskWords
from harness.config.distill import Distill
from harness.config.recipe import Recipe
from harness.task.base import Normalisation, Objective, TaughtLoss
from harness.task.logits import DistilledLoss


@dataclass(frozen=True)
class Classification:
    """Targets are labels (N, int64), outputs are logits (N, ``num_outputs``), ``output_names`` are the class names."""

    num_outputs: int
    output_names: tuple[str, ...] = ()

    @property
    def words(self) -> TaskWords:
        """Top-1 accuracy."""
        return CLASSIFICATION

    def objective(self, recipe: Recipe) -> Objective:
        """Cross-entropy with label smoothing, or with soft labels if mixup or CutMix is used."""
        if not (recipe.mixup_alpha or recipe.cutmix_alpha):
            return Objective(LabelSmoothingCrossEntropy(recipe.label_smoothing), _unmixed)
        mixup = Mixup(
            mixup_alpha=recipe.mixup_alpha,
            cutmix_alpha=recipe.cutmix_alpha,
            label_smoothing=recipe.label_smoothing,
            num_classes=self.num_outputs,
        )

        def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            if len(images) % 2 == 0:
                mixed: tuple[Tensor, Tensor] = mixup(images, labels)
                return mixed
            return _around_the_middle(mixup, images, labels)

        return Objective(SoftTargetCrossEntropy(), mix)

    def taught(
        self, loss: nn.Module, teacher: nn.Module, distill: Distill, images: Normalisation, device: torch.device
    ) -> TaughtLoss:
        """The loss plus the divergence from the teacher's class probabilities (:mod:`harness.task.logits`)."""
        return DistilledLoss(teacher, distill, loss, images, device)

    def loss_sum(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy without label smoothing."""
        return F.cross_entropy(outputs, targets, reduction="sum")

    def imitation(self, outputs: Tensor, shown: Tensor) -> Tensor:
        """Cross-entropy with the other network's class probabilities, in float32."""
        return F.cross_entropy(outputs.float(), shown.float().softmax(1))

    def empty_tally(self, device: torch.device) -> Tensor:
        """Number of correct images, and of all images: both zero."""
        return torch.zeros(2, dtype=torch.int64, device=device)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Number of images whose highest output is their label's, and of all images."""
        right = (outputs.argmax(1) == targets).sum()
        return torch.stack([right, torch.full_like(right, len(targets))])

    def quality(self, tally: Tensor) -> float:
        """The share of correct images: top-1."""
        right, count = tally.tolist()
        if count == 0:
            raise ValueError("no image of the split can be read")
        return float(right / count)

    def some_targets(self, num_images: int, device: torch.device) -> Tensor:
        """The first class for every image."""
        return torch.zeros(num_images, dtype=torch.long, device=device)

    def fault_of_targets(self, targets: Tensor, num_images: int) -> str | None:
        """Labels must be int64, one per image, each of them a known class."""
        if targets.shape != (num_images,) or targets.dtype != torch.int64:
            return (
                f"gives labels of shape {tuple(targets.shape)} and {targets.dtype}; one torch.int64 for each image is "
                "needed"
            )
        low, high = (int(end) for end in torch.aminmax(targets))
        if low < 0 or high >= self.num_outputs:
            return f"has labels {low} to {high}; 0 to {self.num_outputs - 1} are allowed for its {self.num_outputs} classes"
        return None

    def fits(self, outputs: object, num_images: int) -> bool:
        """Whether there is one score per class for each image."""
        return isinstance(outputs, Tensor) and outputs.shape == (num_images, self.num_outputs)

    @property
    def outputs_text(self) -> str:
        """The outputs in words, for an error message."""
        return f"scores of {self.num_outputs} classes"

    @property
    def reading(self) -> str:
        """The class with the highest output."""
        return "print(CLASSES[logits.argmax()])"

    @property
    def unnamed_text(self) -> str:
        """Says that outputs are labels."""
        return f"The data names none; outputs are labels 0 to {self.num_outputs - 1}."


def _unmixed(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return images, labels


def _around_the_middle(mixup: Mixup, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """An odd batch mixed: timm mixes pairs, the first image with the last and so on, so the middle one stays as it is."""
    middle = len(images) // 2
    alone = mixup_target(labels[middle : middle + 1], mixup.num_classes, smoothing=mixup.label_smoothing)
    if middle == 0:
        return images, alone
    pairs, targets = mixup(_without(images, middle), _without(labels, middle))
    return _with(pairs, images[middle : middle + 1], middle), _with(targets, alone, middle)


def _without(rows: Tensor, place: int) -> Tensor:
    return torch.cat([rows[:place], rows[place + 1 :]])


def _with(rows: Tensor, row: Tensor, place: int) -> Tensor:
    return torch.cat([rows[:place], row, rows[place:]])
