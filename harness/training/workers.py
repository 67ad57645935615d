"""One training over several processes: what each of them reads, and where they synchronise.

Every worker runs the same training on its share of each batch. As in torch's DistributedDataParallel, gradients are
averaged over all images of the batch before each update, so all workers keep the same weights. Here that is one sum of
one flat tensor after the backward passes, instead of DistributedDataParallel's hooks. So it works for any objective,
including the supernet's several backward passes per batch. It also sums in the same order in every update, so a resumed
training gives the same bits for any number of workers; DistributedDataParallel rebuilds its buckets after its first
update.

There are two kinds of random numbers. Those of the data and the objective (order, shifts, mixup, a sandwich's members)
are drawn alike by all workers for the whole batch, so a batch is the same for any number of them. Those inside a
forward pass (dropout, stochastic depth), and what is erased in an image, are drawn by each worker separately.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed, nn

from harness.data.base import Batches, Pick, Shared, Split


@dataclass(frozen=True)
class Crew:
    """The workers of one training, as seen by one of them: its ``rank`` from 0, and their number.

    Several workers are joined by torch's default process group. The first (rank 0) writes files and reports progress.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this worker writes the training's files."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor, summed in place over the workers."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def gathered(self, tensor: Tensor) -> Tensor:
        """Each worker's tensor (all of one shape), stacked by rank; every worker gets the same bits."""
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        distributed.all_gather(parts, tensor)
        return torch.stack(parts)

    def agree(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite each tensor, in place, with the first worker's."""
        if self.size > 1:
            for name in sorted(tensors):
                tensor = tensors[name].detach()
                plain = tensor.to(group_device(), torch.uint8 if tensor.dtype == torch.bool else None).contiguous()
                distributed.broadcast(plain, 0)
                tensor.copy_(plain)

    def check_alike(self, number: int, what: str) -> None:
        """Check that all workers have the same number.

        Raises:
            RuntimeError: they do not.

        """
        if self.size > 1:
            seen = self.gathered(torch.tensor([number], dtype=torch.int64, device=group_device())).flatten().tolist()
            if len(set(seen)) > 1:
                raise RuntimeError(f"the workers of this job do not have the same {what}: {seen}")


ALONE = Crew()

TIMEOUT = timedelta(minutes=30)
"""How long a worker waits for the others: the first may write to slow storage. A dead worker is noticed at once."""


@contextmanager
def joined(rank: int, size: int, store: Path, device: torch.device) -> Iterator[Crew]:
    """Meet the other workers of a job on this machine through a new file; NCCL on CUDA, else gloo.

    Only the loopback interface is listened on.
    """
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", loopback)
    is_cuda = device.type == "cuda"
    if is_cuda:
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if is_cuda else "gloo",
        store=distributed.FileStore(str(store), size),
        rank=rank,
        world_size=size,
        timeout=TIMEOUT,
        device_id=device if is_cuda else None,
    )
    try:
        yield Crew(rank, size)
    finally:
        distributed.destroy_process_group()


