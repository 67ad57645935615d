"""The answers of a strategy that is asked for work, and the error for a target below the smallest network."""

from __future__ import annotations

from dataclasses import dataclass

from accounting.words.quantities import macs_text
from nas_baseline.spaces.base import Arch


@dataclass(frozen=True)
class Proposal:
    """Evaluate this network. ``trial`` numbers proposals from 0, and identifies the proposal when its value is told."""

    trial: int
    arch: Arch


@dataclass(frozen=True)
class Wait:
    """Nothing to propose until the value of an outstanding proposal is told."""


@dataclass(frozen=True)
class Done:
    """Nothing more to propose."""


WAIT = Wait()
DONE = Done()


class InfeasibleTarget(ValueError):
    """No network of the space is within the target; the message gives both numbers."""

    def __init__(self, target: int, smallest: int, space: str) -> None:
        self.target, self.smallest = target, smallest
        super().__init__(
            f"target of {macs_text(target)} MACs: the smallest network of space '{space}' has {macs_text(smallest)} "
            "MACs"
        )
