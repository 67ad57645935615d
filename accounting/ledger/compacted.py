"""Sealed segments in Parquet, so that a large ledger is read in a fraction of the time; the JSON lines stay the truth.

A sealed segment never changes. The result of reading it lean is kept in a file of its own: epoch ends as columns; for
each attempt, the number of its heartbeats and the times of the first and last; all other records as
:mod:`accounting.ledger.record_columns` stores them (of a spec, its small parts and the place of the whole in the
segment). The file's name contains a hash over the segment and this program's reader, and a hash over the file itself.
Both are recomputed at every reading; if in doubt, the JSON lines are read. Only intact segments are compacted, so a
damaged one is read line by line each time and its damage is reported.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING

from accounting.ledger.arrow_arrays import array_of
from accounting.ledger.findings import Finding
from accounting.ledger.index import read_index, segments_in
from accounting.ledger.integrity import Segment
from accounting.ledger.packed import Lines
from accounting.ledger.points import Points
from accounting.ledger.reading import Reading
from accounting.ledger.record_columns import Alike, coded, columns_of, records_of
from accounting.study.own_python import own_python

if TYPE_CHECKING:
    import pyarrow as pa

MIN_BYTES = 4_000_000
"""Smaller segments are not compacted; reading them takes almost no time."""
MIN_SHARED_BYTES = 40_000_000
"""Below this total, compaction starts no processes of its own."""
FACTS = b"prune_or_search"
PROGRESS = {"t": "d", "val_top1": "d", "train_loss": "d", "checkpointed": "b"}
"""The columns of :class:`Points` that are arrays, with their type codes."""
MARKS = ("progress", "beats", "records")
"""The three parts of a file, one below the other; each has its own columns, empty in the rows of the others."""


class _Odd(dict[str, object]):
    """A record with text that may not be safe to show."""


def compact(folder: Path, kept: Path, min_bytes: int = MIN_BYTES) -> None:
    """Compact what is sealed and not compacted yet; if there is much, with one process per processor."""
    found = [path for path in _sealed(folder) if path.stat().st_size >= min_bytes]
    with ThreadPoolExecutor(2) as pool:
        digests = list(pool.map(_digest_of, found))
    todo = [path for path, sha256 in zip(found, digests, strict=True) if _place(path.name, sha256, kept) is None]
    if not todo:
        return
    kept.mkdir(parents=True, exist_ok=True)
    num = min(len(todo), os.cpu_count() or 1)
    if num == 1 or sum(path.stat().st_size for path in todo) < MIN_SHARED_BYTES:
        for path in todo:
            compact_one(path, kept)
        return
    words, env = own_python("-m", "accounting.ledger.compacted", str(kept))
    workers = [
        subprocess.Popen(
            [*words, *map(str, todo[n::num])], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for n in range(num)
    ]  # fmt: skip
    for worker in workers:
        worker.wait()  # what it did not finish is read line by line


def compact_one(path: Path, kept: Path) -> None:
    """Write the result of reading a segment, if the segment is intact."""
    reading = Reading(strict=False, points=Points(), clean=_Odd)  # type: ignore[arg-type]
    segment = reading.segment(path)
    reading.check_clock(path.name)
    points = reading.points
    if points is None or segment.problems or segment.warning or not segment.is_chained:
        return
    num_odd = sum(isinstance(record, _Odd) for record in segment.records)
    if reading.num_cleaned != num_odd or not all(type(n) is int for n in [*points.epoch, *points.num_epochs]):
        return  # unsafe text among epoch ends could not be identified later
    import pyarrow.parquet as pq

    handle, name = tempfile.mkstemp(dir=kept)
    os.close(handle)
    new = Path(name)
    try:
        pq.write_table(_table(path, segment, points, reading.clock), new, compression="zstd")
        final = f"{_stem(path.name, segment.sha256)}.{_digest_of(new)[:32]}.parquet"
        for old in kept.glob(f"{path.stem}.*.parquet"):
            old.unlink(missing_ok=True)
        new.replace(kept / final)
    finally:
        new.unlink(missing_ok=True)


def load_compacted(path: Path, kept: Path) -> tuple[Segment, Points, list[Finding], list[int]] | None:
    """A compacted segment, with the indices of its records that still need cleaning; None if there is any doubt."""
    if not kept.is_dir() or not any(kept.glob(f"{path.stem}.*.parquet")):
        return None
    sha256 = _digest_of(path)
    place = _place(path.name, sha256, kept)
    if place is None:
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(place, use_threads=False)
        return _read_back(path, sha256, table)
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None


def damaged_in(kept: Path) -> Iterator[Finding]:
    """A warning for each compacted file that is not as it was written; such a file is not used."""
    for path in sorted(kept.glob("*.parquet")):
        with suppress(OSError):
            if path.name.split(".")[-2] != _digest_of(path)[:32]:
                message = f"{path.name} was changed after it was written: it is not used; delete it"
                yield Finding("warning", "compacted_damaged", message)


def _sealed(folder: Path) -> list[Path]:
    index = read_index(folder)
    if index is None:
        return []
    return [p for p in segments_in(folder) if index.seals.get(p.name, {"bytes": -1})["bytes"] == p.stat().st_size]


def _place(name: str, sha256: str, kept: Path) -> Path | None:
    """The compacted file of a segment with this content, if that file is intact."""
    for path in kept.glob(f"{_stem(name, sha256)}.*.parquet"):
        with suppress(OSError):
            if path.name.split(".")[-2] == _digest_of(path)[:32]:
                return path
    return None


def _stem(name: str, sha256: str) -> str:
    key = hashlib.sha256(f"{name}\0{sha256}\0{_program()}".encode()).hexdigest()
    return f"{Path(name).stem}.{key[:32]}"


@cache
def _program() -> str:
    """A hash over the source files that decide how a segment is read; as of the first call, as they are loaded once."""
    whole = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        whole.update(path.read_bytes())
    return whole.hexdigest()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _table(path: Path, segment: Segment, points: Points, clock: Sequence[Finding]) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    begins = [0, *(np.flatnonzero(content == ord("\n")) + 1).tolist()]
    odd = [place for place, record in enumerate(segment.records) if isinstance(record, _Odd)]
    others, alike = columns_of(segment.records, begins, set(odd))
    names, beats = points.names, points.beats
    progress = {
        "attempt": _words(list(map(names.__getitem__, points.attempt))),
        "epoch": pa.array(points.epoch, pa.int64()),
        "num_epochs": pa.array(points.num_epochs, pa.int64()),
        **{name: pa.array(getattr(points, name), pa.int8() if code == "b" else pa.float64())
           for name, code in PROGRESS.items()},
    }  # fmt: skip
    beaten = {
        "attempt": _words(list(beats)),
        "num_beats": pa.array([int(beat[0]) for beat in beats.values()], pa.int64()),
        "first_beat_t": pa.array([beat[1] for beat in beats.values()], pa.float64()),
        "last_beat_t": pa.array([beat[2] for beat in beats.values()], pa.float64()),
    }
    facts = {
        "num": (len(points), len(beats)), "names": names, "opening": segment.opening, "alike": alike,
        "clock": [asdict(finding) for finding in clock], "odd": odd,
    }  # fmt: skip
    parts = [pa.table(progress), pa.table(beaten), others]
    whole = pa.concat_tables(
        [_prefixed(part, mark) for part, mark in zip(parts, MARKS, strict=True)], promote_options="default"
    )
    return whole.replace_schema_metadata({FACTS: json.dumps(facts).encode()})


def _words(words: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    return pa.array(words, pa.string()).dictionary_encode()


def _prefixed(table: pa.Table, mark: str) -> pa.Table:
    return table.rename_columns([f"{mark}.{name}" for name in table.column_names])


def _part(table: pa.Table, mark: str, begin: int, num: int | None = None) -> pa.Table:
    """The rows and columns of one of the three parts, under their original names."""
    own = [name for name in table.column_names if name.startswith(f"{mark}.")]
    return table.select(own).rename_columns([name.partition(".")[2] for name in own]).slice(begin, num)


def _read_back(path: Path, sha256: str, table: pa.Table) -> tuple[Segment, Points, list[Finding], list[int]]:
    import numpy as np

    facts = json.loads(table.schema.metadata[FACTS])
    num_points, num_beats = facts["num"]
    progress, beats = _part(table, MARKS[0], 0, num_points), _part(table, MARKS[1], num_points, num_beats)
    points = Points(codes={name: code for code, name in enumerate(map(intern, facts["names"]))})
    if num_points:
        names, places = coded(progress["attempt"])
        codes = np.array(list(map(points.codes.__getitem__, names)), dtype=np.dtype(points.attempt.typecode))
        points.attempt.frombytes(codes[places].tobytes())
    points.epoch, points.num_epochs = array_of(progress["epoch"]).tolist(), array_of(progress["num_epochs"]).tolist()
    for name, code in PROGRESS.items():
        setattr(points, name, array(code, array_of(progress[name]).tobytes()))
    told = [beats[name].to_pylist() for name in ("attempt", "num_beats", "first_beat_t", "last_beat_t")]
    points.beats = {intern(name): [count, first_t, last_t] for name, count, first_t, last_t in zip(*told, strict=True)}
    segment = Segment(path, path.stat().st_size, sha256, opening=facts["opening"])
    alike = [Alike(*each) for each in facts["alike"]]
    segment.records = records_of(_part(table, MARKS[2], num_points + num_beats), alike, Lines(path))
    for record in segment.records:
        record["segment"] = segment.name
    return segment, points, [Finding(**found) for found in facts["clock"]], facts["odd"]


if __name__ == "__main__":
    for _name in sys.argv[2:]:
        compact_one(Path(_name), Path(sys.argv[1]))
