"""What a logger is given and what it must define. A plug-in is a file with ``class Logger``, here or the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol


@dataclass(frozen=True)
class Run:
    """The study that is followed. ``run_id`` is the same in all its sessions, so that a service recognises it.

    ``folder`` is the logger's own, inside the study's, and may not exist yet. ``config`` is that of ``study.yaml``.
    """

    study: str
    run_id: str
    folder: Path
    config: Mapping[str, object]


@dataclass(frozen=True)
class Scalar:
    """One number of a series. Accuracies are fractions; ``step`` is an epoch, a replicate, or a number of attempts."""

    tag: str
    value: float
    step: int


@dataclass(frozen=True)
class News:
    """What a record of the ledger says, at ``t`` (Unix seconds): a sentence, numbers, or both."""

    t: float
    text: str | None = None
    scalars: tuple[Scalar, ...] = ()


class Logger(Protocol):
    """Sends one session's news to a tracker. Any exception becomes a warning and ends the logging, never the study."""

    NEEDS: ClassVar[str]
    """The required package, by its import name; the extra that installs it has the logger's name."""
    BEGINS_ANEW: ClassVar[bool]
    """Whether it can be given all news again from the start: all it wrote is in its folder, which is emptied first."""

    def __init__(self, run: Run) -> None: ...

    def log(self, news: Sequence[News]) -> None:
        """Send these news in this order, without holding any back; each is given once."""
        ...

    def close(self) -> None:
        """End the session's logging."""
        ...
