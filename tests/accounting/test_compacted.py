"""Compacted segments, and segments parsed by Arrow, read like the original lines, even when either is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_corrupted_ledgers import SAID, clean, put
from test_damaged_ledgers import FILE_DAMAGE, LINE_DAMAGE, segment, write

from accounting.ledger import arrow_lines, compacted, reading, record_columns
from accounting.ledger.chain import Chain
from accounting.ledger.compacted import load_compacted
from accounting.ledger.index import segments_in
from accounting.ledger.packed import PackedSpec
from accounting.ledger.records import Kind
from accounting.ledger.store import Ledger, LedgerError, LedgerWriter, read_lean
from accounting.words.plain_text import plain_values

T = 1_760_000_000.0


def compact(folder: Path, kept: Path, min_bytes: int = compacted.MIN_BYTES) -> None:
    """Compact a small ledger as if it were large: two records of the same shape are enough to become columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_columns, "MIN_ALIKE", 2)
        compacted.compact(folder, kept, min_bytes=min_bytes)


def told(ledger: Ledger) -> tuple[object, ...]:
    """Everything that a reading returns, as values that can be compared."""
    points = ledger.points
    assert points is not None
    rows = [(points.names[code], repr(points.point(row))) for row, code in enumerate(points.attempt)]
    records = [
        {key: value.unpacked() if isinstance(value, PackedSpec) else value for key, value in record.items()}
        for record in ledger.records
    ]
    links = [spec.links for record in ledger.records if isinstance(spec := record.get("spec"), PackedSpec)]
    return records, links, ledger.warnings, ledger.findings, rows, points.beats


def read(folder: Path, kept: Path | None = None, **words: Any) -> object:
    try:
        return told(read_lean(folder, compacted=kept, **words))
    except LedgerError as error:
        return str(error)


def assert_alike(folder: Path, kept: Path) -> None:
    for words in ({"strict": True}, {"strict": False}, {"strict": False, "clean": plain_values}):
        found = read(folder, **words)
        assert read(folder, kept, **words) == found
        with pytest.MonkeyPatch.context() as patch:  # as if it were large: Arrow makes columns, specs stay in the file
            patch.setattr(arrow_lines, "MIN_LINES", 1)
            patch.setattr(arrow_lines, "MIN_NODE_BEATS", 1)
            patch.setattr(reading, "LONG_BYTES", 0)
            assert read(folder, **words) == found


def compacted_of(folder: Path, kept: Path) -> list[Path]:
    """The segments that are read from their Parquet copies."""
    return [path for path in segments_in(folder) if load_compacted(path, kept) is not None]


@pytest.mark.parametrize("case", ["none", *SAID])
def test_whatever_records_say_is_read_alike(tmp_path: Path, case: str) -> None:
    ledger, folder, kept = clean(), tmp_path / "ledger", tmp_path / "kept"
    if case != "none":
        SAID[case][0](ledger)
    put(folder, ledger)
    compact(folder, kept, min_bytes=0)
    if case == "none":
        assert compacted_of(folder, kept) == segments_in(folder)
    assert_alike(folder, kept)


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("case", [*LINE_DAMAGE, *FILE_DAMAGE])
def test_damaged_files_are_read_alike_whether_they_were_compacted_before(
    tmp_path: Path, case: str, is_before: bool
) -> None:
    folder, kept = tmp_path / "ledger", tmp_path / "kept"
    write(folder, "s1", 1000, ("p", "q"), ends=False)
    write(folder, "s2", 2000, ("r", "t"))
    if is_before:
        compact(folder, kept, min_bytes=0)
        assert compacted_of(folder, kept)
    if case in LINE_DAMAGE:
        LINE_DAMAGE[case][0](segment(folder, "worker-0"))
    else:
        FILE_DAMAGE[case][0](folder)
    if not is_before:
        compact(folder, kept, min_bytes=0)
    assert_alike(folder, kept)


