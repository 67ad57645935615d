"""Ends what a driver started once the driver is gone, however it ended. A script that uses only the standard library.

usage: python reaper.py DRIVER_PID FOLDER [IGNORED_PID ...]

It records the driver's descendants while the driver lives, which is as long as its own standard input is open. Then it
gives them a moment to end, kills the rest, and removes FOLDER. A process that began between two looks, and whose parent
died before the second, is nobody's descendant: it is known by FOLDER in its environment (:data:`MARK`). Linux only,
since it needs /proc.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from select import select

POLL_S = 0.5
GRACE_S = 1.0
"""How long processes may take to end by themselves once the driver is gone."""
LIMIT_S = 10.0
MARK = "PRUNE_OR_SEARCH_RAY"
"""The environment variable by which the processes of a driver's Ray are known; its value is FOLDER."""

Process = tuple[int, str]
"""Process id and start time; ids are reused, pairs are not."""


def started(pid: int) -> str | None:
    """When a process began, in clock ticks; None if there is no such process, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if len(fields) < 20 or fields[0] in "ZX" else fields[19]


def children(pid: int) -> list[int]:
    """The direct children of all threads of a process."""
    found: list[int] = []
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return found
    for task in tasks:
        try:
            found += [int(word) for word in (task / "children").read_text().split()]
        except (OSError, ValueError):
            continue
    return found


def descendants(roots: list[int], ignored: set[int]) -> set[Process]:
    """All descendants of the roots; ignored processes are left out with everything below them."""
    found: set[Process] = set()
    todo = [child for root in roots for child in children(root)]
    while todo:
        pid = todo.pop()
        begin = started(pid)
        if pid in ignored or begin is None or (pid, begin) in found:
            continue
        found.add((pid, begin))
        todo += children(pid)
    return found


def started_with(name: str, value: str) -> set[Process]:
    """The processes of this user that were started with a variable of the environment at this value."""
    found: set[Process] = set()
    mark = f"{name}={value}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        begin = started(pid)
        try:
            if begin is not None and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.add((pid, begin))
        except OSError:  # another user's, or gone
            continue
    return found


def marked(folder: str, ignored: set[int]) -> set[Process]:
    """The processes that were started with the mark of a folder, but for the ignored ones."""
    return {process for process in started_with(MARK, folder) if process[0] not in ignored}


def alive(known: set[Process]) -> set[Process]:
    """The processes that are still running."""
    return {(pid, begin) for pid, begin in known if started(pid) == begin}


def kill(known: set[Process], ignored: set[int]) -> set[Process]:
    """Kill the processes that still run and their new descendants; returns those found running."""
    running = alive(known)
    running |= descendants([pid for pid, _ in running], ignored)
    for pid, _ in running:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return running


def main() -> None:
    """Watch, then clean up."""
    driver, folder, ignored = int(sys.argv[1]), sys.argv[2], {int(word) for word in sys.argv[3:]} | {os.getpid()}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    known: set[Process] = set()
    while True:
        readable, _, _ = select([sys.stdin.fileno()], [], [], POLL_S)
        known = alive(known) | descendants([driver, *(pid for pid, _ in known)], ignored)
        if readable and not os.read(sys.stdin.fileno(), 64):
            break
    end = time.monotonic()
    known |= marked(folder, ignored | {driver})
    while alive(known) and time.monotonic() < end + GRACE_S:
        time.sleep(0.05)
    while kill(known | marked(folder, ignored | {driver}), ignored) and time.monotonic() < end + LIMIT_S:
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
