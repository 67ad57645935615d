"""Work done in a second process while the main one continues, if there is enough of it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_S = 300.0
"""Longer than the tables of any ledger have taken (a minute for 100,000 attempts)."""


@contextmanager
def beside(work: Callable[[], None], *, is_long: bool, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Do the work while the body of the ``with`` statement runs; both are done at its end, where an error is raised.

    A fork of this process does it, so that it has all the data already read. If the fork fails, for lack of memory or
    through an error in the work, this process does the work again. It also does so if the fork is not done
    ``patience_s`` seconds after the body, since a lock that another thread held at the time of the fork is never
    released there. Short work, and any work on a single processor or outside of Linux, is done before the body.
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
    """Do the work without a message if it fails: the process that does it again raises the error."""
    try:
        work()
    except BaseException:
        os._exit(1)
