"""Work beside other work: in a second process, where there is enough of it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 300.0
"""Longer than tables have taken of any ledger (a minute at 100,000 attempts)."""


@contextmanager
def beside(work: Callable[[], None], *, is_long: bool, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Do the work while the body runs; it is done when the body is, and an error of it is raised then.

    A copy of this process does it, so that it has everything that was read. Where that fails, for want of memory or through
    the work's own fault, this process does it again; also where the copy is not done ``patience_s`` seconds after the body:
    a lock that another thread held when the copy was made is never released there. Short work, and all of it where there
    is one processor, is done first.
    """
    if not is_long or sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        work()
        yield
        return
    copy = multiprocessing.get_context("fork").Process(target=_silently, args=(work,), daemon=True)
    copy.start()
    try:
        yield
        copy.join(patience_s)
    finally:
        copy.kill()
        copy.join()
    if copy.exitcode != 0:
        work()


def _silently(work: Callable[[], None]) -> None:
    """What goes wrong is said by the process that does it again."""
    try:
        work()
    except BaseException:
        os._exit(1)
