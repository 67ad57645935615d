"""Numbers, lines and tables for a terminal of 80 columns."""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Callable, Sequence

from accounting.words.columns import in_columns, widths_of

WIDTH = 80
UNKNOWN = "–"
FIGURES = 4
"""Significant figures of a total; its parts have the same number of decimals, so that they visibly add up."""


def fixed(largest: float, at_least: int = 0) -> Callable[[float], str]:
    """A number formatter with as many decimals as give the largest number :data:`FIGURES` significant figures."""
    whole = math.floor(math.log10(largest)) + 1 if largest > 0 else 1
    decimals = min(6, max(at_least, FIGURES - whole))
    return lambda value: f"{value + 0.0:,.{decimals}f}"


def share(part: float, whole: float) -> str:
    """A part's share of the whole, in percent."""
    return f"{part / whole:.0%}" if whole > 0 else UNKNOWN


def ratio(actual: float, planned: float | None) -> str:
    """Actual over planned."""
    return f"{actual / planned:.2f}" if planned else UNKNOWN


def when(t: float) -> str:
    """A time, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(t))


def wrapped(text: str, indent: str = "  ") -> list[str]:
    """The text, wrapped to the width of the terminal."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], num_text_columns: int = 1) -> list[str]:
    """Align text left and numbers right, two spaces between columns; names are cut if a row would be too wide."""
    table = [list(row) for row in (header, *rows)]
    longest, *others = widths_of(table)
    room = max(len(header[0]), min(longest, WIDTH - sum(width + 2 for width in others)))
    for row in table:
        row[0] = row[0] if len(row[0]) <= room else row[0][: room - 1] + "…"
    return in_columns(table, num_text_columns)
