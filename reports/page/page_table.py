"""A table as it stands on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PageTable:
    """Headers and rows of text; columns are right-aligned except ``text_columns``."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: tuple[int, ...] = ()
