"""A driver is killed while its workers start; the next session bills what it held then, as overhead."""

from __future__ import annotations

import json

import pytest
from ledger_records import alloc, opened, start

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind, Status
from accounting.ledger.store import LedgerWriter, read_ledger
from accounting.study.folder import StudyFolder
from harness.backends.held_note import close_left_open, noting


def write(ledger, record):
    record = dict(record)
    ledger.append(record.pop("kind"), t=record.pop("t"), **record)


@pytest.fixture
def paths(tmp_path):
    """A study whose first session is killed 7 s after its only worker began to start; a second one then opens."""
    return StudyFolder(tmp_path)


def killed(paths, *records, devices=None):
    with LedgerWriter(paths.ledger, "old", "driver", clock=lambda: 100.0) as ledger:
        held = alloc("old", "a", 110.0)
        for record in (opened("old", 100.0), held if devices is None else held | devices, *records):
            write(ledger, record)
    with pytest.raises(KeyboardInterrupt), noting(paths.held_note, "old") as note:
        for t in (110.0, 110.25, 117.0):
            note(t, ["a"])
        content = paths.held_note.read_bytes()
        raise KeyboardInterrupt
    paths.held_note.write_bytes(content)  # SIGKILL leaves the note behind


def resumed(paths):
    with LedgerWriter(paths.ledger, "new", "driver", clock=lambda: 9000.0) as ledger:
        write(ledger, opened("new", 9000.0))
        close_left_open(paths, ledger)
    return read_ledger(paths.ledger)


def bill(ledger):
    return [(s.begin_t, s.end_t, s.device_kind, s.allocated_s) for s in derive(ledger.records).startups]


def test_a_start_up_that_a_kill_ended_is_billed_until_its_driver_was_last_seen(paths):
    killed(paths)
    ledger = resumed(paths)
    assert bill(ledger) == [(110.0, 117.0, "cpu_core", 7.0)]
    assert audit(ledger.records, ledger.findings).ok
    assert not paths.held_note.exists()


def test_of_gpus_which_no_attempt_has_named_the_amount_is_billed(paths):
    killed(paths, devices={"devices": {}, "amounts": {"cuda": 2.0}})
    assert bill(resumed(paths)) == [(110.0, 117.0, "cuda", 14.0)]


def end(attempt, t):
    return {"kind": Kind.ATTEMPT_ENDED, "t": t, "attempt": attempt, "status": Status.OK, "reason": None, "outcome": {},
            "work_end_t": t, "measurement": None}  # fmt: skip


def test_a_worker_that_waited_for_its_next_job_is_billed_to_the_last_one(paths):
    killed(paths, start("old", "j#1", "j", 111.0, allocation="a"), end("j#1", 113.0))
    (attempt,) = derive(resumed(paths).records).attempts
    assert (attempt.begin_t, attempt.end_t) == (110.0, 117.0)


def test_an_attempt_that_was_at_work_says_by_its_own_records_how_long_it_lived(paths):
    killed(paths, start("old", "j#1", "j", 112.0, allocation="a"))
    ledger = resumed(paths)
    assert [r for r in ledger.records if r["kind"] == Kind.ALLOCATION_CLOSED] == []
    (attempt,) = derive(ledger.records).attempts
    assert (attempt.end_t, attempt.uncertainty_s) == (112.0, 10.0)


def test_what_was_closed_before_the_kill_stays_as_it_is(paths):
    killed(paths, {"kind": Kind.ALLOCATION_CLOSED, "t": 114.0, "session": "old", "allocation": "a"})
    assert bill(resumed(paths)) == [(110.0, 114.0, "cpu_core", 4.0)]


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"session": "old", "t": "x", "allocations": ["a"]})])
def test_a_note_that_cannot_be_read_closes_nothing(paths, text):
    killed(paths)
    paths.held_note.write_text(text)
    assert bill(resumed(paths)) == [(110.0, 110.0, "cpu_core", 0.0)]


def test_a_session_that_ends_in_order_leaves_no_note(paths):
    paths.root.mkdir(exist_ok=True)
    with noting(paths.held_note, "s") as note:
        note(1.0, ["a"])
        assert paths.held_note.exists()
    assert not paths.held_note.exists()
