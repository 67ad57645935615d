"""Cells of a CSV file that a spreadsheet shows as they are: words that it would compute are marked as words.

A carriage return is written as an escape, since CSV writers leave it unquoted and readers end a row there.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever wants one cell needs no pandas
    import pandas as pd

COMPUTED = "=+-@\t\n＝＋－＠"
"""How a cell begins that spreadsheets take for a formula, the full-width forms included."""
ROWS_AT_A_TIME = 20_000
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
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([plain_cell(column) for column in table.columns])
        for begin in range(0, len(table), ROWS_AT_A_TIME):
            rows = table.iloc[begin : begin + ROWS_AT_A_TIME]
            writer.writerows(zip(*(_written(rows.iloc[:, place]) for place in range(rows.shape[1])), strict=True))


def _written(column: pd.Series) -> list[object]:
    """The cells of a column as a writer of CSV takes them; what is missing is empty."""
    import pandas as pd

    values = column.astype(object).tolist() if isinstance(column.dtype, pd.CategoricalDtype) else column.tolist()
    if pd.api.types.is_numeric_dtype(column):
        return ["" if is_missing else value for value, is_missing in zip(values, column.isna(), strict=True)]
    known = {value: plain_cell(value) for value in values if isinstance(value, str)}  # most stand in many rows
    missing = column.isna().tolist()
    return [
        "" if is_missing else known[value] if isinstance(value, str) else value
        for value, is_missing in zip(values, missing, strict=True)
    ]


def plain_cell(value: object) -> object:
    """A cell as it is written: a word that begins like a formula, and is not a number, gets an apostrophe."""
    if not isinstance(value, str):
        return value
    value = value.replace("\r", "\\r")
    if len(value) < 2 or value[0] not in COMPUTED or NUMBER.fullmatch(value):
        return value
    return f"'{value}"
