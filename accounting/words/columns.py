"""Tables without lines, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def widths_of(table: Sequence[Sequence[str]]) -> list[int]:
    """How wide each column is: as its widest cell."""
    return [max(map(len, column)) for column in zip(*table, strict=True)]


def in_columns(table: Sequence[Sequence[str]], num_text_columns: int) -> list[str]:
    """A line for each row: the first columns are text, to the left, the others numbers, to the right; two spaces apart."""
    widths = widths_of(table)
    return [
        "  ".join(
            cell.ljust(width) if column < num_text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
