"""What a logger is given, and what it must define. A plug-in is a file with ``class Logger``, here or of a user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol


@dataclass(frozen=True)
class Run:
    """The study that is followed. ``run_id`` is the same in every session of it, so that a service knows it again.

    ``folder`` is the logger's own, in the study's; it need not be there. ``config`` is the study's, as in ``study.yaml``.
    """

    study: str
    run_id: str
    folder: Path
    config: Mapping[str, object]


@dataclass(frozen=True)
class Scalar:
    """A number of a series: accuracies are fractions; ``step`` is an epoch, a replicate, or a count of attempts."""

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
    """One session's way to a tracker. Whatever it raises is a warning, and ends the logging, never the study."""

    NEEDS: ClassVar[str]
    """The package that must be installed, by the name it is imported by; the extra has the logger's name."""
    BEGINS_ANEW: ClassVar[bool]
    """Whether all news can be told again from the first on: what it wrote is in its folder, which is then emptied."""

    def __init__(self, run: Run) -> None: ...

    def log(self, news: Sequence[News]) -> None:
        """Tell these, in this order, and keep nothing back; each is given once."""
        ...

    def close(self) -> None:
        """The session is over."""
        ...
