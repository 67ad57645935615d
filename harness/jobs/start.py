"""Where a job's initial weights come from."""

from __future__ import annotations

from dataclasses import dataclass

from accounting.ledger.specs import NetworkSpec


@dataclass(frozen=True)
class Fresh:
    """Random weights drawn with the job's seed, or timm's published ones if the network's spec asks for them."""


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a user's file."""

    path: str


@dataclass(frozen=True)
class WeightsOf:
    """The weights that another job (by name) has left, in their sizes."""

    job: str


@dataclass(frozen=True)
class InheritedFrom:
    """The weights of a member of a supernet that another job has trained, or of a part of another job's network.

    ``supernet`` is the spec of the whole, ``arch`` the member or part as in :class:`harness.jobs.work.Score`.
    """

    job: str
    supernet: NetworkSpec
    arch: tuple[int, ...]


@dataclass(frozen=True)
class StructureOf:
    """Random weights in the structure that another job has left: its masks, or its sizes if there are no masks."""

    job: str
    shuffled: bool = False
    """Whether each layer's mask is shuffled to random positions."""


@dataclass(frozen=True)
class StateOf:
    """The complete training state that another job has left after ``epochs`` epochs; the job continues that training."""

    job: str
    epochs: int


Start = Fresh | Checkpoint | WeightsOf | InheritedFrom | StructureOf | StateOf
FRESH = Fresh()


def source_of(start: Start) -> str | None:
    """The job whose files are needed; None if there is none."""
    match start:
        case WeightsOf(job) | InheritedFrom(job) | StructureOf(job) | StateOf(job):
            return job
    return None
