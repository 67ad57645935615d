"""Processes that read the images of a split: started once, and used for every pass over it.

A pass draws what it would draw with processes of its own: at its beginning each process is seeded as torch seeds a new
one. So the images of an epoch depend on nothing that was read before, and an interrupted epoch can be repeated exactly.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data._utils.worker import _generate_state

from harness.data.loader_sockets import keep_sockets_short
from harness.data.read_limit import LIMIT_S, Patience, Process, patience

OpenDataset = Callable[[str | None], torch.utils.data.Dataset[object]]
"""An augmentation → the map-style dataset of (image, target) with its transform."""
Read = tuple[list[Tensor] | None, list[int]]
"""A batch (images, targets), or None if none of its images could be read; and the indices that could not be read."""


OF_THE_DATASET = "Caught "
"""How torch begins what the dataset itself raised in a process."""


@dataclass(frozen=True)
class Pass:
    """One pass over images: their indices by batch, how they are varied, and the seed of all processes' draws."""

    batches: Iterable[list[int]]
    augment: str | None
    seed: int


class Readers:
    """Processes that read images of one dataset; they start with the first pass and end with :meth:`close`.

    A pass that is begun while another one is under way has processes of its own, which end with it. Processes from which
    no batch comes for ``limit_s`` are killed.
    """

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._orders: _Orders | None = None
        self._loader: torch.utils.data.DataLoader[Read] | None = None
        self._is_reading = False

    def read(
        self, open_dataset: OpenDataset, num_workers: int, what: Pass, *, pin_memory: bool
    ) -> Generator[Read, None, None]:
        """The batches of a pass, in order. ``open_dataset`` and the number of processes are the same in every call.

        Close it if it is not read to its end.

        Raises:
            TimeoutError: no batch came within the limit.
            RuntimeError: a process was killed.

        """
        if self._is_reading:
            others = Readers(self._limit_s)
            try:
                yield from others.read(open_dataset, num_workers, what, pin_memory=pin_memory)
            finally:
                others.close()
            return
        if self._loader is None or self._orders is None or self._loader.pin_memory is not pin_memory:
            self.close()
            self._orders = _Orders()
            self._loader = _loader(open_dataset, num_workers, self._orders, pin_memory)
        loader, orders = self._loader, self._orders
        orders.begin(what)
        self._is_reading = True
        try:
            with patience(lambda: _processes_of(loader), self._limit_s) as patient:
                yield from _waited_for(loader, patient)
        except GeneratorExit:
            orders.end()
            raise
        except BaseException:
            self.close()  # a process may be gone
            raise
        finally:
            self._is_reading = False

    def close(self) -> None:
        """End the processes; another pass starts new ones."""
        self._loader = self._orders = None  # torch ends them with the loader


def _waited_for(loader: torch.utils.data.DataLoader[Read], patient: Patience) -> Iterator[Read]:
    """The batches of a pass; the time that each takes to come is limited."""
    with patient.waiting():
        batches = iter(loader)
    while True:
        try:
            with patient.waiting():
                read = next(batches, None)
        except (EOFError, ConnectionError) as error:
            if str(error).startswith(OF_THE_DATASET):
                raise
            raise RuntimeError("a process that reads images was killed as it gave a batch") from error
        if read is None:
            return
        yield read


def _processes_of(loader: torch.utils.data.DataLoader[Read]) -> list[Process]:
    return list(getattr(getattr(loader, "_iterator", None), "_workers", ()))


def collated(items: list[tuple[int, Any]]) -> Read:
    """A batch of (index, item); images of whole numbers are laid out as channels-last, as decoders give them."""
    read = [item for _, item in items if item is not None]
    unread = [index for index, item in items if item is None]
    if not read:
        return None, unread
    if not all(_is_pixels(image) for image, _ in read):
        return torch.utils.data.default_collate(read), unread
    images, targets = torch.utils.data.default_collate([(image.permute(1, 2, 0), target) for image, target in read])
    return [images.permute(0, 3, 1, 2), targets], unread


def _is_pixels(image: object) -> bool:
    return isinstance(image, Tensor) and image.dtype == torch.uint8 and image.dim() == 3


@dataclass(frozen=True)
class _Order:
    """The images of one batch, as a process is asked for them."""

    number: int
    """Of the pass."""
    seed: int
    augment: str | None
    indices: list[int]


class _Orders:
    """The orders of the pass under way; a loader reads them anew for each pass.

    ``ended``: the number of the last pass whose outstanding orders are no longer wanted.
    """

    def __init__(self) -> None:
        self.ended = torch.full((), -1).share_memory_()
        self._number = -1
        self._pass = Pass((), None, 0)

    def begin(self, what: Pass) -> None:
        self._number, self._pass = self._number + 1, what

    def end(self) -> None:
        self.ended.fill_(self._number)

    def __iter__(self) -> Iterator[_Order]:
        for indices in self._pass.batches:
            yield _Order(self._number, self._pass.seed, self._pass.augment, indices)


class _Opened(torch.utils.data.Dataset[Read]):
    """The dataset, as one process has it open."""

    def __init__(self, open_dataset: OpenDataset, ended: Tensor) -> None:
        self._open, self._ended = open_dataset, ended
        self._number = -1
        self._data: dict[str | None, torch.utils.data.Dataset[object]] = {}

    def __getitems__(self, order: _Order) -> list[tuple[int, object]]:
        if order.number <= int(self._ended):
            return []
        if order.augment not in self._data:
            self._data[order.augment] = self._open(order.augment)
        if order.number != self._number:
            self._number = order.number
            _seed_process(order.seed)
        data = self._data[order.augment]
        return [(index, data[index]) for index in order.indices]


def _seed_process(base: int) -> None:
    """Seed this process as torch seeds a process of a new loader whose base seed is ``base``."""
    info = torch.utils.data.get_worker_info()
    number = 0 if info is None else info.id
    random.seed(base + number)
    torch.manual_seed(base + number)
    np.random.seed(_generate_state(base, number))


def _loader(
    open_dataset: OpenDataset, num_workers: int, orders: _Orders, pin_memory: bool
) -> torch.utils.data.DataLoader[Read]:
    keep_sockets_short()
    return torch.utils.data.DataLoader(
        _Opened(open_dataset, orders.ended),
        batch_sampler=orders,  # type: ignore[arg-type]  # torch passes on what it gives
        num_workers=num_workers,
        collate_fn=collated,
        pin_memory=pin_memory,
        persistent_workers=True,
        generator=torch.Generator(),  # seeds that are not used; the global generator is left as it is
    )
