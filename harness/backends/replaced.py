"""Replaces a part of Ray while a block runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: object, name: str, make: Callable[[Any], object]) -> Iterator[None]:
    """Set ``owner.name`` to ``make(old value)`` while the block runs, and restore it afterwards."""
    plain = getattr(owner, name)
    setattr(owner, name, make(plain))
    try:
        yield
    finally:
        setattr(owner, name, plain)
