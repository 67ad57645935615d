"""CSV cells that a spreadsheet shows unchanged: text that it would take for a formula is marked as text.

A carriage return is written as an escape, because CSV writers leave it unquoted and readers end the row there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a single cell needs no pandas
    import pandas as pd
    import pyarrow as pa

COMPUTED = "=+-@\t\n＝＋－＠"
"""First characters that make spreadsheets take a cell for a formula, including the full-width forms."""
ROWS_AT_A_TIME, BYTES_AT_A_TIME = 16_000, 2_000_000
"""Most rows written at a time, and about how much memory they have, which bounds the memory needed for a large table."""
ODD = "^[" + COMPUTED.replace("-", r"\-") + "]|\r"
"""Matches text that :func:`plain_cell` may change."""
QUOTED = '[",\n]'
"""Matches text that CSV needs in quotes."""
ALIKE_FROM, ALIKE_TO = 1e-4, 1e10
"""Floats between these are written by Arrow as by Python, but for the ``.0`` of whole numbers."""
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
    with path.open("wb") as file:
        file.write(_rows([_quoted([column]) for column in table.columns]))
        size = int(table.memory_usage(index=False).sum())
        step = max(1, min(ROWS_AT_A_TIME, BYTES_AT_A_TIME * len(table) // max(size, 1)))
        for begin in range(0, len(table), step):
            rows = table.iloc[begin : begin + step]
            file.write(_rows([_written(rows.iloc[:, place]) for place in range(rows.shape[1])]))


def _rows(columns: list[pa.StringArray]) -> bytes | memoryview:
    """Rows of cells given as columns; a row of one empty cell is not written as an empty line."""
    import pyarrow.compute as pc

    if not columns:
        return b"\n"
    if len(columns) == 1:
        columns = [pc.if_else(pc.equal(columns[0], ""), '""', columns[0])]
    ended = pc.binary_join_element_wise(columns[-1], "", "\n")
    return _text(pc.binary_join_element_wise(*columns[:-1], ended, ",") if len(columns) > 1 else ended)


def _text(rows: pa.StringArray) -> memoryview:
    """The bytes of all rows, one after another, as Arrow has them already."""
    import numpy as np

    _, ends, text = rows.buffers()
    if text is None or not len(rows):
        return memoryview(b"")
    begin, end = np.frombuffer(ends, dtype=np.int32)[[rows.offset, rows.offset + len(rows)]].tolist()
    return memoryview(text)[begin:end]


def _written(column: pd.Series) -> pa.StringArray:
    """The cells of a column as written in CSV, except for rows of a single cell; missing values are empty."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype("str")
    if isinstance(column.dtype, pd.StringDtype):
        coded = pc.cast(pa.chunked_array(pa.array(column)).combine_chunks(), pa.string()).dictionary_encode()
        return _of_words(coded.dictionary).take(coded.indices).fill_null("")  # most words occur in many rows
    if pd.api.types.is_integer_dtype(column):
        return pc.cast(pa.array(column, from_pandas=True), pa.string()).fill_null("")
    missing = column.isna().tolist()
    if not pd.api.types.is_numeric_dtype(column):
        return _quoted(None if is_missing else value for value, is_missing in zip(column, missing, strict=True))
    if (floats := _floats(column)) is not None:
        return floats
    texts = map(str, column.tolist())
    return pa.array(["" if is_missing else text for text, is_missing in zip(texts, missing, strict=True)], pa.string())


def _of_words(words: pa.StringArray) -> pa.StringArray:
    """Words as written in CSV."""
    import pyarrow.compute as pc

    if pc.any(pc.match_substring_regex(words, ODD)).as_py():
        return _quoted(words.to_pylist())
    if not pc.any(pc.match_substring_regex(words, QUOTED)).as_py():
        return words
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(words, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(words, QUOTED), quoted, words)


def _floats(column: pd.Series) -> pa.StringArray | None:
    """Floats as Python writes them; None if the column holds others, or some that Arrow writes in another form."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.dtype != np.float64:
        return None
    size = np.abs(column.to_numpy())
    if not (((size >= ALIKE_FROM) & (size < ALIKE_TO)) | (size == 0) | np.isnan(size)).all():
        return None
    texts = pc.cast(pa.array(column, from_pandas=True), pa.string())
    return pc.if_else(pc.match_substring(texts, "."), texts, pc.binary_join_element_wise(texts, ".0", "")).fill_null("")


class _Cells(list[str]):
    """Collects what a CSV writer writes, one row at a time."""

    def write(self, text: str) -> None:
        """Collect one row."""
        self.append(text)


def _quoted(values: Iterable[object]) -> pa.StringArray:
    """The cells of :func:`plain_cell`, in quotes if CSV needs them."""
    import pyarrow as pa

    rows = _Cells()
    csv.writer(rows, lineterminator="\n").writerows([plain_cell(value), None] for value in values)
    return pa.array([row[: -len(",\n")] for row in rows], pa.string())


def plain_cell(value: object) -> object:
    """A cell as it is written: text that begins like a formula and is not a number gets an apostrophe."""
    if not isinstance(value, str):
        return value
    value = value.replace("\r", "\\r")
    if len(value) < 2 or value[0] not in COMPUTED or NUMBER.fullmatch(value):
        return value
    return f"'{value}"
