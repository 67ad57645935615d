"""Parse epoch ends and heartbeats with Arrow, in a third of the time, if there are enough lines to be worth the import.

It reads only lines that match the patterns of :mod:`accounting.ledger.lines`. Lines that Arrow refuses, or reads
differently from JSON, are left to those patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accounting.ledger import node_beats
from accounting.ledger.arrow_arrays import array_of
from accounting.ledger.points import Points
from accounting.ledger.records import LATEST_T

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

MIN_LINES = 1000
"""Lines of one kind in a block; for fewer, the patterns are as fast, Arrow's import aside."""
MIN_NODE_BEATS = 300
"""The same for samplers' records, which are longer."""
BEATS = b'{"kind":"heartbeat",'
PROGRESS = b'{"kind":"progress",'
NULLABLE = {"val_top1": b',"val_top1":', "train_loss": b',"train_loss":'}


def take_beats(lines: Sequence[bytes], points: Points) -> list[float] | None:
    """Take heartbeats; returns when each was written, or None without taking any if a line has an unexpected form."""
    import numpy as np

    table = _table(lines, BEATS, ())
    if table is None:
        return None
    names, places = _names(table)
    times = _column(table, "t")
    if names is None or not _are_times(table):
        return None
    order = np.argsort(places, kind="stable")
    begins = np.flatnonzero(np.diff(places[order], prepend=-1))
    counts = np.diff([*begins.tolist(), len(order)])
    first, last = (found.reduceat(times[order], begins) for found in (np.minimum, np.maximum))
    for name, first_t, last_t, count in zip(names, first.tolist(), last.tolist(), counts.tolist(), strict=True):
        points.beat(name, last_t, first_t, count)
    return _written(table, times)


def take_node_beats(lines: Sequence[bytes], points: Points) -> list[float] | None:
    """Take samplers' records; returns when each was written, or None without taking any if one has an unexpected form.

    Arrow only checks that they match; the parts are then at known places.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.all(pc.match_substring_regex(pa.array(lines, pa.binary()), node_beats.MATCHES)).as_py():
        return None
    parts = [node_beats.parts_of(line) for line in lines]
    times = [float(text) for t, _, told in parts for text in (t, told or t)]
    if not -LATEST_T < min(times) <= max(times) < LATEST_T:
        return None
    return node_beats.take(parts, points)


def take_progress(lines: Sequence[bytes], points: Points) -> list[float] | None:
    """Take epoch ends; returns when each was written, or None without taking any if a line has an unexpected form."""
    table = _table(lines, PROGRESS, ("epoch", "num_epochs", "checkpointed"))
    if table is None:
        return None
    names, places = _names(table)
    times, top1, loss = (_column(table, name) for name in ("t", "val_top1", "train_loss"))
    epoch, of = _column(table, "epoch"), _column(table, "num_epochs")
    if names is None or epoch.min() < 0 or of.min() < 0 or not _are_times(table):
        return None
    points.add_arrays(names, places, times, epoch, of, top1, loss, _column(table, "checkpointed"))
    return _written(table, times)


def _table(lines: Sequence[bytes], head: bytes, needed: Sequence[str]) -> pa.Table | None:
    """The lines as columns, if all start with ``head``, have the ``needed`` fields and are ASCII without escapes."""
    import pyarrow as pa
    import pyarrow.json

    text = b"\n".join(lines)
    if b"\\" in text or b"\x7f" in text or not text.isascii() or not all(line.startswith(head) for line in lines):
        return None
    columns = {"t": pa.float64(), "attempt": pa.string(), "written_t": pa.float64()}
    if needed:
        whole = {"epoch": pa.int64(), "num_epochs": pa.int64()}
        columns |= {**whole, "train_loss": pa.float64(), "val_top1": pa.float64(), "checkpointed": pa.bool_()}
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(text),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=max(len(text) + 1, 1 << 16)),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema(list(columns.items())), unexpected_field_behavior="ignore"
            ),
        )
    except (pa.ArrowException, OSError):
        return None
    is_whole = len(table) == len(lines) and not any(table[name].null_count for name in ("t", "attempt", *needed))
    for name, key in NULLABLE.items() if needed else ():  # Arrow reads an absent field as null
        is_whole = is_whole and (table[name].null_count == 0 or text.count(key) == len(lines))
    return table.combine_chunks() if is_whole and _is_finite(table) else None


def _is_finite(table: pa.Table) -> bool:
    """Whether all numbers are finite: JSON has no NaN or Infinity, but Arrow accepts them."""
    import numpy as np

    columns = [table[name] for name in ("t", "written_t", "val_top1", "train_loss") if name in table.column_names]
    return all(int(np.isfinite(array_of(column)).sum()) == len(column) - column.null_count for column in columns)


def _are_times(table: pa.Table) -> bool:
    """Whether all times can be in seconds, as :mod:`accounting.ledger.validation` has it."""
    import numpy as np

    return all(
        bool((np.abs(times[~np.isnan(times)]) < LATEST_T).all())
        for times in (_column(table, "t"), _column(table, "written_t"))
    )


def _names(table: pa.Table) -> tuple[list[str] | None, NDArray[np.int64]]:
    """The attempts in order of first appearance, and which one each row belongs to; no names if one is empty."""
    import numpy as np

    column = table["attempt"].combine_chunks()
    words = (column.chunk(0) if hasattr(column, "num_chunks") else column).dictionary_encode()
    names: list[str] = words.dictionary.to_pylist()
    return None if "" in names else names, array_of(words.indices).astype(np.int64)


def _column(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A column as an array; null becomes NaN."""
    found: NDArray[np.float64] = array_of(table[name])
    return found


def _written(table: pa.Table, times: NDArray[np.float64]) -> list[float]:
    import numpy as np

    written = _column(table, "written_t")
    found: list[float] = np.where(np.isnan(written), times, written).tolist()
    return found
