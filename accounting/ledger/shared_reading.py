"""Segments that a second process reads in parallel, if there is so much that half of it is worth starting one.

Its results come back segment by segment. If anything goes wrong there, the remaining segments count as not read; the
caller reads them itself and finds the problem.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from accounting.ledger.findings import Finding
from accounting.ledger.integrity import Segment
from accounting.ledger.points import Points
from accounting.ledger.reading import Reading
from accounting.ledger.records import Record
from accounting.ledger.uncollected import uncollected
from accounting.study.own_python import own_python

MIN_BYTES = 40_000_000
"""With fewer bytes of lines, no second process is started."""
LENGTH_BYTES = 8
"""Size of the length that precedes each segment's result."""

Clean = Callable[[Record], Record]
Read = tuple[Segment, Points | None, list[Finding]]
"""A segment, its epoch ends and heartbeats if it was read lean, and the findings about its clock."""


def read_lines(path: Path, reading: Reading, content: bytes | None = None) -> Read:
    """Read a segment line by line."""
    segment = reading.segment(path, content)
    reading.check_clock(path.name)
    return segment, reading.points, reading.clock


def share_of_second(paths: Sequence[Path], held_bytes: int) -> list[Path]:
    """The segments for a second process to read, when this one has ``held_bytes`` to read anyway; may be none."""
    sizes = {path: _size_of(path) for path in paths}
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2 or sum(sizes.values()) < MIN_BYTES:
        return []
    mine, theirs, given = held_bytes, 0, []
    for path in sorted(paths, key=lambda path: -sizes[path]):
        if theirs < mine:
            given.append(path)
            theirs += sizes[path]
        else:
            mine += sizes[path]
    return given


def _size_of(path: Path) -> int:
    """Bytes; 0 if the file is missing or cannot be looked at, which reading it will report."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def read_beside(
    paths: Sequence[Path], *, strict: bool, clean: Clean | None
) -> Iterator[Callable[[], dict[Path, Read]]]:
    """Have segments read lean while the block runs; the yielded function returns those that could be read."""
    if not paths:
        yield dict
        return
    words, env = own_python("-m", __name__)
    process = subprocess.Popen(
        words,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    asked = pickle.dumps((strict, clean, list(paths)))
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(_told, process, asked)
        try:
            yield lambda: _taken(told.result(), paths)
        finally:
            process.kill()


def _told(process: subprocess.Popen[bytes], asked: bytes) -> list[bytes]:
    """The results that came back whole, segment by segment."""
    found: list[bytes] = []
    with process:
        if process.stdin is None or process.stdout is None:
            return found
        with suppress(OSError):  # it has ended already
            process.stdin.write(asked)
            process.stdin.close()
        while length := int.from_bytes(process.stdout.read(LENGTH_BYTES)):
            content = process.stdout.read(length)
            if len(content) < length:
                break
            found.append(content)
    return found


def _taken(told: list[bytes], paths: Sequence[Path]) -> dict[Path, Read]:
    found: dict[Path, Read] = {}
    for path in reversed(paths[: len(told)]):  # popped, so that each one is freed once taken over
        found[path] = pickle.loads(told.pop())
    return found


def main(asked: BinaryIO, told: BinaryIO) -> None:
    """The second process: read the requested segments, and send back the result of each."""
    strict, clean, paths = pickle.load(asked)
    for path in paths:
        with uncollected():
            content = pickle.dumps(read_lines(path, Reading(strict, Points(), clean)), protocol=pickle.HIGHEST_PROTOCOL)
        told.write(len(content).to_bytes(LENGTH_BYTES) + content)
        told.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
