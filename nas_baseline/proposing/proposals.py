"""What a strategy answers when it is asked for work, and the error of a target that nothing reaches."""

from __future__ import annotations

from dataclasses import dataclass

from nas_baseline.spaces.base import Arch


@dataclass(frozen=True)
class Proposal:
    """Evaluate this network. ``trial`` counts proposals from 0 and names the proposal when it is told."""

    trial: int
    arch: Arch


@dataclass(frozen=True)
class Wait:
    """Nothing to do until an outstanding proposal is told."""


@dataclass(frozen=True)
class Done:
    """Nothing left to propose."""


WAIT = Wait()
DONE = Done()


class InfeasibleTarget(ValueError):
    """No network of the space is within the target; the message names both numbers."""

    def __init__(self, target: int, smallest: int, space: str) -> None:
        self.target, self.smallest = target, smallest
        super().__init__(f"target of {target:,} MACs: the smallest network of space '{space}' has {smallest:,} MACs")
