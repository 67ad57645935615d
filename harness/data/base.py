"""What a dataset provides: three splits of normalised batches, and the facts needed before any data is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from harness.task.base import Normalisation, Task
from harness.task.classification import Classification

Batches = Iterator[tuple[Tensor, Tensor]]
Pick = Callable[[int, int], list[int]]
"""(batch number, images in it) → positions of the images to read."""


@dataclass(frozen=True)
class DataInfo:
    """Facts of a dataset: ``image_shape`` (C, H, W), normalisation per channel in 0-1 units, number of images by split.

    ``class_names`` are in the order of the labels, empty if the data has none. ``resize`` is how an image is prepared
    for evaluation. ``shorter_side``: its shorter side is resized to ``resize_px`` with ``interpolation``, and the
    centre is cut out; ``stretch``: both sides are resized to those of ``image_shape``; ``none``: all images already
    have that size. ``num_val`` and ``num_test`` are 0 if unknown. ``notes`` are sentences to show once: what was not
    read, what was assumed.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_train: int
    class_names: tuple[str, ...] = ()
    num_val: int = 0
    num_test: int = 0
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    notes: tuple[str, ...] = ()
    resize: Literal["none", "stretch", "shorter_side"] = "none"
    other_task: Task | None = None
    """The task of the images if it is not classification; it has ``num_classes`` outputs."""
    decoded_px: tuple[int, int] | None = None
    """Height and width that the dataset provides, if a job uses another size (:mod:`harness.data.sized`)."""

    @property
    def task(self) -> Task:
        """The task of the images: classification into the data's classes, unless the dataset says otherwise."""
        return self.other_task or Classification(self.num_classes, self.class_names)

    @property
    def normalisation(self) -> Normalisation:
        """The normalisation of pixels from 0 to 1."""
        return Normalisation(self.mean, self.std)

    @property
    def resize_px(self) -> int:
        """The length to which an image's shorter side is resized before the centre is cut out, rounded down as in timm."""
        height = self.image_shape[1] if self.decoded_px is None else self.decoded_px[0]
        return math.floor(height / self.crop_pct)


class Split(Protocol):
    """One part of a dataset. It may also have what :class:`Shared` and :class:`Labelled` have."""

    def __len__(self) -> int: ...

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """Batches of images (N, C, H, W; float, normalised) and targets (labels: N, int64) on ``device``.

        With ``augment`` None, as for evaluation, images come in order and none is dropped. Otherwise they are shuffled
        by torch's global generator, the last short batch is dropped, and images are augmented: ``none``, ``light``
        (shift and flip) or ``timm`` (its transforms). ``timm-m5`` uses RandAugment of magnitude 5, if the dataset's
        class has ``RANDAUGMENT``. ``light*3`` puts each image into its batch three times (see :func:`repeated`), if the
        class has ``REPEATED``.
        """
        ...


@runtime_checkable
class Shared(Protocol):
    """A split that can read part of each batch without the rest."""

    def shares(self, batch_size: int, device: torch.device, *, augment: str | None, pick: Pick, reader: int) -> Batches:
        """Like ``batches``, but only the images of each batch at ``pick(batch number, images in it)``."""
        ...


@runtime_checkable
class Labelled(Protocol):
    """A split that knows all of its targets without reading images; all are then checked before a study begins."""

    @property
    def labels(self) -> Tensor:
        """The targets, one for each image."""
        ...


@runtime_checkable
class NamesImages(Protocol):
    """A map-style dataset that names its images in warnings; without it, they are numbered."""

    def path(self, index: int) -> str:
        """The image's file, or another name."""
        ...


@dataclass(frozen=True)
class Splits:
    """``train`` for training, ``val`` for selection, ``test`` to be read once per delivered network."""

    info: DataInfo
    train: Split
    val: Split
    test: Split


