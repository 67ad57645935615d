"""One decoded dataset at several sizes: what a job is shown at a side of its own is resized batch by batch, on its device.

Augmentation comes before, at the size at which the dataset gives its images; erasing and mixing come after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.data.base import Batches, DataInfo, Pick, Shared, Split, Splits


def resized(images: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """Images (N, C, H, W) at another height and width, with antialiasing; bicubic unless told bilinear."""
    if tuple(images.shape[2:]) == size:
        return images
    mode = "bilinear" if interpolation == "bilinear" else "bicubic"
    return F.interpolate(images, size, mode=mode, antialias=True, align_corners=False)


def info_at(info: DataInfo, side: int | None) -> DataInfo:
    """The facts of the same images at ``side`` pixels; None: as the dataset gives them."""
    channels, *size = info.image_shape
    if side is None or size == [side, side]:
        return info
    resize = "stretch" if info.resize == "none" else info.resize
    return replace(info, image_shape=(channels, side, side), resize=resize, decoded_px=(size[0], size[1]))


def splits_at(splits: Splits, side: int | None) -> Splits:
    """The same splits at ``side`` pixels; None: as the dataset gives them."""
    info = info_at(splits.info, side)
    if info is splits.info:
        return splits
    return Splits(info, *(_sized(split, info) for split in (splits.train, splits.val, splits.test)))


@dataclass(frozen=True)
class SizedSplit:
    """A split whose images are resized to those of ``info`` once they are on the device."""

    whole: Split
    info: DataInfo

    def __len__(self) -> int:
        return len(self.whole)

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """See :class:`harness.data.base.Split`."""
        yield from self._at_size(self.whole.batches(batch_size, device, augment=augment))

    def _at_size(self, batches: Batches) -> Batches:
        _, height, width = self.info.image_shape
        for images, targets in batches:
            yield resized(images, (height, width), self.info.interpolation), targets


@dataclass(frozen=True)
class _SharedSizedSplit(SizedSplit):
    """The same of a split that can read a part of each batch."""

    def shares(self, batch_size: int, device: torch.device, *, augment: str | None, pick: Pick, reader: int) -> Batches:
        """See :class:`harness.data.base.Shared`."""
        assert isinstance(self.whole, Shared)
        yield from self._at_size(self.whole.shares(batch_size, device, augment=augment, pick=pick, reader=reader))


def _sized(split: Split, info: DataInfo) -> SizedSplit:
    return _SharedSizedSplit(split, info) if isinstance(split, Shared) else SizedSplit(split, info)
