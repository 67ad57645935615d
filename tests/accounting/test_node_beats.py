"""Samplers' records are signs of life for every attempt they name, and give energy to attempts that measured none."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_records import alloc, beat, closed, node_beat, ok, opened, progress, start, work

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.cost.energy import KWH_J, energy_of
from accounting.cost.so_far import SpentSoFar
from accounting.ledger import reader
from accounting.ledger.index import segments_in_turn
from accounting.ledger.records import Kind, Record, Status
from accounting.ledger.store import LedgerError, LedgerWriter, read_lean, read_ledger

BAD = {
    "no node": ({"node": ""}, "node must be a non-empty string"),
    "names of none": ({"attempts": [""]}, "attempts must be a list of non-empty strings"),
    "names that are one": ({"attempts": "a#0"}, "attempts must be a list of non-empty strings"),
    "four values": ({"readings": {"GPU-1": [1.0] * 4}}, "readings must be an object of device"),
    "a value of text": ({"readings": {"GPU-1": ["1"] * 5}}, "readings must be an object of device"),
    "a value beyond all": ({"readings": {"GPU-1": [10**400] * 5}}, "readings must be an object of device"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_record_that_is_not_well_formed_is_not_written(tmp_path: Path, case: str) -> None:
    fields, says = BAD[case]
    whole = {"node": "n", "session": "s", "attempts": ["a#0"], "readings": {}} | fields
    with LedgerWriter(tmp_path, "s", "sampler") as writer, pytest.raises(LedgerError, match=says):
        writer.append(Kind.NODE_BEAT, **whole)
    assert len(read_ledger(tmp_path).records) == 1


def killed(*signs: Record) -> list[Record]:
    """Two attempts on a core each, begun at 10 and 12 and never ended; ``signs`` precede the session's close at 100."""
    return [
        opened("s", 0), start("s", "a#0", "a", 10, heartbeat_s=3.0),
        start("s", "b#0", "b", 12, device="core1", heartbeat_s=3.0), work("a#0", 11), progress("a#0", 20, 1), *signs,
        closed("s", 100, "interrupted"),
    ]  # fmt: skip


def test_an_attempt_without_an_end_is_billed_until_it_was_named_last() -> None:
    """The bill is the same as with own heartbeats: a until 34, b until 36, each with up to 3 s that nobody observed."""
    named = killed(node_beat(14, "a#0", "b#0"), node_beat(34, "a#0", "b#0"), node_beat(36, "b#0"))
    own = killed(beat("a#0", 34), beat("b#0", 36))
    for records in (named, own):
        got = {
            a.attempt: (a.begin_t, a.end_t, a.allocated_s, a.uncertainty_s, a.status) for a in derive(records).attempts
        }
        assert got == {
            "a#0": (10, 34, 24.0, 3.0, Status.LOST),
            "b#0": (12, 36, 24.0, 3.0, Status.LOST),
        }


def test_who_named_an_attempt_last_counts_be_it_itself() -> None:
    """The sampler died at 30; the attempt itself sent heartbeats until 38."""
    view = derive(killed(node_beat(30, "a#0"), beat("a#0", 36), beat("a#0", 38)))
    assert {attempt.attempt: attempt.end_t for attempt in view.attempts} == {"a#0": 38, "b#0": 12}


def test_what_was_measured_later_makes_nothing_longer(tmp_path: Path) -> None:
    records = killed(node_beat(34, "a#0"), measured("a#0", 34, 100.0))
    assert {attempt.attempt: attempt.end_t for attempt in derive(records).attempts} == {"a#0": 34, "b#0": 12}


def measured(attempt: str, t: float, energy_j: float | None, share: float = 1.0, meter: str = "nvml") -> Record:
    measurement: dict[str, object] = {"energy_j": energy_j, "held_share": share, "meter": meter, "energy": "exclusive"}
    return {"kind": Kind.ATTEMPT_MEASURED, "t": t, "attempt": attempt, "node": "n", "measurement": measurement}


