"""Cells of a CSV file that a spreadsheet shows as they are: words that it would compute are marked as words.

A carriage return is written as an escape, since CSV writers leave it unquoted and readers end a row there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:  # whoever wants one cell needs no pandas
    import pandas as pd

COMPUTED = "=+-@\t\n＝＋－＠"
"""How a cell begins that spreadsheets take for a formula, the full-width forms included."""
ROWS_AT_A_TIME = 10_000
"""Of a table that is written: so that memory grows by that, not by the table."""
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)


def plain_cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before each word, of headers too, that would be computed; numbers are left alone."""
    import pandas as pd

    shown = table.rename(columns={column: plain_cell(column) for column in table.columns})
    for place, column in enumerate(table.columns):
        values = table[column]
        if pd.api.types.is_numeric_dtype(values):
            continue
        words = values.astype(object).tolist()
        known = {value: plain_cell(value) for value in words if isinstance(value, str)}  # most are in many rows
        shown.isetitem(place, [known[value] if isinstance(value, str) else value for value in words])
    return shown


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table with its cells as :func:`plain_cells` has them: what pandas writes of that, in less time."""
    with path.open("w", encoding="utf-8", newline="") as file:
        _write_rows(file, [_quoted([column]) for column in table.columns])
        for begin in range(0, len(table), ROWS_AT_A_TIME):
            rows = table.iloc[begin : begin + ROWS_AT_A_TIME]
            _write_rows(file, [_written(rows.iloc[:, place]) for place in range(rows.shape[1])])


def _write_rows(file: TextIO, columns: list[list[str]]) -> None:
    """Rows of cells that are given as columns; a row of one empty cell is no empty line."""
    if len(columns) == 1:
        columns = [[cell or '""' for cell in columns[0]]]
    rows = map(",".join, zip(*columns, strict=True)) if columns else [""]
    file.writelines(f"{row}\n" for row in rows)


def _written(column: pd.Series) -> list[str]:
    """The cells of a column as CSV has them, but for how a row of one is written; what is missing is empty."""
    import pandas as pd

    if isinstance(column.dtype, (pd.CategoricalDtype, pd.StringDtype)):
        places, words = pd.factorize(column)  # most are in many rows
        cells = [*_quoted(words.tolist()), ""]  # the last is at -1, the place of what is missing
        return list(map(cells.__getitem__, places.tolist()))
    missing = column.isna().tolist()
    if not pd.api.types.is_numeric_dtype(column):
        return _quoted(None if is_missing else value for value, is_missing in zip(column, missing, strict=True))
    texts = list(map(str, column.tolist()))
    if any(missing):
        texts = ["" if is_missing else text for text, is_missing in zip(texts, missing, strict=True)]
    return texts


class _Cells(list[str]):
    """Takes what a writer of CSV writes, a row at a time."""

    def write(self, text: str) -> None:
        """One row."""
        self.append(text)


def _quoted(values: Iterable[object]) -> list[str]:
    """Cells as :func:`plain_cell` has them, in quotes where CSV needs some."""
    rows = _Cells()
    csv.writer(rows, lineterminator="\n").writerows([plain_cell(value), None] for value in values)
    return [row[: -len(",\n")] for row in rows]


def plain_cell(value: object) -> object:
    """A cell as it is written: a word that begins like a formula, and is not a number, gets an apostrophe."""
    if not isinstance(value, str):
        return value
    value = value.replace("\r", "\\r")
    if len(value) < 2 or value[0] not in COMPUTED or NUMBER.fullmatch(value):
        return value
    return f"'{value}"
