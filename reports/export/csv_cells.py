"""CSV cells that a spreadsheet shows unchanged: text that it would take for a formula is marked as text.

A carriage return is written as an escape, because CSV writers leave it unquoted and readers end the row there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:  # a single cell needs no pandas
    import pandas as pd

COMPUTED = "=+-@\t\n＝＋－＠"
"""First characters that make spreadsheets take a cell for a formula, including the full-width forms."""
ROWS_AT_A_TIME = 10_000
"""Rows written at a time, which bounds the memory needed for a large table."""
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)


def plain_cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before each text, headers included, that looks like a formula; numbers stay."""
    import pandas as pd

    shown = table.rename(columns={column: plain_cell(column) for column in table.columns})
    for place, column in enumerate(table.columns):
        values = table[column]
        if pd.api.types.is_numeric_dtype(values):
            continue
        words = values.astype(object).tolist()
        known = {value: plain_cell(value) for value in words if isinstance(value, str)}  # most occur in many rows
        shown.isetitem(place, [known[value] if isinstance(value, str) else value for value in words])
    return shown


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table with the cells of :func:`plain_cells`: the same file that pandas would write, in less time."""
    with path.open("w", encoding="utf-8", newline="") as file:
        _write_rows(file, [_quoted([column]) for column in table.columns])
        for begin in range(0, len(table), ROWS_AT_A_TIME):
            rows = table.iloc[begin : begin + ROWS_AT_A_TIME]
            _write_rows(file, [_written(rows.iloc[:, place]) for place in range(rows.shape[1])])


def _write_rows(file: TextIO, columns: list[list[str]]) -> None:
    """Write rows of cells given as columns; a row of one empty cell is not written as an empty line."""
    if len(columns) == 1:
        columns = [[cell or '""' for cell in columns[0]]]
    rows = map(",".join, zip(*columns, strict=True)) if columns else [""]
    file.writelines(f"{row}\n" for row in rows)


def _written(column: pd.Series) -> list[str]:
    """The cells of a column as written in CSV, except for rows of a single cell; missing values are empty."""
    import pandas as pd

    if isinstance(column.dtype, (pd.CategoricalDtype, pd.StringDtype)):
        places, words = pd.factorize(column)  # most occur in many rows
        cells = [*_quoted(words.tolist()), ""]  # the last one is at -1, the place of missing values
        return list(map(cells.__getitem__, places.tolist()))
    missing = column.isna().tolist()
    if not pd.api.types.is_numeric_dtype(column):
        return _quoted(None if is_missing else value for value, is_missing in zip(column, missing, strict=True))
    texts = list(map(str, column.tolist()))
    if any(missing):
        texts = ["" if is_missing else text for text, is_missing in zip(texts, missing, strict=True)]
    return texts


class _Cells(list[str]):
    """Collects what a CSV writer writes, one row at a time."""

    def write(self, text: str) -> None:
        """Collect one row."""
        self.append(text)


def _quoted(values: Iterable[object]) -> list[str]:
    """The cells of :func:`plain_cell`, in quotes if CSV needs them."""
    rows = _Cells()
    csv.writer(rows, lineterminator="\n").writerows([plain_cell(value), None] for value in values)
    return [row[: -len(",\n")] for row in rows]


def plain_cell(value: object) -> object:
    """A cell as it is written: text that begins like a formula and is not a number gets an apostrophe."""
    if not isinstance(value, str):
        return value
    value = value.replace("\r", "\\r")
    if len(value) < 2 or value[0] not in COMPUTED or NUMBER.fullmatch(value):
        return value
    return f"'{value}"
