"""Two processes that share the reading of a ledger return what one process reads, even if the second one fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_compacted import told
from test_damaged_ledgers import segment, write

from accounting.ledger import index, reader, reading, shared_reading
from accounting.ledger.shared_reading import read_beside, share_of_second
from accounting.ledger.store import LedgerError, read_lean
from accounting.words.plain_text import plain_values


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger of two sessions, small but read as if it were large enough to share."""
    write(tmp_path / "ledger", "s1", 1000, ("p", "q"), ends=False)
    write(tmp_path / "ledger", "s2", 2000, ("r", "t"))
    monkeypatch.setattr(shared_reading, "MIN_BYTES", 0)
    monkeypatch.setattr(shared_reading.os, "sched_getaffinity", lambda _: {0, 1})
    for module in (reader, index):
        monkeypatch.setattr(module, "begins_attempts", lambda name: "-worker" in name)  # `write` numbers its workers
    return tmp_path / "ledger"


def given_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A list that is filled with the segments given to the second process."""
    found: list[Path] = []
    plain = share_of_second

    def share(paths: list[Path], held_bytes: int) -> list[Path]:
        found.extend(plain(paths, held_bytes))
        return found

    monkeypatch.setattr("accounting.ledger.reader.share_of_second", share)
    return found


@pytest.mark.parametrize("harm", ["none", "odd name", "changed", "torn"])
def test_two_processes_read_what_one_does(folder: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    path = segment(folder, "worker-0")
    content = path.read_bytes()
    if harm == "odd name":
        write(folder, "s3", 3000, ("ü", "bell\x07"))
    elif harm == "changed":
        path.write_bytes(content.replace(b'"epoch":', b'"epoch": ', 1))
    elif harm == "torn":
        path.write_bytes(content[:-9])
    monkeypatch.setattr(reading, "LONG_BYTES", 0)  # specs stay in their file
    theirs = given_away(folder, monkeypatch)
    alone = read_lean(folder, strict=False, clean=plain_values)
    assert theirs == []
    shared = read_lean(folder, strict=False, clean=plain_values, compacted=folder.parent / "kept")
    assert theirs
    assert told(shared) == told(alone)


def test_what_the_second_process_cannot_read_is_said_by_the_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = given_away(folder, monkeypatch)
    read_lean(folder, compacted=folder.parent / "kept")
    path = theirs[0]
    path.write_bytes(path.read_bytes().replace(b"{", b"%", 1))
    theirs.clear()
    with pytest.raises(LedgerError, match=path.name):
        read_lean(folder, compacted=folder.parent / "kept")


def test_a_second_process_that_does_not_start_has_read_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_reading.sys, "executable", "/bin/false")
    with read_beside([segment(folder, "worker-0")], strict=True, clean=None) as told_by:
        assert told_by() == {}


def test_half_of_what_is_large_is_given_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted(folder.glob("*worker*"))
    sizes = [path.stat().st_size for path in paths]
    given = share_of_second(paths, 0)
    assert 0 < len(given) < len(paths)
    assert abs(2 * sum(path.stat().st_size for path in given) - sum(sizes)) <= max(sizes)
    assert set(share_of_second(paths, 2 * sum(sizes))) == set(paths)
    monkeypatch.setattr(shared_reading, "MIN_BYTES", sum(sizes) + 1)
    assert share_of_second(paths, 0) == []
    monkeypatch.setattr(shared_reading, "MIN_BYTES", 0)
    monkeypatch.setattr(shared_reading.os, "sched_getaffinity", lambda _: {0})
    assert share_of_second(paths, 0) == []
