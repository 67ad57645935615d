"""Work in a thread while a block runs; it is told when the block is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def in_thread(
    name: str,
    work: Callable[[threading.Event], None],
    patience_s: float | None = None,
    late: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Call ``work(over)`` in a daemon thread; ``over`` is set when the block is left.

    The end of the block waits for the thread. With ``patience_s``, it waits at most that many seconds; then ``late`` is
    called, and the thread is left running.
    """
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(patience_s)
        if thread.is_alive():
            late()
