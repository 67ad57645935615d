"""Runs blocking work in a thread, so that the main thread can react to signals, time limits and a cluster's death."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.1


class TimeUp(TimeoutError):
    """The work exceeded its time limit."""


def run_beside(
    work: Callable[[], T],
    name: str,
    check: Callable[[], None] | None = None,
    limit_s: float | None = None,
    until: threading.Event | None = None,
) -> T:
    """Run ``work`` in a thread while this one waits; returns what it returns and raises what it raises.

    ``check`` is called several times a second and may raise to leave; a signal handler may raise as well. The thread is
    then abandoned: it is a daemon, and dies with the process. With ``until``, the thread stays alive until that event
    is set, even after its work is done.

    Raises:
        TimeUp: ``work`` was not done after ``limit_s``.

    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # of any type: the waiting thread raises it
            errors.append(error)
        done.set()
        if until is not None:
            until.wait()

    thread = threading.Thread(target=body, name=name, daemon=True)
    begin_s = time.monotonic()
    thread.start()
    while not done.wait(POLL_S):
        if check is not None:
            check()
        if limit_s is not None and time.monotonic() - begin_s > limit_s:
            raise TimeUp(f"{name} took longer than {limit_s:g} s")
    if errors:
        raise errors[0]
    return results[0]
