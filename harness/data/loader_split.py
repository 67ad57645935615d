"""A split of images that are read from files, by processes of a torch DataLoader or by this one."""

from __future__ import annotations

import logging
import random
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from harness.data.base import Batches, NamesImages, Pick, how_often, repeated
from harness.data.readers import OpenDataset, Pass, Read, Readers, collated
from harness.task.base import Normalisation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoaderSplit:
    """A map-style dataset of (image tensor, label), read through a torch DataLoader.

    ``open_dataset(augment)`` returns the dataset with the transform for that augmentation. Each process that reads calls it
    once for each augmentation, so it must return the same everywhere; if processes are spawned, it must be picklable.
    An item that is None could not be read: it is left out of its batch and named once in the log
    (:class:`harness.data.base.NamesImages`). Images of whole numbers (uint8) are normalised here, a batch at a time on its
    device, if ``normalisation`` is given.

    With ``num_workers``, one set of processes serves every pass, until :meth:`close`.
    """

    open_dataset: OpenDataset
    indices: tuple[int, ...]
    num_workers: int
    unread: set[int] = field(default_factory=set, compare=False)
    """Indices of images that could not be read so far; ``len`` does not count them."""
    normalisation: Normalisation | None = None
    readers: Readers = field(default_factory=Readers, compare=False)
    """Splits may share the processes if ``open_dataset`` and ``num_workers`` are the same."""

    def __len__(self) -> int:
        return len(self.indices) - len(self.unread)

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """See :class:`harness.data.base.Split`; images are channels-last in memory if they were uint8."""
        train, (augment, times) = augment is not None, how_often(augment)
        drop_last = train and len(self) >= batch_size
        # Drawn when reading begins, so several workers of a training get the same order as one.
        yield from self._read(augment, repeated(self._order(train), batch_size, times, drop_last=drop_last), device)

    def shares(self, batch_size: int, device: torch.device, *, augment: str | None, pick: Pick, reader: int) -> Batches:
        """The positions of each batch that ``pick`` returns, read by one of several readers, which are numbered from 0.

        Every reader draws the same order, as for ``batches``; augmentations are drawn by each reader separately.

        Raises:
            RuntimeError: no training image of a batch's share can be read; readers go batch by batch and skip none.

        """
        train, (augment, times) = augment is not None, how_often(augment)
        seed = int(torch.empty((), dtype=torch.int64).random_()) // 2 + reader
        whole = repeated(self._order(train), batch_size, times, drop_last=train and len(self.indices) >= batch_size)
        mine = [[batch[place] for place in pick(number, len(batch))] for number, batch in enumerate(whole)]
        generator = torch.Generator().manual_seed(seed)
        read = self._read(augment, (batch for batch in mine if batch), device, generator, skips=not train)
        yield from with_own_draws(read, seed)

    def close(self) -> None:
        """End the processes that read."""
        self.readers.close()

    def _order(self, train: bool) -> Iterable[int]:
        return torch.utils.data.RandomSampler(self.indices) if train else range(len(self.indices))

    def _read(
        self,
        augment: str | None,
        batches: Iterable[list[int]],
        device: torch.device,
        generator: torch.Generator | None = None,
        skips: bool = True,
    ) -> Batches:
        """Read batches of places among the indices."""
        pin_memory, scale = device.type == "cuda", self._scale_on(device)
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=generator))
        numbers = ([self.indices[place] for place in batch] for batch in batches)
        if self.num_workers:
            what = Pass(numbers, augment, seed)
            read = self.readers.read(self.open_dataset, self.num_workers, what, pin_memory=pin_memory)
        else:
            read = _read_here(self.open_dataset(augment), numbers, pin_memory)
        with closing(read):  # a failure here must not leave processes in the middle of a pass
            for batch, unread in read:
                self._note_unread(unread, augment)
                if batch is None and not skips:
                    raise RuntimeError("no image of a batch's share can be read")
                if batch is not None:
                    images, labels = (part.to(device, non_blocking=True) for part in batch)
                    yield _normalised(images, scale), labels

    def _note_unread(self, unread: Iterable[int], augment: str | None) -> None:
        """Log each image that could not be read, once."""
        if not (new := set(unread) - self.unread):
            return
        data = self.open_dataset(augment)
        for index in sorted(new):
            self.unread.add(index)
            name = data.path(index) if isinstance(data, NamesImages) else f"image {index}"
            log.warning("%s can no longer be read; it is left out and not replaced", name)

    def _scale_on(self, device: torch.device) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation on a device, made once for a pass: each copy to a GPU waits for it."""
        if self.normalisation is None:
            return None
        mean, std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1)
            for values in (self.normalisation.mean, self.normalisation.std)
        )
        return mean, std


def _normalised(images: Tensor, scale: tuple[Tensor, Tensor] | None) -> Tensor:
    if scale is None or images.dtype != torch.uint8:
        return images
    mean, std = scale
    return images.float().div_(255).sub_(mean).div_(std)


def _read_here(
    data: torch.utils.data.Dataset[object], batches: Iterable[list[int]], pin_memory: bool
) -> Generator[Read, None, None]:
    """Read batches of indices in this process."""
    for indices in batches:
        batch, unread = collated([(index, data[index]) for index in indices])
        if batch is not None and pin_memory:
            batch = [part.pin_memory() for part in batch]
        yield batch, unread


def with_own_draws(batches: Batches, seed: int) -> Batches:
    """The same batches, but their random numbers (torch, numpy, random) come from generators of their own."""
    own: _Draws | None = None
    while True:
        common = _draws()
        if own is None:
            torch.default_generator.manual_seed(seed)  # only the CPU's generator
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
