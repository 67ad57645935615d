"""Reading without garbage collection."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 200_000
"""From this many new objects on, they are kept out of later collections too, each of which takes a second per few
million objects."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause garbage collection while the block runs: a large ledger is millions of objects, none of them garbage.

    The objects of a large ledger are kept out of later collections too; each is freed when nothing refers to it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] >= MANY:
            gc.freeze()
        if was_enabled:
            gc.enable()
