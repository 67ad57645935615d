"""Knowledge distillation: timm's own (``timm.task.LogitDistillationTask``, there since timm 1.0.31), fitted to this trainer.

The loss is (1 - weight) × that of the labels + weight × T² × KL(teacher ‖ student) of the outputs divided by T (Hinton et
al. 2015, arXiv 1503.02531, section 2), averaged over the batch. The teacher is in evaluation mode, learns nothing, and draws
no random number, so that a training that is taken up again goes on as it would have.
"""

from __future__ import annotations

import torch
from timm.task import LogitDistillationTask
from timm.task.distillation import DistillationTeacher
from torch import Tensor, nn
from torch.nn import functional as F

from harness.config.distill import Distill
from harness.data.base import DataInfo
from harness.jobs.teacher import Teacher


class AtOwnSize(nn.Module):
    """A teacher that is shown images of any size: they are resized to its own, with antialiasing.

    ``pretrained_cfg`` has its normalisation, where timm looks for it.
    """

    def __init__(self, network: nn.Module, teacher: Teacher) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.pretrained_cfg = {"mean": teacher.mean, "std": teacher.std}
        self._size = teacher.image_shape[1:]
        self._mode = "bilinear" if teacher.interpolation == "bilinear" else "bicubic"

    def forward(self, images: Tensor) -> Tensor:
        """Outputs for images (N, C, H, W) that are normalised as the teacher's are."""
        if tuple(images.shape[2:]) != self._size:
            images = F.interpolate(images, self._size, mode=self._mode, antialias=True, align_corners=False)
        outputs: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return outputs


class _Student(nn.Module):
    """Gives the outputs that the trainer already has; a supernet's largest member has run before its loss is asked for."""

    def __init__(self, info: DataInfo) -> None:
        super().__init__()
        self.pretrained_cfg = {"mean": info.mean, "std": info.std}
        self.outputs = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        return self.outputs


class DistilledLoss(nn.Module):
    """A loss of outputs and labels, as the trainer asks for it, that has the teacher's part in it.

    :meth:`show` is given a batch's images (normalised as the data's) before the losses of that batch.
    """

    def __init__(
        self, teacher: AtOwnSize, distill: Distill, of_labels: nn.Module, info: DataInfo, device: torch.device
    ) -> None:
        super().__init__()
        self._student = _Student(info)
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
        """The batch that the next losses are of, as the student sees it."""
        self._images = images

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of the batch last shown; ``outputs`` are the student's."""
        self._student.outputs = outputs
        loss: Tensor = self._task(self._images, targets)["loss"]
        self._student.outputs = outputs.detach()
        return loss
