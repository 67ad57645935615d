"""One decoded dataset at several sizes: if a job has its own image size, batches are resized on its device.

Augmentation comes before, at the dataset's own size; erasing and mixing come after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.data.base import Batches, Closes, DataInfo, Pick, Shared, Split, Splits


def resized(images: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """Images (N, C, H, W) resized with antialiasing; bicubic unless ``interpolation`` is bilinear."""
    if tuple(images.shape[2:]) == size:
        return images
    mode = "bilinear" if interpolation == "bilinear" else "bicubic"
    return F.interpolate(images, size, mode=mode, antialias=True, align_corners=False)


def info_at(info: DataInfo, side: int | None) -> DataInfo:
    """The facts of the same images at ``side`` pixels; None: the dataset's own size."""
    channels, *size = info.image_shape
    if side is None or size == [side, side]:
        return info
    resize = "stretch" if info.resize == "none" else info.resize
    return replace(info, image_shape=(channels, side, side), resize=resize, decoded_px=(size[0], size[1]))


def splits_at(splits: Splits, side: int | None) -> Splits:
    """The same splits at ``side`` pixels; None: the dataset's own size."""
    info = info_at(splits.info, side)
    if info is splits.info:
        return splits
    return Splits(info, *(_sized(split, info) for split in (splits.train, splits.val, splits.test)))


@dataclass(frozen=True)
class SizedSplit:
    """A split whose images are resized to the size in ``info`` once they are on the device."""

    whole: Split
    info: DataInfo

    def __len__(self) -> int:
        return len(self.whole)

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """See :class:`harness.data.base.Split`."""
        yield from self._at_size(self.whole.batches(batch_size, device, augment=augment))

    def close(self) -> None:
        """Close the whole split, if it can be closed."""
        if isinstance(self.whole, Closes):
            self.whole.close()

    def _at_size(self, batches: Batches) -> Batches:
        _, height, width = self.info.image_shape
        for images, targets in batches:
            yield resized(images, (height, width), self.info.interpolation), targets


@dataclass(frozen=True)
class _SharedSizedSplit(SizedSplit):
    """A resized split that can also read part of each batch."""

    def shares(self, batch_size: int, device: torch.device, *, augment: str | None, pick: Pick, reader: int) -> Batches:
        """See :class:`harness.data.base.Shared`."""
        assert isinstance(self.whole, Shared)
        yield from self._at_size(self.whole.shares(batch_size, device, augment=augment, pick=pick, reader=reader))


def _sized(split: Split, info: DataInfo) -> SizedSplit:
    return _SharedSizedSplit(split, info) if isinstance(split, Shared) else SizedSplit(split, info)
