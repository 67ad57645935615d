"""Reading without garbage collection, and giving freed memory back."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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


def return_memory() -> None:
    """Return freed memory to the system: after a large ledger was read, the allocators keep about 100 MB for later."""
    if (arrow := sys.modules.get("pyarrow")) is not None:
        arrow.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library other than glibc
            ctypes.CDLL(None).malloc_trim(0)
