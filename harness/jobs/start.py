"""Where the weights come from that a job begins with."""

from __future__ import annotations

from dataclasses import dataclass

from accounting.ledger.specs import NetworkSpec


@dataclass(frozen=True)
class Fresh:
    """Random ones, drawn with the job's seed, or timm's published ones where the network's spec says so."""


@dataclass(frozen=True)
class Checkpoint:
    """A file that the user gave."""

    path: str


@dataclass(frozen=True)
class WeightsOf:
    """Those that another job (by name) has left, of the sizes that they have there."""

    job: str


@dataclass(frozen=True)
class InheritedFrom:
    """Those of a member of the supernet (its spec) that another job has trained, or of a part of any other network.

    ``arch`` is a member as in :class:`harness.jobs.work.Score`.
    """

    job: str
    supernet: NetworkSpec
    arch: tuple[int, ...]


@dataclass(frozen=True)
class StructureOf:
    """Random ones in the structure that another job has left: in its masks, or in its sizes where it has none."""

    job: str
    shuffled: bool = False
    """Whether every layer's mask is put at random places."""


@dataclass(frozen=True)
class StateOf:
    """The whole state of a training that another job has left after ``epochs`` epochs: the job continues it."""

    job: str
    epochs: int


Start = Fresh | Checkpoint | WeightsOf | InheritedFrom | StructureOf | StateOf
FRESH = Fresh()


def source_of(start: Start) -> str | None:
    """The job whose files are needed; None where there is none."""
    match start:
        case WeightsOf(job) | InheritedFrom(job) | StructureOf(job) | StateOf(job):
            return job
    return None
