"""How a teacher sees a student's images; what is learned from its outputs is up to the task (``harness/task``)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.data.sized import resized
from harness.jobs.teacher import Teacher


class AtOwnSize(nn.Module):
    """A teacher that takes images of any size and resizes them to its own, with antialiasing.

    ``pretrained_cfg`` holds its normalisation, where timm looks for it.
    """

    def __init__(self, network: nn.Module, teacher: Teacher) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.pretrained_cfg = {"mean": teacher.mean, "std": teacher.std}
        self._size = teacher.image_shape[1:]
        self._interpolation = teacher.interpolation

    def forward(self, images: Tensor) -> Tensor:
        """Outputs for images (N, C, H, W) with the teacher's normalisation."""
        images = resized(images, self._size, self._interpolation)
        outputs: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return outputs
