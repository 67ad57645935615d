"""What a dataset gives: three splits of normalised batches, and the facts that are needed before any data is read."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from harness.data.loader_sockets import keep_sockets_short
from harness.task.base import Normalisation, Task
from harness.task.classification import Classification

log = logging.getLogger(__name__)

Batches = Iterator[tuple[Tensor, Tensor]]
Pick = Callable[[int, int], list[int]]
"""(number of a batch, images in it) → the places in it that are read."""


@dataclass(frozen=True)
class DataInfo:
    """Facts of a dataset: ``image_shape`` (C, H, W), normalisation per channel in 0-1 units, number of images a split.

    ``class_names`` are in the order of the labels, empty where the data has none. ``resize`` is how an image is evaluated:
    ``shorter_side`` is resized to ``resize_px`` with ``interpolation`` and the centre cut out; ``stretch``: both sides are
    resized to those of ``image_shape``; ``none``: all images have that size. ``num_val`` and ``num_test`` are 0 where they
    are not known. ``notes`` are sentences to show once: what was not read, what had to be assumed.
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
    """What the images are for, if not to classify them; it has ``num_classes`` outputs."""
    decoded_px: tuple[int, int] | None = None
    """Height and width that the dataset gives, where a job has a size of its own (:mod:`harness.data.sized`)."""

    @property
    def task(self) -> Task:
        """What the images are for: classification into the data's classes, unless the dataset says otherwise."""
        return self.other_task or Classification(self.num_classes, self.class_names)

    @property
    def normalisation(self) -> Normalisation:
        """How pixels from 0 to 1 are normalised."""
        return Normalisation(self.mean, self.std)

    @property
    def resize_px(self) -> int:
        """The side to which an image's shorter side is resized, rounded down as timm does; the centre is cut out of it."""
        height = self.image_shape[1] if self.decoded_px is None else self.decoded_px[0]
        return math.floor(height / self.crop_pct)


class Split(Protocol):
    """One part of a dataset."""

    def __len__(self) -> int: ...

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """Batches of images (N, C, H, W; float, normalised) and targets (labels: N, int64) on ``device``.

        ``augment`` None: in order, nothing dropped, as for evaluation. Otherwise shuffled by torch's global generator,
        the last short batch dropped, and augmented: ``none``, ``light`` (shift and flip) or ``timm`` (its transforms;
        ``timm-m5`` with RandAugment of magnitude 5, where the dataset's class has ``RANDAUGMENT``; ``light*3`` with each
        image three times in its batch, as :func:`repeated` says, where it has ``REPEATED``).
        """
        ...


@runtime_checkable
class Shared(Protocol):
    """A split that can read a part of each batch without the rest."""

    def shares(self, batch_size: int, device: torch.device, *, augment: str | None, pick: Pick, reader: int) -> Batches:
        """As ``batches``, but of each batch only the images at ``pick(number of the batch, images in it)``."""
        ...


@dataclass(frozen=True)
class Splits:
    """``train`` to learn on, ``val`` to select on, ``test`` to read once per delivered network."""

    info: DataInfo
    train: Split
    val: Split
    test: Split


class Dataset(Protocol):
    """A plug-in: ``class Dataset`` in ``harness/data/<name>.py``, or in a file of your own; made from a ``DatasetConfig``.

    A file may also define a dataclass ``Options``, whose fields have defaults: its own settings. A config gives them under
    ``dataset.options``; they are checked by name and type, and are in ``config.options`` as a dict. Its class may also have
    what :class:`TakesStrength` and :class:`Repeats` have.
    """

    KEYS: tuple[str, ...]
    """The keys of ``dataset:`` that it uses, besides ``name``; any other is refused."""

    def info(self) -> DataInfo:
        """The facts: counted if the data is there, otherwise from the config, with a note of what is assumed."""
        ...

    def check(self) -> None:
        """``InputError`` in one line if the data is missing, is not what the config says, or would mislead later."""
        ...

    def fingerprint(self) -> str:
        """A hexadecimal digest of the data's content, the same wherever the data is; the data must be there."""
        ...

    def splits(self) -> Splits:
        """The data; called in the process that trains."""
        ...


@runtime_checkable
class TakesStrength(Protocol):
    """A dataset that may take the strength of RandAugment: with ``RANDAUGMENT = True`` it does."""

    RANDAUGMENT: bool


@runtime_checkable
class Repeats(Protocol):
    """A dataset that may show an image several times in a batch: with ``REPEATED = True`` it does.

    Then ``augment`` of its train split may be as ``light*3`` (:func:`how_often`). :class:`TensorSplit` and
    :class:`LoaderSplit` know that.
    """

    REPEATED: bool


def how_often(augment: str | None) -> tuple[str | None, int]:
    """The augmentation itself, and how many times an image is in its batch: ``light*3`` is (``light``, 3)."""
    how, _, times = (augment or "").partition("*")
    return how or None, int(times or 1)


