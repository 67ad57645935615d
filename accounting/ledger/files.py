"""Durable lines: each is written whole or not at all, and is on disk once the call returns."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_line(fd: int, line: bytes) -> None:
    """Append a line and wait until it is on disk; if the disk refuses (``OSError``), nothing of the line is left."""
    written = 0
    try:
        written = os.write(fd, line)
        while written < len(line):
            written += os.write(fd, line[written:])
        os.fsync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, os.fstat(fd).st_size - written)
        raise


def sync_folder(folder: Path) -> None:
    """Make the name of a new file durable too; file systems that cannot sync a folder are tolerated."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