NAMES = st.sampled_from(["a#0", "b#0", "ü#0", "back\\slash", 'quo"te', "del\x7f", "bell\x07", "𝛼"])
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["start", "progress", "beat", "node", "work", "end", "lost"]), NAMES,
        st.floats(-400, 4000, allow_nan=False), st.sampled_from([None, 0.0, 0.5, 1, 71.25, 1e-300]), st.booleans(),
    ),
    max_size=25,
)  # fmt: skip
DAMAGE = st.sampled_from(["none", "byte", "cut", "torn", "doubled", "removed", "copied", "parquet"])


def write_events(folder: Path, events: list[tuple[str, str, float, float | None, bool]]) -> None:
    """Write two sessions with realistic timestamps; some records are written later than the events they describe."""
    now = [T]
    with LedgerWriter(folder, "s", "driver", clock=lambda: now[0]) as writer:
        writer.append(Kind.SESSION_OPENED, session="s", study="x", capacity=[], environment={})
        for what, name, passed_s, value, is_late in events:
            now[0] += passed_s
            t = now[0] - 100 if is_late else None
            if what == "start":
                writer.append(
                    Kind.ATTEMPT_STARTED, t=t, session="s", attempt=name, job=name, route="prune", phase="prune",
                    target=None, replicate=0, allocation=None, devices={"core0": 1.0}, meter="wall_clock",
                    network_macs=1, spec={"job": name, "init_from": name, "recipe": {"lr": value}},
                )  # fmt: skip
            elif what == "progress":
                writer.append(
                    Kind.PROGRESS, t=t, attempt=name, epoch=3 if is_late else 2.5 if value == 1 else 2, num_epochs=10,
                    val_top1=value, train_loss=value, checkpointed=is_late,
                )  # fmt: skip
            elif what == "beat":
                writer.append(Kind.HEARTBEAT, t=t, attempt=name)
            elif what == "node":
                told = {"workers_gone": {name: 1}} if value == 0.5 else {}
                writer.append(
                    Kind.NODE_BEAT, t=t, node="n", session="s", attempts=[name, "a#0"][: int(value or 2)],
                    readings={"GPU-1": [value, None, 0.25, 1e-300, passed_s], "n/cpu": [None] * 5}, **told,
                )  # fmt: skip
            elif what == "work":
                writer.append(Kind.WORK_BEGUN, t=t, attempt=name, epoch=0)
            elif what == "end":
                writer.append(
                    Kind.ATTEMPT_ENDED, t=t, attempt=name, status="ok", reason=name, outcome={"val_top1": value},
                    work_end_t=None, measurement={"energy_j": value},
                )  # fmt: skip
            else:
                writer.append(Kind.ATTEMPT_LOST, t=t, session="s", job=name, reason=name)
        writer.append(Kind.SESSION_CLOSED, session="s", reason="done")


def harm(path: Path, damage: str, place: float) -> None:
    content = path.read_bytes()
    lines = content.split(b"\n")
    at, line = int(place * (len(content) - 1)), int(place * (len(lines) - 1))
    if damage == "byte":
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif damage == "cut":
        path.write_bytes(b"\n".join(lines[: line + 1]) + b"\n")
    elif damage == "torn":
        path.write_bytes(content[:at])
    elif damage == "doubled":
        path.write_bytes(b"\n".join([*lines[: line + 1], *lines[line:]]))
    elif damage == "removed":
        path.unlink()
    elif damage == "copied":
        path.with_name(f"x-{path.name}").write_bytes(content)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, damage=DAMAGE, place=st.floats(0, 1), is_before=st.booleans())
