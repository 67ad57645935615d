"""Two hundred schedules of faults on a simulated clock: each attempt counts once; the truth is within the bounds."""

from collections import Counter
from unittest import mock

import pytest
from chaos import ENDS_SESSION, FAULTS, POLL_S, Chaos

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind, Status
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder

NUM_SCHEDULES = 200
BATCH = 20
hits: dict[int, Counter[str]] = {}
"""The faults of each batch that was played, by the batch's first seed."""


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk():
    with mock.patch("os.fsync"):
        yield


@pytest.mark.parametrize("first", range(0, NUM_SCHEDULES, BATCH))
def test_whatever_dies_nothing_is_lost_or_doubled(first, tmp_path):
    play(first, tmp_path)


def play(first, folder):
    faults = Counter()
    for seed in range(first, first + BATCH):
        chaos = Chaos(StudyFolder(folder / str(seed)), seed)
        chaos.run()
        faults.update(chaos.faults)
        check(chaos)
    hits[first] = faults


def check(chaos):
    ledger = read_ledger(chaos.paths.ledger)
    view, report = derive(ledger.records), audit(ledger.records, ledger.findings)
    errors = [finding for finding in report.findings if finding.severity == "error"]
    assert errors == [], (chaos.seed, errors)
    assert sorted(attempt.attempt for attempt in view.attempts) == sorted(chaos.attempts), chaos.seed
    assert len(view.jobs) == chaos.num_jobs, chaos.seed
    ok = Counter(
        record["attempt"].rpartition("#")[0]
        for record in ledger.records
        if record["kind"] == Kind.ATTEMPT_ENDED and record["status"] == Status.OK
    )
    assert set(ok.values()) == {1}, chaos.seed
    assert len(ok) == chaos.num_jobs, chaos.seed
    billed_s = sum(each.allocated_s for each in (*view.attempts, *view.startups))
    stated_s = sum(each.uncertainty_s for each in (*view.attempts, *view.startups))
    kinds = Counter(record["kind"] for record in ledger.records)
    num_unseen = kinds[Kind.ALLOCATION_OPENED] - sum(
        record["kind"] == Kind.ALLOCATION_CLOSED and "looked_t" in record for record in ledger.records
    )  # ends with a driver or head that was killed up to one look later
    allowed_s = 0.01 * chaos.held_s + stated_s + num_unseen * POLL_S + chaos.blind_s
    assert abs(billed_s - chaos.held_s) <= allowed_s, (chaos.seed, billed_s, chaos.held_s, allowed_s)
    assert [s.reason for s in view.sessions][-1] == "done"


def test_every_kind_of_fault_was_among_them(tmp_path):
    """Batches that were not yet played in this process are played here."""
    assert {*ENDS_SESSION} < {*FAULTS}
    for first in range(0, NUM_SCHEDULES, BATCH):
        if first not in hits:
            play(first, tmp_path)
    whole = sum(hits.values(), Counter())
    assert all(whole[kind] >= 10 for kind in FAULTS), whole
