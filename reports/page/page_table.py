"""A table on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.page.marks import Mark


@dataclass(frozen=True)
class PageTable:
    """Headers and rows of text. Columns are right-aligned except ``text_columns``, whose cells may span several lines.

    ``total`` is a last row that is not sorted. ``marks`` are the contenders' marks in ``mark_column``, by row.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: tuple[int, ...] = ()
    total: Sequence[str] = ()
    marks: Sequence[Mark] = ()
    mark_column: int = 0

    @property
    def all_rows(self) -> list[Sequence[str]]:
        """The rows, and the total if there is one."""
        return [*self.rows, *([self.total] if self.total else [])]

    @property
    def has_headers(self) -> bool:
        """Whether its columns have names."""
        return any(self.headers)