def test_energy_of_a_killed_attempt_is_what_its_sampler_saw() -> None:
    own: dict[str, object] = {"energy_j": 720.0, "meter": "nvml"}
    ended = ok("c#0", 60) | {"measurement": own}
    records = [
        *killed(measured("a#0", 34, 3600.0, 0.5), measured("b#0", 36, None)),
        start("s", "c#0", "c", 40), measured("c#0", 58, 700.0), ended,
    ]  # fmt: skip
    got = energy_of(derive(records), records)
    assert {name: (round(e.kwh * KWH_J), e.is_shared) for name, e in got.items()} == {
        "a#0": (1800, True), "c#0": (720, False),
    }  # fmt: skip


def test_energy_of_processors_is_their_share_and_says_how() -> None:
    records = killed(measured("a#0", 34, 8000.0, 0.25, "rapl"))
    got = energy_of(derive(records), records)["a#0"]
    assert round(got.kwh * KWH_J) == 2000
    assert got.how == "the processors' own energy counters, through RAPL; by the share of the device that was held"


def test_a_ledger_that_is_written_while_it_is_read_never_names_who_did_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker begins, and its sampler names it, after the reader has listed the segments."""
    now = [0.0]

    def clock() -> float:
        return now[0]

    driver, sampler = (LedgerWriter(tmp_path, "s", name, clock=clock) for name in ("driver", "sampler"))
    driver.append(Kind.SESSION_OPENED, session="s", study="x", capacity=[], environment={})
    plain, begun = reader.content_of, []

    def read(path: Path) -> bytes:
        if "-driver-" in path.name and not begun:
            begun.append(LedgerWriter(tmp_path, "s", "worker", clock=clock))
            record = start("s", "a#0", "a", 5)
            begun[0].append(record["kind"], **{k: v for k, v in record.items() if k not in ("kind", "t")})
            sampler.append(Kind.NODE_BEAT, node="n", session="s", attempts=["a#0"], readings={})
        return plain(path)

    monkeypatch.setattr(reader, "content_of", read)
    ledger = read_lean(tmp_path)
    assert ledger.points is not None
    assert ledger.points.beats == {"a#0": [1, 0.0, 0.0]}
    assert not [f for f in audit(ledger.records, ledger.findings, ledger.points).findings if f.code == "never_started"]
    assert [path.name.split("-")[1] for path in segments_in_turn(tmp_path)] == ["driver", "sampler", "worker"]


def test_a_host_may_be_called_a_worker(tmp_path: Path) -> None:
    """Pods of a Kubernetes cluster have such host names."""
    names = [f"2026T1Z-{writer}-ray-worker-a1-7-abcdef.jsonl" for writer in ("worker", "sampler", "driver")]
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in segments_in_turn(tmp_path)] == [names[2], names[1], names[0]]


def test_what_was_spent_is_read_on_with_samplers(tmp_path: Path) -> None:
    now = [0.0]
    spent = SpentSoFar(tmp_path)
    with (
        LedgerWriter(tmp_path, "s", "driver", clock=lambda: now[0]) as driver,
        LedgerWriter(tmp_path, "s", "worker", clock=lambda: now[0]) as worker,
        LedgerWriter(tmp_path, "s", "sampler", clock=lambda: now[0]) as sampler,
    ):

        def put(writer: LedgerWriter, record: Record) -> None:
            now[0] = record["t"]
            writer.append(record["kind"], **{k: v for k, v in record.items() if k not in ("kind", "t")})

        put(driver, opened("s", 0))
        put(driver, alloc("s", "A", 5))
        put(worker, start("s", "a#0", "a", 7, allocation="A"))
        put(sampler, node_beat(9, "a#0"))
        assert [a.allocated_s for a in spent.read(9.0).attempts] == [4.0]
        put(sampler, node_beat(11, "a#0"))
        put(driver, {"kind": Kind.ATTEMPT_LOST, "t": 12, "session": "s", "job": "a", "reason": "killed"})
        put(driver, {"kind": Kind.JOB_ABANDONED, "t": 13, "session": "s", "job": "a", "reason": "killed"})
        put(sampler, measured("a#0", 13, 5.0))
        assert [(a.allocated_s, a.status) for a in spent.read(20.0).attempts] == [(8.0, Status.LOST)]
        assert not spent._is_odd
    ledger = read_lean(tmp_path)
    assert [a.allocated_s for a in derive(ledger.records, 20.0, ledger.points).attempts] == [8.0]
