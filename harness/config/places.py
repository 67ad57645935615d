"""Places in a document of nested mappings and lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from accounting.study.yaml12 import Place

ANY = "*"
"""Matches any key in a pattern."""


def at(raw: object, place: Place) -> Any:
    """The value at a place; None if there is nothing."""
    for part in place:
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def matching(raw: object, patterns: Iterable[Place]) -> Iterator[Place]:
    """The places in a document that match one of the patterns, in which :data:`ANY` stands for any key."""
    for pattern in patterns:
        found: list[Place] = [()]
        for part in pattern:
            found = [
                (*place, key)
                for place in found
                if isinstance(holder := at(raw, place), dict)
                for key in ([key for key in holder if isinstance(key, str)] if part == ANY else [part])
                if key in holder
            ]
        yield from found
