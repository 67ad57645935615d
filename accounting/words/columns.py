"""Tables without rules, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def widths_of(table: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column, which is that of its widest cell."""
    return [max(map(len, column)) for column in zip(*table, strict=True)]


def in_columns(table: Sequence[Sequence[str]], num_text_columns: int) -> list[str]:
    """One line per row, columns two spaces apart: the first ones are text, left-aligned; the others right-aligned."""
    widths = widths_of(table)
    return [
        "  ".join(
            cell.ljust(width) if column < num_text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
