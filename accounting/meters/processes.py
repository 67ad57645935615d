"""Whether a process is alive, by its id and its start: ids are reused, the two together are not. Linux only."""

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
    """When a process began, in the form of :class:`Worker`; None if there is none, or only a zombie.

    The watcher of a driver (``harness/backends/reaper.py``) has a copy of this, since it imports nothing.
    """
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
    fields = text.rpartition(")")[2].split()  # the name, which comes before, may contain spaces and parentheses
    return None if len(fields) < 20 or fields[0] in "ZX" else fields[19]


def worker(pid: int, proc: Path = PROC) -> Worker | None:
    """A process that is alive; None if that cannot be established."""
    begin = started(pid, proc)
    return None if begin is None else Worker(pid, begin)


def lives(known: Worker, proc: Path = PROC) -> bool:
    """Whether the same process is still alive."""
    return started(known.pid, proc) == known.started
