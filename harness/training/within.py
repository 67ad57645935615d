"""Checkpoints within an epoch: after how long, and what is saved besides the state, so that the epoch goes on as it was.

An epoch that goes on reads again the batches that it had, and computes nothing for them: so its order, and what loader
processes draw, are those of an epoch that was not interrupted. Then each generator of random numbers is set to where it was.
So the network has the same bits.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from harness.training.workers import Crew, OwnDraws, group_device

LOOK_UPDATES = 20
"""How often several workers agree whether to save: looking at each other takes time."""


@dataclass(frozen=True)
class Part:
    """How far an epoch had come: its updates, the sum of their losses, and the generators' states by worker."""

    updates: int
    total: Tensor
    draws: Tensor

    def as_tensors(self) -> dict[str, object]:
        """In the form of a saved state."""
        return {"updates": self.updates, "total": self.total, "draws": self.draws}

    @staticmethod
    def read(said: object) -> Part | None:
        """From a saved state; None if it was saved at the end of an epoch."""
        if not isinstance(said, dict):
            return None
        return Part(int(said["updates"]), said["total"], said["draws"])

    def set_draws(self, crew: Crew, own: OwnDraws) -> None:
        """Set this worker's generators to where they were; with another number of workers its numbers are others anyway."""
        if self.draws.shape == (crew.size, len(_states(own))):
            _set_states(self.draws[crew.rank].cpu(), own)


@dataclass
class Within:
    """Saves the state within an epoch if it was not saved for ``every_s`` seconds (None: never)."""

    every_s: float | None
    crew: Crew
    save: Callable[[Part], None]
    clock: Callable[[], float] = time.monotonic
    _since_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin to count."""
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count from now, since the state was just saved or there is nothing to save."""
        self._since_s = self.clock()

    def after(self, updates: int, total: Tensor, own: OwnDraws) -> None:
        """Note that so many updates of an epoch are made, and save if it is time."""
        crew = self.crew
        if self.every_s is None or (crew.size > 1 and updates % LOOK_UPDATES):
            return
        is_due = self.clock() - self._since_s >= self.every_s
        if crew.size > 1:
            is_due = bool(crew.sum(torch.tensor([float(is_due)], device=group_device())).item())
        if is_due:
            states = _states(own)
            draws = states[None] if crew.size == 1 else crew.gathered(states.to(group_device()))
            self.save(Part(updates, total.detach().clone(), draws.cpu()))
            self.begin_anew()


def _states(own: OwnDraws) -> Tensor:
    """The states of this process's generators as whole numbers, always as many."""
    of_numpy = np.random.get_state(legacy=False)
    _, words, next_gauss = random.getstate()
    parts = [
        torch.get_rng_state().long(),
        *([] if own.state is None else [own.state.long()]),
        *([torch.cuda.get_rng_state().long()] if own.is_cuda else []),
        torch.from_numpy(of_numpy["state"]["key"].astype(np.int64)),
        torch.tensor([int(of_numpy["state"]["pos"]), int(of_numpy["has_gauss"]), _bits(of_numpy["gauss"])]),
        torch.tensor([*words, int(next_gauss is not None), _bits(next_gauss or 0.0)]),
    ]
    return torch.cat(parts)


def _set_states(states: Tensor, own: OwnDraws) -> None:
    def take(count: int) -> Tensor:
        nonlocal states
        taken, states = states[:count], states[count:]
        return taken

    common = torch.get_rng_state()
    torch.set_rng_state(take(len(common)).to(torch.uint8))
    if own.state is not None:
        own.state = take(len(own.state)).to(torch.uint8)
    if own.is_cuda:
        torch.cuda.set_rng_state(take(len(torch.cuda.get_rng_state())).to(torch.uint8))
    of_numpy = np.random.get_state(legacy=False)
    of_numpy["state"]["key"] = take(len(of_numpy["state"]["key"])).numpy().astype(np.uint32)
    of_numpy["state"]["pos"], of_numpy["has_gauss"], gauss = take(3).tolist()
    of_numpy["gauss"] = _number(gauss)
    np.random.set_state(of_numpy)
    version, own_words, _ = random.getstate()
    *told, has_next, next_gauss = take(len(own_words) + 2).tolist()
    random.setstate((version, tuple(told), _number(next_gauss) if has_next else None))


def _bits(value: float) -> int:
    return int(np.float64(value).view(np.int64))


def _number(bits: int) -> float:
    return float(np.int64(bits).view(np.float64))
