"""Knowledge distillation of class scores, by timm (``timm.task.LogitDistillationTask``, available since timm 1.0.31).

The loss is (1 - weight) × the loss of the labels + weight × T² × KL(teacher ‖ student) of the outputs divided by T
(Hinton et al. 2015, arXiv 1503.02531, section 2), averaged over the batch. The teacher is in evaluation mode, is not
trained, and draws no random numbers, so a resumed training continues as it would have without the interruption.
"""

from __future__ import annotations

import torch
from timm.task import LogitDistillationTask
from timm.task.distillation import DistillationTeacher
from torch import Tensor, nn

from harness.config.distill import Distill
from harness.task.base import Normalisation, TaughtLoss


class _Student(nn.Module):
    """Returns outputs that the trainer already has; a supernet's largest member has run before its loss is computed."""

    def __init__(self, images: Normalisation) -> None:
        super().__init__()
        self.pretrained_cfg = {"mean": images.mean, "std": images.std}
        self.outputs = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        return self.outputs


class DistilledLoss(TaughtLoss):
    """A loss of outputs and labels that includes the teacher's part.

    ``teacher`` has its normalisation in timm's ``pretrained_cfg``; ``images`` is the student's normalisation.
    """

    def __init__(
        self, teacher: nn.Module, distill: Distill, of_labels: nn.Module, images: Normalisation, device: torch.device
    ) -> None:
        super().__init__()
        self._student = _Student(images)
        self._images = torch.empty(0)
        self._task = LogitDistillationTask(
            self._student,
            DistillationTeacher(teacher, device=device),
            criterion=of_labels,
            distill_loss_weight=distill.weight,
            task_loss_weight=1 - distill.weight,
            temperature=distill.temperature,
            device=device,
            verbose=False,
        )

    def show(self, images: Tensor) -> None:
        """Set the batch that the next losses refer to, as the student sees it."""
        self._images = images

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of the batch last shown; ``outputs`` are the student's."""
        self._student.outputs = outputs
        loss: Tensor = self._task(self._images, targets)["loss"]
        self._student.outputs = outputs.detach()
        return loss
