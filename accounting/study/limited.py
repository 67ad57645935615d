"""A time limit for trying out a user's own file, which may never return."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TookTooLong(BaseException):
    """The time is up. It is not an :class:`Exception`, so that it also ends a file that catches all of those."""


@contextmanager
def limited(limit_s: float) -> Iterator[None]:
    """Raise :class:`TookTooLong` in the block after ``limit_s`` seconds of wall time.

    It is raised between two steps of Python, so a single call into compiled code is not interrupted. There is no limit
    outside the main thread, or on a system without alarms. An alarm set earlier still goes off when it is due.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TookTooLong(f"{limit_s:g} s")

    handler = signal.signal(signal.SIGALRM, ring)
    left_s, every_s = signal.setitimer(signal.ITIMER_REAL, limit_s)
    begin_s = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left_s:
            signal.setitimer(signal.ITIMER_REAL, max(left_s - (time.monotonic() - begin_s), 1e-3), every_s)