def repeated(order: Iterable[int], batch_size: int, times: int, *, drop_last: bool) -> Iterator[list[int]]:
    """Batches in which each image is ``times`` times (repeated augmentation: Hoffer et al. 2019, arXiv 1901.09335).

    There are as many batches as of ``order`` without repeats, so the images at its end are left out, as timm's
    RepeatAugSampler does. A batch has all of its images, then all again, so that workers and passes that share it get
    different ones. One that is no multiple of ``times`` is cut.
    """
    order = list(order)
    stop = len(order) - len(order) % batch_size if drop_last else len(order)
    for number, start in enumerate(range(0, stop, batch_size)):
        size = min(batch_size, stop - start)
        first = number * -(-batch_size // times)
        yield (order[first : first + -(-size // times)] * times)[:size]


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
    """A map-style dataset of (image tensor, label) read through a torch DataLoader.

    ``open_dataset(augment)`` gives the dataset with the transform for that augmentation. An item that is None could not be
    read: it is left out of its batch, and named once in the log.
    """

    open_dataset: Callable[[str | None], torch.utils.data.Dataset[object]]
    indices: tuple[int, ...]
    num_workers: int
    unread: set[int] = field(default_factory=set, compare=False)
    """Indices of images that could not be read so far; they are not counted in ``len``."""

    def __len__(self) -> int:
        return len(self.indices) - len(self.unread)

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """See :class:`Split`."""
        train, (augment, times) = augment is not None, how_often(augment)
        data, drop_last = self.open_dataset(augment), train and len(self) >= batch_size
        if times == 1:
            loader = self._loader(data, device, batch_size=batch_size, shuffle=train, drop_last=drop_last)
        else:
            # Drawn where the loader begins to read, as without repeats, so that workers have the order of one.
            order = torch.utils.data.RandomSampler(self.indices)
            batches = repeated(order, batch_size, times, drop_last=drop_last)
            loader = self._loader(data, device, batch_sampler=batches)
        yield from self._read(loader, data, device)

    def shares(self, batch_size: int, device: torch.device, *, augment: str | None, pick: Pick, reader: int) -> Batches:
        """The places of each batch that ``pick`` gives, read by one of several readers, which are numbered from 0.

        The order is drawn as for ``batches``, alike by every reader; augmentations are each reader's own. Raises
        RuntimeError where none of the images to learn from in a batch can be read: the readers go batch by batch.
        """
        train, (augment, times) = augment is not None, how_often(augment)
        data = self.open_dataset(augment)
        seed = int(torch.empty((), dtype=torch.int64).random_()) // 2 + reader
        order = torch.utils.data.RandomSampler(self.indices) if train else range(len(self.indices))
        whole = repeated(order, batch_size, times, drop_last=train and len(self.indices) >= batch_size)
        mine = [[batch[place] for place in pick(number, len(batch))] for number, batch in enumerate(whole)]
        loader = self._loader(
            data, device, batch_sampler=[b for b in mine if b], generator=torch.Generator().manual_seed(seed)
        )
        yield from with_own_draws(self._read(loader, data, device, skips=not train), seed)

    def _loader(
        self, data: torch.utils.data.Dataset[object], device: torch.device, **order: Any
    ) -> torch.utils.data.DataLoader[Any]:
        if self.num_workers:
            keep_sockets_short()
        return torch.utils.data.DataLoader(
            _Numbered(data, self.indices),
            num_workers=self.num_workers,
            pin_memory=device.type == "cuda",
            persistent_workers=False,
            collate_fn=_without_unread,
            **order,
        )

    def _read(
        self,
        loader: torch.utils.data.DataLoader[Any],
        data: torch.utils.data.Dataset[object],
        device: torch.device,
        skips: bool = True,
    ) -> Batches:
        for batch, unread in loader:
            for index in set(unread) - self.unread:
                self.unread.add(index)
                name = data.path(index) if hasattr(data, "path") else f"image {index}"
                log.warning("%s can no longer be read; it is left out and not replaced", name)
            if batch is None and not skips:
                raise RuntimeError("no image of a batch's share can be read")
            if batch is not None:
                images, labels = batch
                yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def with_own_draws(batches: Batches, seed: int) -> Batches:
    """The same batches; what is drawn for them by any of torch, numpy and random comes from generators of their own."""
    own: _Draws | None = None
    while True:
        common = _draws()
        if own is None:
            torch.default_generator.manual_seed(seed)  # that of the CPU alone
            np.random.seed(seed % 2**32)
            random.seed(seed)
        else:
            _set_draws(own)
        try:
            batch = next(batches, None)
        finally:
            own = _draws()
            _set_draws(common)
        if batch is None:
            return
        yield batch


_Draws = tuple[Tensor, dict[str, object], tuple[object, ...]]
"""States of the generators of torch, numpy and random."""


def _draws() -> _Draws:
    return torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()


def _set_draws(states: _Draws) -> None:
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])


class _Numbered(torch.utils.data.Dataset[tuple[int, object]]):
    """Some items of a dataset, each with its index."""

    def __init__(self, data: torch.utils.data.Dataset[object], indices: tuple[int, ...]) -> None:
        self._data, self._indices = data, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, place: int) -> tuple[int, object]:
        return self._indices[place], self._data[self._indices[place]]


def _without_unread(items: list[tuple[int, object]]) -> tuple[object, list[int]]:
    """(batch or None, indices that could not be read)."""
    read = [item for _, item in items if item is not None]
    unread = [index for index, item in items if item is None]
    return (torch.utils.data.default_collate(read) if read else None), unread
