"""Ends a worker whose place is gone: its raylet is dead, or its study has another session by now.

Ray's workers outlive their raylet. Such a worker would continue, and finish, a job that Tune has long given to another. So
a thread of each attempt looks every second, and ends the process; the reason is put on record where the session still is.
Another thread does so between attempts. A session's end is told by the study's ``.session`` file: see :func:`session_file`.
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
"""``EX_TEMPFAIL``: another attempt may do better."""


class Life:
    """Whether this process still has a place to work in. This one always has: for a study in one process, and tests."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """Held while an attempt's end is written: an attempt has one."""

    def lost(self) -> tuple[str, bool] | None:
        """Why the process must end, and whether that may still be put on record; None while it may live."""
        return None


class WorkerLife(Life):
    """Life of a Ray worker, which depends on its raylet and on the study's session."""

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
    """End the process when it has lost its place; ``end(reason)`` puts that on record before, if it still may."""
    if type(life) is Life:
        yield
        return
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(LOOK_S):
            if (lost := life.lost()) is None:
                continue
            life.lock.acquire()  # for good: nothing else is written any more
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
        with life.lock:  # whoever ends the process keeps it: then nothing comes after
            stopped.set()


def watch_between_attempts(life: Life) -> None:
    """End this process when it has lost its place and works at no attempt. One thread, whose life is the process's."""

    def running(name: str) -> bool:
        return any(thread.name == name for thread in threading.enumerate())

    def look() -> None:
        while life.lost() is None or running(WORKING):
            time.sleep(LOOK_S)
        os._exit(EXIT_CODE)

    if not running(IDLE):
        threading.Thread(target=look, name=IDLE, daemon=True).start()


def session_path(root: Path) -> Path:
    """The file that names the session at work in a study's folder."""
    return root / ".session"


@contextmanager
def session_file(root: Path, session: str) -> Iterator[None]:
    """Say which session is at work while the block runs. Workers of any other one, also of a dead driver, end then."""
    path = session_path(root)
    path.write_text(session, encoding="utf-8")
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
