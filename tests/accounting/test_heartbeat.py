from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest

from accounting.ledger.heartbeat import heartbeat
from accounting.ledger.store import LedgerWriter, read_ledger


def test_beats_until_the_block_is_left(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, "s", "w") as writer:
        with heartbeat(writer, "a", 0.02):
            time.sleep(0.3)
        beats = read_ledger(tmp_path).records[1:]
        time.sleep(0.1)
    assert 3 <= len(beats) <= 16
    assert {(beat["kind"], beat["attempt"]) for beat in beats} == {("heartbeat", "a")}
    assert len(read_ledger(tmp_path).records) == len(beats) + 1, "a beat after the block was left"
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat-a"]


def test_no_beat_before_the_first_interval(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, "s", "w") as writer, heartbeat(writer, "a", 60):
        pass
    assert len(read_ledger(tmp_path).records) == 1


def test_stops_when_the_block_fails(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, "s", "w") as writer, pytest.raises(RuntimeError), heartbeat(writer, "b", 60):
        raise RuntimeError("training went wrong")
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat-b"]


def test_a_ledger_that_cannot_be_written_does_not_stop_the_attempt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = LedgerWriter(tmp_path, "s", "w")
    writer.close()
    with caplog.at_level(logging.WARNING), heartbeat(writer, "a", 0.01):
        time.sleep(0.1)
    assert len(caplog.records) == 1
    assert "heartbeat of attempt a stopped" in caplog.text


def test_interval_must_be_positive(tmp_path: Path) -> None:
    with (
        LedgerWriter(tmp_path, "s", "w") as writer,
        pytest.raises(ValueError, match="interval_s must be positive, got 0"),
        heartbeat(writer, "a", 0),
    ):
        pass


def test_who_is_named_does_not_beat_and_beats_when_that_ends(tmp_path: Path) -> None:
    named = [True]

    def named_s() -> float | None:
        return time.monotonic() if named[0] else None

    with LedgerWriter(tmp_path, "s", "w") as writer, heartbeat(writer, "a", 0.5, named_s, 0.01):
        time.sleep(1.5)
        named[0] = False
        assert len(read_ledger(tmp_path).records) == 1, "it was named all the time"
        end_s = time.monotonic() + 60
        while len(read_ledger(tmp_path).records) == 1 and time.monotonic() < end_s:
            time.sleep(0.02)
    assert read_ledger(tmp_path).records[1]["kind"] == "heartbeat"


def test_a_clock_that_is_ahead_does_not_silence_an_attempt(tmp_path: Path) -> None:
    """The time at which the attempt was last named may come from a sampler of another boot or container."""
    with LedgerWriter(tmp_path, "s", "w") as writer, heartbeat(writer, "a", 0.05, lambda: time.monotonic() + 1e6, 0.01):
        end_s = time.monotonic() + 60
        while len(read_ledger(tmp_path).records) == 1 and time.monotonic() < end_s:
            time.sleep(0.02)
    assert read_ledger(tmp_path).records[1]["kind"] == "heartbeat"