class Dataset(Protocol):
    """A plug-in: ``class Dataset`` in ``harness/data/<name>.py`` or in your own file, made from a ``DatasetConfig``.

    A file may also define a dataclass ``Options`` for settings of its own; all its fields need defaults. A config sets
    them under ``dataset.options``; their names and types are checked, and ``config.options`` has them as a dict. The
    class may also have the attributes of :class:`TakesStrength` and :class:`Repeats`.
    """

    KEYS: tuple[str, ...]
    """The keys of ``dataset:`` that it uses, besides ``name``; any other key is refused."""

    def info(self) -> DataInfo:
        """The facts: counted if the data is there, otherwise taken from the config, with a note of what is assumed."""
        ...

    def check(self) -> None:
        """Check that the data is there, matches the config, and would not mislead later.

        Raises:
            InputError: it does not; the message is one line.

        """
        ...

    def fingerprint(self) -> str:
        """A hexadecimal digest of the data's content, independent of its location; the data must be there."""
        ...

    def splits(self) -> Splits:
        """The data; called in the training process."""
        ...


@runtime_checkable
class TakesStrength(Protocol):
    """A dataset that accepts a strength of RandAugment, if ``RANDAUGMENT`` is True."""

    RANDAUGMENT: bool


@runtime_checkable
class Repeats(Protocol):
    """A dataset that can repeat an image within a batch, if ``REPEATED`` is True.

    Then ``augment`` of its train split may be, for example, ``light*3`` (:func:`how_often`). :class:`TensorSplit` and
    :class:`harness.data.loader_split.LoaderSplit` support that.
    """

    REPEATED: bool


def how_often(augment: str | None) -> tuple[str | None, int]:
    """The augmentation, and how many times an image is in its batch: ``light*3`` gives (``light``, 3)."""
    how, _, times = (augment or "").partition("*")
    return how or None, int(times or 1)


def repeated(order: Iterable[int], batch_size: int, times: int, *, drop_last: bool) -> Iterator[list[int]]:
    """Batches that contain each image ``times`` times (repeated augmentation: Hoffer et al. 2019, arXiv 1901.09335).

    There are as many batches as without repeats, so the images at the end of ``order`` are left out, as in timm's
    RepeatAugSampler. A batch has all of its images once, then all again, so that the workers and passes that share it
    get different ones. A batch whose size is not a multiple of ``times`` is cut.
    """
    order = list(order)
    stop = len(order) - len(order) % batch_size if drop_last else len(order)
    for number, start in enumerate(range(0, stop, batch_size)):
        size = min(batch_size, stop - start)
        first = number * -(-batch_size // times)
        yield (order[first : first + -(-size // times)] * times)[:size]


@dataclass(frozen=True)
class TensorSplit:
    """Images in memory as uint8 (N, C, H, W), augmented one batch at a time."""

    images: Tensor
    labels: Tensor
    info: DataInfo

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """See :class:`Split`; here ``timm`` augmentation is the same as ``light``."""
        train, (augment, times) = augment is not None, how_often(augment)
        order = torch.randperm(len(self)) if train else torch.arange(len(self))
        drop_last = train and len(self) >= batch_size
        mean = torch.tensor(self.info.mean, device=device).view(1, -1, 1, 1)
        std = torch.tensor(self.info.std, device=device).view(1, -1, 1, 1)
        for batch in repeated(order.tolist(), batch_size, times, drop_last=drop_last):
            index = torch.tensor(batch)
            images = self.images[index].to(device, non_blocking=True).float().div_(255)
            if augment in ("light", "timm"):
                images = shift_and_flip(images)
            yield images.sub_(mean).div_(std), self.labels[index].to(device, non_blocking=True)


def shift_and_flip(images: Tensor) -> Tensor:
    """Images (N, C, H, W), each shifted by up to 1/14 of its side with zero padding; half of them are mirrored.

    In memory they are channels-last, as the trainer computes them.
    """
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
    return moved.permute(0, 3, 1, 2)


def held_out(count: int, fraction: float) -> tuple[range, range]:
    """Indices of ``count`` training images, divided into (train, val): the last ``fraction`` is held out."""
    num_val = max(1, round(count * fraction))
    return range(count - num_val), range(count - num_val, count)


@runtime_checkable
class Closes(Protocol):
    """A split that holds something between its passes, such as processes, until it is closed."""

    def close(self) -> None:
        """Let go of it."""
        ...


@contextmanager
def closed_after(splits: Splits) -> Iterator[None]:
    """Close each split that can be closed when the block ends."""
    try:
        yield
    finally:
        for split in (splits.train, splits.val, splits.test):
            if isinstance(split, Closes):
                split.close()
