"""Which process drives a study: a lock that the system releases when that process dies, for whatever reason.

The lock is an ``flock`` on a file that also names its holder, so another process can tell whether a driver is alive.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

PATIENCE_S = 1.0
"""How long a driver tries to get the lock: a process that only looks also holds it for a moment."""


class Life(StrEnum):
    """What is known about a study's driver."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


class Locked(RuntimeError):
    """Another driver holds the study; the message says which one, if that is known."""


@dataclass(frozen=True)
class Driver:
    """The last driver of a study; host and process id are None if the lock file does not name them."""

    life: Life
    host: str | None = None
    pid: int | None = None

    @property
    def where(self) -> str:
        """``process 123 on host a``, or an empty string."""
        return "" if self.host is None else f"process {self.pid} on {self.host}"


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock while the block runs.

    Raises:
        Locked: another process holds it.
        OSError: the file cannot be written.

    """
    descriptor = _acquire(path)
    try:
        yield
    finally:
        os.close(descriptor)


def find_driver(path: Path) -> Driver:
    """Whether a process holds the lock, and which process took it last.

    A free lock says nothing about a driver on another host, as its file system may not pass locks on.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return Driver(Life.GONE)
    except OSError:
        return Driver(Life.UNKNOWN)
    try:
        host, pid = _read(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Driver(Life.ALIVE, host, pid)
        except OSError:  # a file system without locks
            return Driver(Life.UNKNOWN, host, pid)
        here = host is None or host == socket.gethostname()
        return Driver(Life.GONE if here else Life.UNKNOWN, host, pid)
    finally:
        os.close(descriptor)


def _acquire(path: Path) -> int:
    give_up = time.monotonic() + PATIENCE_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(descriptor, path):
                _write(descriptor)
                return descriptor
        except BlockingIOError:
            if time.monotonic() >= give_up:
                driver = Driver(Life.ALIVE, *_read(descriptor))
                os.close(descriptor)
                raise Locked(driver.where) from None
            time.sleep(0.05)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the file is still the one at ``path``: a driver that abandons a new study removes its lock file."""
    with suppress(FileNotFoundError):
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    return False


def _write(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)


def _read(descriptor: int) -> tuple[str | None, int | None]:
    """Host and process id from the lock file; lock files of older versions are empty."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return str(found["host"]), int(found["pid"])
    except (ValueError, TypeError, KeyError):
        return None, None