def test_any_ledger_is_read_alike(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[str, str, float, float | None, bool]],
    damage: str,
    place: float,
    is_before: bool,
) -> None:
    folder = tmp_path_factory.mktemp("study") / "ledger"
    kept = folder.parent / "kept"
    write_events(folder, events)
    if is_before:
        compact(folder, kept, min_bytes=0)
    if damage == "parquet":
        for path in kept.glob("*"):
            harm(path, "byte", place)
    else:
        harm(segments_in(folder)[0], damage, place)
    if not is_before:
        compact(folder, kept, min_bytes=0)
    assert_alike(folder, kept)


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Path, Path]:
    """A ledger and its compacted copy."""
    folder, kept = tmp_path / "ledger", tmp_path / "kept"
    put(folder, clean())
    compact(folder, kept, min_bytes=0)
    return folder, kept


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_another_byte_in_a_segment_or_in_its_parquet_and_the_lines_are_read(
    whole: tuple[Path, Path], share: float
) -> None:
    folder, kept = whole
    (first, *rest), parquet = segments_in(folder), sorted(kept.glob("*.parquet"))
    harm(first, "byte", share)
    harm(parquet[1], "byte", share)
    assert compacted_of(folder, kept) == rest[1:]
    assert_alike(folder, kept)


def test_a_reader_of_another_version_compacts_anew(whole: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, kept = whole
    before = {path.name for path in kept.iterdir()}
    monkeypatch.setattr(compacted, "_program", lambda: "another")
    assert compacted_of(folder, kept) == []
    compact(folder, kept, min_bytes=0)
    assert compacted_of(folder, kept) == segments_in(folder)
    after = {path.name for path in kept.iterdir()}
    assert len(after) == len(before)
    assert not after & before


def test_a_segment_that_may_still_grow_is_not_compacted(tmp_path: Path) -> None:
    folder, kept = tmp_path / "ledger", tmp_path / "kept"
    with LedgerWriter(folder, "s", "driver") as writer:
        writer.append(Kind.SESSION_OPENED, session="s", study="x", capacity=[], environment={})
        compact(folder, kept, min_bytes=0)
    assert not kept.exists()


def test_what_is_small_is_not_compacted(tmp_path: Path) -> None:
    folder, kept = tmp_path / "ledger", tmp_path / "kept"
    put(folder, clean())
    compact(folder, kept)
    assert not kept.exists()


def test_processes_of_their_own_compact_what_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, kept = tmp_path / "ledger", tmp_path / "kept"
    put(folder, clean())
    monkeypatch.setattr(compacted, "MIN_SHARED_BYTES", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    compact(folder, kept, min_bytes=0)
    assert compacted_of(folder, kept) == segments_in(folder)
    assert_alike(folder, kept)


NEARLY = {
    "whole t": (b'"t":1760000000.0', b'"t":1760000000'),
    "t of text": (b'"t":1760000000.0', b'"t":"1760000000.0"'),
    "t beyond all floats": (b'"t":1760000000.0', b'"t":1e999'),
    "t null": (b'"t":1760000000.0', b'"t":null'),
    "t twice": (b'"t":1760000000.0', b'"t":1.5,"t":1760000000.0'),
    "no name": (b'"attempt":"a#0"', b'"attempt":""'),
    "name of two": (b'"attempt":"a#0"', b'"attempt":["a#0"]'),
    "name escaped": (b'"attempt":"a#0"', b'"attempt":"a\\u00230"'),
    "another field": (b'"attempt":"a#0"', b'"attempt":"a#0","more":{"t":1}'),
    "another kind": (b'{"kind":"progress"', b'{"kind":"progress_"'),
    "epoch with a point": (b'"epoch":1', b'"epoch":1.0'),
    "epoch below 0": (b'"epoch":1', b'"epoch":-1'),
    "epoch of many digits": (b'"epoch":1', b'"epoch":1%b' % (b"0" * 30)),
    "epoch true": (b'"epoch":1', b'"epoch":true'),
    "top1 whole": (b'"val_top1":0.5', b'"val_top1":1'),
    "top1 NaN": (b'"val_top1":0.5', b'"val_top1":NaN'),
    "top1 missing": (b'"val_top1":0.5,', b""),
    "checkpointed 1": (b'"checkpointed":true', b'"checkpointed":1'),
    "nobody named": (b'"attempts":["a#0","b#0"]', b'"attempts":[]'),
    "an empty name among names": (b'"attempts":["a#0","b#0"]', b'"attempts":["a#0",""]'),
    "one name twice": (b'"attempts":["a#0","b#0"]', b'"attempts":["a#0","a#0"]'),
    "a name that is a number": (b'"attempts":["a#0","b#0"]', b'"attempts":["a#0",1]'),
    "names that are one": (b'"attempts":["a#0","b#0"]', b'"attempts":"a#0"'),
    "names with commas": (b'"attempts":["a#0","b#0"]', b'"attempts":["a#0,b],[#0","b#0"]'),
    "no readings": (b'"readings":{"GPU-1":[1.5,null,0.5,900.0,70]}', b'"readings":{}'),
    "readings of two": (b'"readings":{', b'"readings":{"GPU-2":[null,null,null,null,null],'),
    "four values": (b"[1.5,null,0.5,900.0,70]", b"[1.5,null,0.5,900.0]"),
    "a value beyond all floats": (b"[1.5,null,", b"[1e999,null,"),
    "a value in exponents": (b"[1.5,null,", b"[1.5e+16,null,"),
    "a value of many digits": (b"[1.5,null,", b"[%b,null," % (b"9" * 30)),
    "a value true": (b"[1.5,null,", b"[true,null,"),
    "readings that are a list": (b'"readings":{"GPU-1":[1.5,null,0.5,900.0,70]}', b'"readings":[]'),
    "no node": (b'"node":"n",', b""),
}
"""Lines that Arrow might parse differently from JSON: (part of a line of ours, its replacement)."""


@pytest.mark.parametrize("case", NEARLY)
@pytest.mark.parametrize("kind", ["progress", "heartbeat", "node_beat"])
def test_a_line_that_is_nearly_ours_is_read_alike(tmp_path: Path, case: str, kind: str) -> None:
    folder, (before, after) = tmp_path / "ledger", NEARLY[case]
    with LedgerWriter(folder, "s", "driver", clock=lambda: T) as writer:
        for name in ("a#0", "b#0", "a#0"):
            writer.append(
                Kind.PROGRESS, attempt=name, epoch=1, num_epochs=10, train_loss=None, val_top1=0.5, checkpointed=True
            )
            writer.append(Kind.HEARTBEAT, attempt=name)
            writer.append(
                Kind.NODE_BEAT, node="n", session="s", attempts=["a#0", "b#0"],
                readings={"GPU-1": [1.5, None, 0.5, 900.0, 70]},
            )  # fmt: skip
    (path,) = segments_in(folder)
    chain, lines = Chain(), []
    for line in path.read_bytes().splitlines():
        body = line[: line.rindex(b',"seq":')] + b"}"
        if body.startswith(b'{"kind":"%b"' % kind.encode()):
            body = body.replace(before, after)
        whole, digest = chain.link(body)
        chain.move_on(digest)
        lines.append(whole)
    path.write_bytes(b"".join(lines))
    assert_alike(folder, tmp_path / "kept")


def test_a_damaged_copy_is_named_and_not_used(tmp_path: Path) -> None:
    folder, kept = tmp_path / "ledger", tmp_path / "kept"
    put(folder, clean())
    compact(folder, kept, min_bytes=0)
    assert not list(compacted.damaged_in(kept))
    cut, *_ = sorted(kept.glob("*.parquet"))
    cut.write_bytes(cut.read_bytes()[:-20])
    (found,) = compacted.damaged_in(kept)
    assert (found.severity, found.code) == ("warning", "compacted_damaged")
    assert cut.name in found.message
    assert len(compacted_of(folder, kept)) == len(segments_in(folder)) - 1
