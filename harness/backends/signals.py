"""Ctrl-C, SIGTERM and SIGHUP while a study runs: each ends it in an orderly way; a second ends the process at once.

The handler raises :class:`Interrupted` in the main thread. But some libraries swallow exceptions, and Ray's C++ part
replaces our handler with one that prints a stack and dies. So a signal is also remembered: :func:`check` raises it
again, and restores the handlers.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAME_S = 0.5
"""Two signals within this time count as one, since a terminal and a wrapper may both send theirs."""


class Interrupted(KeyboardInterrupt):
    """The user or the system asked the run to end; the message is the signal's name."""


class _Handler:
    """The signal handler."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._first_s = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.received is None:
            self.received, self._first_s = signal.Signals(number).name, now_s
            raise Interrupted(self.received)
        if now_s - self._first_s > SAME_S:
            os.write(2, b"error: ended at once; run the same command again to continue\n")
            os._exit(1)


@contextmanager
def handled() -> Iterator[None]:
    """Handle the signals while the block runs; one that is ignored (``nohup``) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _Handler()
    before = {number: signal.getsignal(number) for number in NUMBERS}
    before = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def check() -> None:
    """Raise :class:`Interrupted` if a signal has come, even a swallowed one; also restores replaced handlers."""
    if threading.current_thread() is not threading.main_thread():
        return
    handlers = {number: signal.getsignal(number) for number in NUMBERS}
    ours = next((handler for handler in handlers.values() if isinstance(handler, _Handler)), None)
    if ours is None:
        return
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, ours)  # even if Python thinks that it is set: it does not see C++ handlers
    if ours.received is not None:
        raise Interrupted(ours.received)
