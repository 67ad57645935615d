"""Whether a process lives: by its id and its start, since ids are used again and the two together are not. Linux only."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Worker(NamedTuple):
    """A process of an attempt."""

    pid: int
    started: str
    """When it began, in clock ticks since the machine started."""


def started(pid: int, proc: Path = PROC) -> str | None:
    """When a process began, as :class:`Worker` has it; None where there is none, or only its remains.

    The watcher of a driver (``harness/backends/reaper.py``) has the same, since it imports nothing.
    """
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before may have spaces and parentheses
    return None if len(fields) < 20 or fields[0] in "ZX" else fields[19]


def worker(pid: int, proc: Path = PROC) -> Worker | None:
    """A process that lives; None where that cannot be said."""
    begin = started(pid, proc)
    return None if begin is None else Worker(pid, begin)


def lives(known: Worker, proc: Path = PROC) -> bool:
    """Whether it is the same process still."""
    return started(known.pid, proc) == known.started
