"""Ends a worker that has lost its place: its raylet is dead, or its study now has another session.

Ray's workers outlive their raylet. Such a worker would continue, and finish, a job that Tune gave to another long ago.
So a thread of each attempt checks every second and ends the process; it records the reason if the session still exists.
Another thread does the same between attempts. The study's ``.session`` file shows when a session has ended: see
:func:`session_file`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)

LOOK_S = 1.0
WORKING, IDLE = "liveness", "liveness between attempts"
EXIT_CODE = 75
"""``EX_TEMPFAIL``: another attempt may succeed."""


class Life:
    """Whether this process still has a place to work. This base class always has: for in-process studies and tests."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """Held while an attempt's end is written, since an attempt has only one end."""

    def lost(self) -> tuple[str, bool] | None:
        """Why the process must end, and whether that may still be recorded; None while it may live."""
        return None


class WorkerLife(Life):
    """The life of a Ray worker, which depends on its raylet and on the study's session."""

    def __init__(self, root: Path, session: str) -> None:
        super().__init__()
        self._raylet = os.getppid()
        self._file, self._session = session_path(root), session

    def lost(self) -> tuple[str, bool] | None:
        """See :class:`Life`."""
        try:
            session = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            session = ""
        except OSError:  # storage that does not answer now may answer later
            session = self._session
        if session != self._session:
            return "the session that this attempt belongs to is over", False
        if os.getppid() != self._raylet:
            return "Ray's raylet on this node died, and its worker with it", True
        return None


@contextmanager
def watched(life: Life, end: Callable[[str], None]) -> Iterator[None]:
    """End the process when it has lost its place; ``end(reason)`` records that first if it still may."""
    if type(life) is Life:
        yield
        return
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(LOOK_S):
            if (lost := life.lost()) is None:
                continue
            life.lock.acquire()  # never released, so nothing else is written
            if stopped.is_set():
                life.lock.release()
                return
            if lost[1]:
                with suppress(OSError, ValueError):
                    end(lost[0])
            os._exit(EXIT_CODE)

    thread = threading.Thread(target=look, name=WORKING, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with life.lock:  # a thread that ends the process keeps the lock, so nothing comes after
            stopped.set()


def watch_between_attempts(life: Life) -> None:
    """End this process when it has lost its place between attempts. One thread does so, for the life of the process."""

    def running(name: str) -> bool:
        return any(thread.name == name for thread in threading.enumerate())

    def look() -> None:
        while life.lost() is None or running(WORKING):
            time.sleep(LOOK_S)
        os._exit(EXIT_CODE)

    if not running(IDLE):
        threading.Thread(target=look, name=IDLE, daemon=True).start()


def session_path(root: Path) -> Path:
    """The file that names the active session of a study's folder."""
    return root / ".session"


@contextmanager
def session_file(root: Path, session: str) -> Iterator[None]:
    """Name the active session while the block runs; workers of any other session, even a dead driver's, then end."""
    path = session_path(root)
    path.write_text(session, encoding="utf-8")
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
