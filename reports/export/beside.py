"""Work beside other work: in a second process, where there is enough of it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[], None], *, is_long: bool) -> Iterator[None]:
    """Do the work while the body runs; it is done when the body is, and an error of it is raised then.

    A copy of this process does it, so that it has everything that was read; where that fails, for want of memory or for the
    work's own fault, this process does it again. Short work, and all of it where there is one processor, is done first.
    """
    if not is_long or sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        work()
        yield
        return
    copy = multiprocessing.get_context("fork").Process(target=_silently, args=(work,), daemon=True)
    copy.start()
    try:
        yield
        copy.join()
    finally:
        copy.terminate()
        copy.join()
    if copy.exitcode != 0:
        work()


def _silently(work: Callable[[], None]) -> None:
    """What goes wrong is said by the process that does it again."""
    try:
        work()
    except BaseException:
        os._exit(1)
