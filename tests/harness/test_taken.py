"""A job whose worker was believed dead has one outcome: the later attempt keeps the job; recorded ones are reused."""

import os
from pathlib import Path

from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter
from harness.jobs.taken import SLACK_S, has_later_attempt, outcome_on_record


def begin(ledger, attempt, t, session="s"):
    job = attempt.rpartition("#")[0]
    ledger.append(
        Kind.ATTEMPT_STARTED, t=t, session=session, attempt=attempt, job=job, route="prune", phase="pretrain", target=None,
        replicate=0, allocation=None, devices={}, meter="wall_clock", network_macs=1, spec={},
    )  # fmt: skip


def finish(ledger, attempt, t, outcome):
    ledger.append(
        Kind.ATTEMPT_ENDED,
        t=t,
        attempt=attempt,
        status="ok",
        reason=None,
        outcome=outcome,
        work_end_t=t,
        measurement=None,
    )


def test_an_outcome_since_the_proposal_is_found_and_an_older_one_is_not(tmp_path):
    with LedgerWriter(tmp_path, "s", "worker") as ledger:
        begin(ledger, "job#1", 1.0)
        finish(ledger, "job#1", 5.0, {"val_top1": 0.5})
        begin(ledger, "job-2#1", 1.0)
        finish(ledger, "job-2#1", 5.0, {"val_top1": 0.9})
    assert outcome_on_record(tmp_path, "job", 4.0) == {"val_top1": 0.5}
    assert outcome_on_record(tmp_path, "job", 6.0) is None
    assert outcome_on_record(tmp_path, "jo", 0.0) is None


def test_the_attempt_that_began_last_has_the_job(tmp_path):
    with LedgerWriter(tmp_path, "s", "worker") as ledger:
        begin(ledger, "job#1", 1.0)
        begin(ledger, "job#2", 2.0)
    assert has_later_attempt(tmp_path, "job", "job#1", 1.0)
    assert not has_later_attempt(tmp_path, "job", "job#2", 2.0)


def test_of_two_sessions_the_later_one_has_the_job_though_the_clock_was_set_back(tmp_path):
    """The first session was killed; its clock was an hour ahead."""
    with LedgerWriter(tmp_path, "ahead", "worker") as ledger:
        begin(ledger, "job#1", 3600.0, "ahead")
    with LedgerWriter(tmp_path, "right", "worker") as ledger:
        begin(ledger, "job#2", 60.0, "right")
    assert not has_later_attempt(tmp_path, "job", "job#2", 60.0)
    assert has_later_attempt(tmp_path, "job", "job#1", 3600.0)


def test_a_segment_that_was_not_written_to_since_is_not_opened(tmp_path, monkeypatch):
    opened, read_bytes = [], Path.read_bytes
    names = []
    for n, t in enumerate((0.0, 10_000.0)):
        with LedgerWriter(tmp_path, "s", "worker") as ledger:
            begin(ledger, f"job#{n}", t)
            finish(ledger, f"job#{n}", t, {"val_top1": 0.5 + 0.1 * n})
        os.utime(ledger.path, (t, t))
        names.append(ledger.path.name)
    with LedgerWriter(tmp_path, "s", "sampler"):
        """Names attempts by the thousand, but begins and ends none."""
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or read_bytes(path))
    assert outcome_on_record(tmp_path, "job", 5000.0) == {"val_top1": 0.6}
    assert outcome_on_record(tmp_path, "job", float("inf")) is None
    assert not has_later_attempt(tmp_path, "job", "job#1", 10_000.0)
    assert len(opened) == 2
    assert set(opened) == {names[1]}
    assert outcome_on_record(tmp_path, "job", SLACK_S - 1) == {"val_top1": 0.6}, "a server's clock that is behind"
    assert len(opened) == 4
