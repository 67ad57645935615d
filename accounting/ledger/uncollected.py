"""Reading without a search for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 200_000
"""Objects: from so many on they are kept out of later searches, too, each of which takes a second for a few million."""


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is looked for meanwhile: a large ledger is millions of objects, and none of them is garbage.

    What was made of a large one is not looked at later either; it is freed when nothing refers to it.
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
