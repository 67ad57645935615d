"""Records as columns: many are alike, and as columns they take a third of the time to read.

Records of one kind with the same fields form a table, with a column per field whose type depends on the values. Where
there are too few for a table, they stay as JSON. :func:`records_of` restores what :func:`columns_of` was given, in the
order of the lines.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import repeat
from operator import itemgetter
from sys import intern
from typing import TYPE_CHECKING, NamedTuple, cast

from accounting.ledger.arrow_arrays import array_of
from accounting.ledger.packed import Lines, PackedSpec, Place
from accounting.ledger.records import Record

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

MIN_ALIKE = 64
"""Fewer records with the same fields are not made a table."""
JSON = "record"
"""The column of records that belong to no table."""
SPEC, SPEC_BEGIN, SPEC_LENGTH = "spec", "spec_begin", "spec_length"
TEXT, WORDS, NUMBERS, WHOLE = "json", "words", "numbers", "whole"
"""What a column holds: values as JSON, words, floats, or whole numbers."""
LARGEST = 2**63
Values = Sequence[object]


class Alike(NamedTuple):
    """A table within the columns: its number of rows, its kind of record, and the content type of each other field."""

    num: int
    kind: str
    fields: dict[str, str]


def columns_of(records: Sequence[Record], begins: Sequence[int], odd: set[int]) -> tuple[pa.Table, list[Alike]]:
    """All records as one table: those of each sort one below the other, then those that stay as JSON.

    ``begins[n]`` is the offset in the file of line ``n + 1``. ``odd`` are indices of records to keep as JSON.
    """
    import pyarrow as pa

    groups: dict[tuple[str, ...], list[dict[str, object]]] = {}
    alone: list[dict[str, object]] = []
    for place, record in enumerate(records):
        kept = _flat(record, begins)
        (alone if place in odd else groups.setdefault((record["kind"], *kept), [])).append(kept)
    alone += [kept for group in groups.values() if len(group) < MIN_ALIKE for kept in group]
    tables, alike = [], []
    for (kind, *names), group in groups.items():
        if len(group) >= MIN_ALIKE:
            columns = {name: _column([kept[name] for kept in group]) for name in names if name != "kind"}
            tables.append(pa.table({f"{name}:{what}": values for name, (what, values) in columns.items()}))
            alike.append(Alike(len(group), kind, {name: what for name, (what, _) in columns.items()}))
    texts = [json.dumps(kept, separators=(",", ":")) for kept in alone]
    tables.append(pa.table({JSON: pa.array(texts, pa.string())}))
    return pa.concat_tables(tables, promote_options="default"), alike


def records_of(table: pa.Table, alike: Sequence[Alike], lines: Lines) -> list[Record]:
    """The records in the order of their lines; specs are read from ``lines`` when needed."""
    found: list[Record] = []
    begin = 0
    for num, kind, fields in alike:
        rows = table.slice(begin, num)
        columns = {name: _values(rows[f"{name}:{what}"], name, what) for name, what in fields.items()}
        if SPEC_BEGIN in columns:
            places = zip(repeat(lines), columns.pop(SPEC_BEGIN), columns.pop(SPEC_LENGTH))
            specs = zip(columns[SPEC], map(Place._make, places), strict=False)
            columns[SPEC] = [PackedSpec(links, place) for links, place in specs]  # type: ignore[arg-type]
        names = ("kind", *columns)
        rows_of = zip(repeat(intern(kind)), *columns.values())
        found += cast("list[Record]", [dict(zip(names, row, strict=True)) for row in rows_of])
        begin += num
    texts = table[JSON].slice(begin).to_pylist()
    alone: list[Record] = json.loads(f"[{','.join(texts)}]")
    for record in alone:
        _unflatten(record, lines)
    return sorted([*found, *alone], key=itemgetter("line"))


def _flat(record: Record, begins: Sequence[int]) -> dict[str, object]:
    """A record without its segment; a packed spec becomes its small parts and the place of its line."""
    kept: dict[str, object] = {key: value for key, value in record.items() if key != "segment"}
    if isinstance(spec := kept.get(SPEC), PackedSpec):
        begin, end = begins[record["line"] - 1], begins[record["line"]] - 1
        kept |= {SPEC: spec.links, SPEC_BEGIN: begin, SPEC_LENGTH: end - begin}
    return kept


def _unflatten(record: Record, lines: Lines) -> None:
    kept = cast("dict[str, object]", record)
    if SPEC_BEGIN in kept:
        place = Place(lines, cast("int", kept.pop(SPEC_BEGIN)), cast("int", kept.pop(SPEC_LENGTH)))
        record["spec"] = PackedSpec(record["spec"], place)  # type: ignore[typeddict-item]


def _column(values: Values) -> tuple[str, pa.Array]:
    """The content type of a column, and the column; reading it restores the values with their types."""
    import pyarrow as pa

    types = set(map(type, values))
    if types == {str}:
        return WORDS, pa.array(values, pa.string()).dictionary_encode()
    if types == {float}:
        return NUMBERS, pa.array(values, pa.float64())
    if types == {int} and all(-LARGEST <= cast("int", value) < LARGEST for value in values):
        return WHOLE, pa.array(values, pa.int64())
    texts = [json.dumps(value, separators=(",", ":")) for value in values]
    return TEXT, pa.array(texts, pa.string()).dictionary_encode()


def _values(column: pa.ChunkedArray, name: str, what: str) -> Values:
    """The values of a column; equal words, and equal values stored as JSON, are one object."""
    if what in (NUMBERS, WHOLE):
        found: list[object] = array_of(column).tolist()
        return found
    texts, places = coded(column)
    known: list[object] = list(map(intern, texts)) if what == WORDS else json.loads(f"[{','.join(texts)}]")
    return list(map(known.__getitem__, places.tolist()))


def coded(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct words of a column without nulls, and the index of each row's word."""
    import numpy as np

    merged = column.unify_dictionaries()
    words: list[str] = merged.chunk(0).dictionary.to_pylist()
    return words, np.concatenate([array_of(chunk.indices) for chunk in merged.chunks])
