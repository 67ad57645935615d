"""Lines on disk: written whole or not at all, and there once the call returns."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_line(fd: int, line: bytes) -> None:
    """Append a line and wait until it is on disk; of a line that the disk refuses nothing is left (``OSError``)."""
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
    """Make a new file's name durable too; some file systems cannot sync a folder, which is fine."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