def group_device() -> torch.device:
    """The device of tensors that the process group can send: this worker's GPU for NCCL, else the CPU."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")


def training_batches(split: Split, batch_size: int, device: torch.device, augment: str, crew: Crew) -> Batches:
    """The worker's share of each batch; a split that cannot read part of a batch is read whole by every worker.

    Raises:
        RuntimeError: a batch has fewer images than there are workers.

    """
    if crew.size == 1:
        return split.batches(batch_size, device, augment=augment)

    def pick(_: int, count: int) -> list[int]:
        if count < crew.size:
            raise RuntimeError(f"a batch of {count} images cannot be divided between {crew.size} workers")
        return share_of(count, crew)

    return _picked(split, batch_size, device, augment, pick, crew)


def scored_batches(split: Split, batch_size: int, device: torch.device, crew: Crew) -> Batches:
    """Every n-th whole batch for n workers, so each image is scored once, in the same batch as with one worker."""
    if crew.size == 1:
        return split.batches(batch_size, device, augment=None)

    def pick(number: int, count: int) -> list[int]:
        return list(range(count)) if number % crew.size == crew.rank else []

    return _picked(split, batch_size, device, None, pick, crew)


def share_of(count: int, crew: Crew) -> list[int]:
    """The positions of one worker's share in a batch of ``count`` images, in an order that mirrors onto itself.

    Mixup mixes image ``i`` with image ``count - 1 - i``. A share contains both, at positions that mirror each other
    too, so the mixed images are the same for any number of workers.
    """
    half = count // 2
    front = range(half * crew.rank // crew.size, half * (crew.rank + 1) // crew.size)
    middle = [half] if count % 2 and crew.rank == crew.size - 1 else []
    return [*front, *middle, *(count - 1 - i for i in reversed(front))]


def average_gradients(model: nn.Module, weight: float, crew: Crew) -> None:
    """Set the gradients of every worker to their weighted mean.

    A worker's gradients are those of the mean loss of its images times its ``weight``.
    """
    if crew.size == 1:
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    weights = torch.tensor([weight], device=gradients[0].device)
    flat = crew.sum(torch.cat([*(gradient.float().flatten() for gradient in gradients), weights]))
    mean = flat[:-1] / flat[-1]
    for gradient, part in zip(gradients, mean.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


def average_statistics(model: nn.Module, crew: Crew) -> None:
    """Set running means and variances, which each worker took from its own images, to their mean over the workers."""
    if crew.size == 1:
        return
    buffers = [buffer for _, buffer in model.named_buffers() if buffer.is_floating_point()]
    if not buffers:
        return
    flat = crew.sum(torch.cat([buffer.float().flatten() for buffer in buffers])) / crew.size
    for buffer, part in zip(buffers, flat.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(part.view(buffer.shape))


@dataclass
class OwnDraws:
    """The numbers that a worker draws inside a forward pass.

    ``state``: that of their own generator between two passes, on a CPU with several workers; otherwise None. On CUDA
    (``is_cuda``) they come from the device's generator.
    """

    state: Tensor | None = None
    is_cuda: bool = False


@contextmanager
def own_draws(model: nn.Module, seed: int, epoch: int, device: torch.device, crew: Crew) -> Iterator[OwnDraws]:
    """While the block runs, each worker draws its own numbers inside the model's forward pass, by (seed, epoch, rank).

    On the CPU, one generator serves both data and model, so its state is swapped for the forward pass.
    """
    draws = OwnDraws(is_cuda=device.type == "cuda")
    if crew.size == 1:
        yield draws
        return
    own_seed = int(np.random.SeedSequence([seed, epoch, crew.rank]).generate_state(1)[0])
    if device.type == "cuda":
        torch.cuda.manual_seed(own_seed)
        yield draws
        return
    draws.state, common = torch.Generator().manual_seed(own_seed).get_state(), torch.get_rng_state()

    def enter(*_: object) -> None:
        nonlocal common
        common = torch.get_rng_state()
        if draws.state is not None:
            torch.set_rng_state(draws.state)

    def leave(*_: object) -> None:
        draws.state = torch.get_rng_state()
        torch.set_rng_state(common)

    hooks = [model.register_forward_pre_hook(enter), model.register_forward_hook(leave, always_call=True)]
    try:
        yield draws
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def draws_apart(crew: Crew) -> Iterator[None]:
    """While the block runs, each worker draws numbers of its own (torch's on the CPU, and ``random``'s).

    Afterwards all continue alike, however many each has drawn. With one worker nothing changes.
    """
    if crew.size == 1:
        yield
        return
    alike = int(torch.randint(2**62, (1,)))
    common = torch.get_rng_state(), random.getstate()
    own_seed = int(np.random.SeedSequence([alike, crew.rank]).generate_state(1)[0])
    torch.default_generator.manual_seed(own_seed)
    random.seed(own_seed)
    try:
        yield
    finally:
        torch.set_rng_state(common[0])
        random.setstate(common[1])


def _picked(
    split: Split, batch_size: int, device: torch.device, augment: str | None, pick: Pick, crew: Crew
) -> Batches:
    if isinstance(split, Shared):
        return split.shares(batch_size, device, augment=augment, pick=pick, reader=crew.rank)
    return _cut(split.batches(batch_size, device, augment=augment), pick)


def _cut(batches: Batches, pick: Pick) -> Batches:
    for number, (images, labels) in enumerate(batches):
        if places := pick(number, len(labels)):
            index = torch.tensor(places, device=labels.device)
            yield images[index], labels[index]
