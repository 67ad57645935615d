"""Records are checked, and numbers taken from Arrow, by columns; the results are those of one at a time."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_records import beat, golden, node_beat, progress

from accounting.ledger import arrow_lines, reading
from accounting.ledger import points as points_module
from accounting.ledger.arrow_arrays import array_of
from accounting.ledger.chain import Chain
from accounting.ledger.index import segments_in
from accounting.ledger.points import Points, split_off
from accounting.ledger.records import FIELDS, Kind, Record
from accounting.ledger.store import LedgerError, LedgerWriter, read_lean, read_ledger
from accounting.ledger.validation import are_well_formed, problem_of

ODD: list[Any] = [
    None, True, 0, -1, 1.5, -0.5, 2**63, 2**70, math.nan, math.inf, "", "x", "ok", "search", [], [""], ["a"], {},
    {"core0": 1.0}, {"core0": -1}, {"": 1}, {"core0": [None] * 5}, [{"device": "a", "device_kind": "cuda", "amount": 1}],
    [{"key": "k", "old": 1, "new": 2}],
]  # fmt: skip
SAMPLES: dict[str, Record] = {
    record["kind"]: record for record in [*golden(), beat("a", 1.0), node_beat(2.0, "a"), progress("a", 3.0, 1)]
}


@given(st.sampled_from(sorted(SAMPLES)), st.data())
@settings(max_examples=400)
def test_records_are_well_formed_if_nothing_is_wrong_with_any(kind: str, data: st.DataObject) -> None:
    record: dict[str, Any] = {**SAMPLES[kind], "t": float(SAMPLES[kind]["t"])}
    name = data.draw(st.sampled_from(["kind", "t", *FIELDS[Kind(kind)]]))
    if data.draw(st.booleans()):
        record[name] = data.draw(st.sampled_from(ODD))
    elif name != "kind":
        del record[name]
    fine = problem_of(record) is None and type(record["t"]) is float
    assert are_well_formed([record]) == fine
    others: list[dict[str, Any]] = [{**each, "t": float(each["t"])} for each in SAMPLES.values()]
    together: list[dict[str, Any]] = [*others, record, *others]
    assert are_well_formed(others)
    assert are_well_formed(together) == fine


def test_no_record_is_well_formed_without_a_kind() -> None:
    assert are_well_formed([])
    assert not are_well_formed([{"t": 1.0}])
    assert not are_well_formed([{"kind": [], "t": 1.0}])


@pytest.mark.parametrize(
    "odd",
    [
        {"kind": "work_begun", "t": 5.0, "attempt": "", "epoch": 0},
        {"kind": "work_begun", "t": 5.0, "attempt": "a"},
        {"kind": "work_begun", "t": 5, "attempt": "a", "epoch": 0},
        {"kind": "work_begun", "t": math.nan, "attempt": "a", "epoch": 0},
        {"kind": "no_such_kind", "t": 5.0},
        {"kind": "heartbeat", "t": 5.0, "attempt": "ä"},
        {"kind": "heartbeat", "t": 5.0, "attempt": "a", "more": True},
        {"kind": "progress", "t": 5.0, "attempt": "a", "epoch": 1},
        {"kind": "segment_opened", "t": 5.0, "rules": 2, "session": "s", "writer": "w", "host": "h", "pid": 1},
    ],
)
def test_a_line_that_is_odd_but_chained_is_read_as_if_alone(tmp_path: Path, odd: dict[str, Any]) -> None:
    with LedgerWriter(tmp_path, "s", "worker", clock=lambda: 1.0) as writer:
        for record in golden():
            if record["kind"] not in ("session_opened", "session_closed"):
                writer.append(
                    record["kind"], t=record["t"], **{k: v for k, v in record.items() if k not in ("kind", "t")}
                )
    content = writer.path.read_bytes().splitlines()
    chain, written = Chain(), []
    for number, line in enumerate(content):
        bodies = [{key: value for key, value in json.loads(line).items() if key not in ("seq", "chain")}]
        for body in [*bodies, *([odd] if number == len(content) // 2 else [])]:
            linked, digest = chain.link(json.dumps(body, separators=(",", ":")).encode())
            chain.move_on(digest)
            written.append(linked)
    writer.path.write_bytes(b"".join(written))
    full, lean = read_ledger(tmp_path, strict=False), read_lean(tmp_path, strict=False)
    clocks = [found for found in lean.findings if found.code == "clock_backwards"]
    assert [found for found in lean.findings if found not in clocks] == list(full.findings)
    rest, points = split_off(full.records)
    assert [(r["kind"], r["t"], r["line"]) for r in lean.records] == [(r["kind"], r["t"], r["line"]) for r in rest]
    assert lean.points is not None
    assert (lean.points.beats, sorted(lean.points.spans())) == (points.beats, sorted(points.spans()))
    if odd["kind"] != "segment_opened" and problem_of(odd) is not None:
        assert any(found.code == "garbled" for found in full.findings)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0, -2.5, 1e300, 0.0, 5.0], pa.float64()),
        ([1, -2, 2**62, 0, 7], pa.int64()),
        ([1, -2, 3, 0, 7], pa.int32()),
        ([1, -2, 3, 0, 7], pa.int8()),
        ([True, False, False, True, True], pa.bool_()),
    ],
)
def test_arrays_are_those_of_arrow(values: list[Any], kind: pa.DataType) -> None:
    whole = pa.array(values * 7, kind)
    for column in (
        whole,
        whole[3:20],
        whole[9:9],
        pa.chunked_array([whole[1:4], whole[11:]]),
        pa.chunked_array([], kind),
    ):
        found = array_of(column)
        assert found.tolist() == column.to_pylist()
        assert len(column) == 0 or found.dtype == np.dtype(kind.to_pandas_dtype())


def test_null_is_not_a_number() -> None:
    column = pa.chunked_array([pa.array([1.0, None, 3.0, None, *[4.0] * 9])[1:], pa.array([None], pa.float64())])
    assert np.array_equal(array_of(column), [np.nan, 3, np.nan, *[4] * 9, np.nan], equal_nan=True)
    with pytest.raises(ValueError, match="nulls"):
        array_of(pa.array([1, None]))


def test_arrow_is_read_without_pandas() -> None:
    program = "import pyarrow as pa, sys; from accounting.ledger.arrow_arrays import array_of; "
    program += "array_of(pa.json.read_json(pa.BufferReader(b'{\"a\":1.5}'))['a']); assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", f"import pyarrow.json; {program}"], check=True)


def test_many_epoch_ends_have_the_spans_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    points, draw = Points(), random.Random(0)
    for _ in range(500):
        points.add(f"a{draw.randrange(40)}", draw.uniform(0, 100), 1, 3, 0.5, None, checkpointed=False)
    points.codes["none"] = len(points.codes)  # without an epoch end
    few = list(points.spans())
    monkeypatch.setattr(points_module, "MANY", 0)
    assert list(points.spans()) == few
    assert few[-1] == ("none", 0, math.inf, -math.inf)


@pytest.mark.parametrize("kind", ["heartbeat", "node_beat", "progress"])
def test_a_time_in_milliseconds_is_refused_however_it_is_read(tmp_path: Path, kind: str) -> None:
    """Lines of a kind that are read many at a time are checked as others are."""
    t = 1_760_000_000.0
    made = {"heartbeat": beat("a", t), "node_beat": node_beat(t, "a"), "progress": progress("a", t, 1)}[kind]
    with LedgerWriter(tmp_path, "s", "driver", clock=lambda: t) as writer:
        writer.append(made["kind"], **{key: value for key, value in made.items() if key not in ("kind", "t")})
    (path,) = segments_in(tmp_path)
    chain, lines = Chain(), []
    for line in path.read_bytes().splitlines():
        record = {key: value for key, value in json.loads(line).items() if key not in ("seq", "chain")}
        if record["kind"] == kind:
            record["t"] *= 1000
        linked, digest = chain.link(json.dumps(record, separators=(",", ":")).encode())
        chain.move_on(digest)
        lines.append(linked)
    path.write_bytes(b"".join(lines))
    said = f"{kind}: t must be Unix seconds, a finite number, got 1760000000000"
    with pytest.raises(LedgerError, match=said):
        read_lean(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow_lines, "MIN_LINES", 1)
        patch.setattr(arrow_lines, "MIN_NODE_BEATS", 1)
        patch.setattr(reading, "LONG_BYTES", 0)
        with pytest.raises(LedgerError, match=said):
            read_lean(tmp_path)
