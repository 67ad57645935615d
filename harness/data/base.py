"""What a dataset gives: three splits of normalised batches, and the facts needed before any of it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Batches = Iterator[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class DataInfo:
    """Facts of a dataset: ``image_shape`` (C, H, W), normalisation per channel in 0-1 units, number of train images."""

    image_shape: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_train: int


class Split(Protocol):
    """One part of a dataset."""

    def __len__(self) -> int: ...

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """Batches of images (N, C, H, W; float, normalised) and labels (N; int64) on ``device``.

        ``augment`` None: in order, nothing dropped, as for evaluation. Otherwise shuffled by torch's global generator,
        the last short batch dropped, and augmented: ``none``, ``light`` (shift and flip) or ``timm`` (its transforms).
        """
        ...


@dataclass(frozen=True)
class Splits:
    """``train`` to learn on, ``val`` to select on, ``test`` to read once per delivered network."""

    info: DataInfo
    train: Split
    val: Split
    test: Split


class Dataset(Protocol):
    """A plug-in of this folder: ``class Dataset`` in ``harness/data/<name>.py``, made from a ``DatasetConfig``."""

    def info(self) -> DataInfo:
        """The facts, without reading the data where the config or the format gives them."""
        ...

    def check(self) -> None:
        """``InputError`` in one line where the data is not there or not what the config says."""
        ...

    def splits(self) -> Splits:
        """The data; called in the process that trains."""
        ...


@dataclass(frozen=True)
class TensorSplit:
    """Images held in memory as uint8 (N, C, H, W), augmented a whole batch at a time."""

    images: Tensor
    labels: Tensor
    info: DataInfo

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """See :class:`Split`; ``timm`` augmentation here is the same as ``light``."""
        train = augment is not None
        order = torch.randperm(len(self)) if train else torch.arange(len(self))
        stop = len(self) - len(self) % batch_size if train and len(self) >= batch_size else len(self)
        mean = torch.tensor(self.info.mean, device=device).view(1, -1, 1, 1)
        std = torch.tensor(self.info.std, device=device).view(1, -1, 1, 1)
        for start in range(0, stop, batch_size):
            index = order[start : start + batch_size]
            images = self.images[index].to(device, non_blocking=True).float().div_(255)
            if augment in ("light", "timm"):
                images = shift_and_flip(images)
            yield images.sub_(mean).div_(std), self.labels[index].to(device, non_blocking=True)


def shift_and_flip(images: Tensor) -> Tensor:
    """Each image (N, C, H, W) moved by up to 1/14 of its side, zeros moving in, and half of them mirrored."""
    count, _, height, width = images.shape
    reach = max(1, height // 14)
    padded = torch.nn.functional.pad(images, (reach,) * 4)
    shift = torch.randint(0, 2 * reach + 1, (2, count))
    rows = shift[0, :, None] + torch.arange(height)
    columns = shift[1, :, None] + torch.arange(width)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    picture = torch.arange(count)[:, None, None]
    moved = padded[
        picture.to(images.device), :, rows[:, :, None].to(images.device), columns[:, None, :].to(images.device)
    ]
    return moved.permute(0, 3, 1, 2).contiguous()


def held_out(count: int, fraction: float) -> tuple[range, range]:
    """Indices of ``count`` training images split into (train, val): the last ``fraction`` is held out."""
    num_val = max(1, round(count * fraction))
    return range(count - num_val), range(count - num_val, count)


@dataclass(frozen=True)
class LoaderSplit:
    """A map-style dataset of (PIL image, label) read through a torch DataLoader and timm's transforms."""

    open_dataset: Callable[[str | None], torch.utils.data.Dataset]
    indices: tuple[int, ...]
    num_workers: int

    def __len__(self) -> int:
        return len(self.indices)

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """See :class:`Split`; the transforms are in the dataset that ``open_dataset(augment)`` gives."""
        train = augment is not None
        loader = torch.utils.data.DataLoader(
            torch.utils.data.Subset(self.open_dataset(augment), self.indices),
            batch_size=batch_size,
            shuffle=train,
            drop_last=train and len(self) >= batch_size,
            num_workers=self.num_workers,
            pin_memory=device.type == "cuda",
            persistent_workers=False,
        )
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
