"""Two, then three nodes with GPUs that are written down here: every share, a node that joins, one that dies; by hand.

============  =====================  ========================  ==================
attempt       devices                held (s)                  device-seconds
============  =====================  ========================  ==================
whole         a0                     10 to 60                  50
half, other   1/2 of a1 each         10 to 50                  20 and 20
quarter       1/4 of a1              60 to 100                 10
two           a0 and a1              110 to 140                60
four          b0 to b3, 4 workers    20 to 161.5 (b died)      566
joined        c0                     105 to 195                90
============  =====================  ========================  ==================

Node b is there from 0 to 161.5 (its worker outlived its raylet by 1.5 s), node c from 100 to 200, node a all 200 s.
"""

from __future__ import annotations

import pytest
from ledger_records import abandoned, alloc, closed, free, ok, opened, progress, start

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.cost.energy import energy_of
from accounting.ledger.records import Kind

A, B, C = ["GPU-a0", "GPU-a1"], ["GPU-b0", "GPU-b1", "GPU-b2", "GPU-b3"], ["GPU-c0", "GPU-c1"]
HELD = {"whole": 50.0, "half": 20.0, "other": 20.0, "quarter": 10.0, "two": 60.0, "four": 566.0, "joined": 90.0}


def session_record(t, *nodes):
    return opened("s", t, {device: 1.0 for node in nodes for device in node}, "cuda")


def attempt(name, devices, begin, end, workers=1, joules=None):
    """An attempt in its own placement group that names its GPUs itself; with ``end=None`` it is cut off."""
    records = [
        {**alloc("s", f"p-{name}", begin), "devices": {}},
        {**start("s", f"{name}#1", name, begin + 2, allocation=f"p-{name}", heartbeat_s=2.0),
         "devices": devices, "num_workers": workers, "meter": "scripted"},
    ]  # fmt: skip
    if end is not None:
        measurement = None if joules is None else {"energy_j": joules, "meter": "scripted", "flags": []}
        records += [{**ok(f"{name}#1", end - 1, end - 2), "measurement": measurement}, free("s", f"p-{name}", end)]
    return records


@pytest.fixture
def records():
    return [
        session_record(0, A, B),
        *attempt("whole", {"GPU-a0": 1.0}, 10, 60, joules=5000.0),
        *attempt("half", {"GPU-a1": 0.5}, 10, 50, joules=4000.0),
        *attempt("other", {"GPU-a1": 0.5}, 10, 50),
        *attempt("quarter", {"GPU-a1": 0.25}, 60, 100, joules=4000.0),
        *attempt("two", dict.fromkeys(A, 1.0), 110, 140, workers=2, joules=9000.0),
        *attempt("four", dict.fromkeys(B, 1.0), 20, None, workers=4),
        {**session_record(100, A, B, C), "kind": Kind.CAPACITY_CHANGED},
        {"kind": Kind.HEARTBEAT, "t": 159.0, "session": "s", "attempt": "four#1"},
        {**free("s", "p-four", 160), "cause": "node_died"},
        {**session_record(160, A, C), "kind": Kind.CAPACITY_CHANGED},
        progress("four#1", 161.5, 1),
        abandoned("s", "four", 170),
        *attempt("joined", {"GPU-c0": 1.0}, 105, 195),
        closed("s", 200),
    ]


def test_every_attempt_costs_its_share_of_its_devices_for_as_long_as_it_held_them(records):
    view = derive(records)
    assert {each.job: each.allocated_s for each in view.attempts} == pytest.approx(HELD)
    assert view.unit == "gpu_hours"


def test_devices_are_balanced_from_when_their_node_joins_until_it_leaves(records):
    found = audit(records)
    assert [finding for finding in found.findings if finding.severity == "error"] == []
    told = {b.device: (b.capacity_s, b.allocated_s, b.idle_s) for b in found.balances}
    expected = {
        "GPU-a0": (200, 80, 120), "GPU-a1": (200, 80, 120),
        **dict.fromkeys(B, (161.5, 141.5, 20)),
        "GPU-c0": (100, 90, 10), "GPU-c1": (100, 0, 100),
    }  # fmt: skip
    assert told == {device: pytest.approx(values) for device, values in expected.items()}
    assert sum(b.allocated_s for b in found.balances) == pytest.approx(sum(HELD.values()))


def test_a_node_that_died_leaves_one_beat_of_uncertainty_at_most(records):
    (four,) = [each for each in derive(records).attempts if each.job == "four"]
    assert (four.status, four.uncertainty_s, four.lost_s) == ("lost", 0.0, pytest.approx(566 - four.overhead_s))


def test_energy_of_a_share_is_the_share_of_what_the_device_used_and_says_so(records):
    found = energy_of(derive(records), records)
    joules = {attempt: (pytest.approx(each.kwh * 3.6e6), each.is_shared) for attempt, each in found.items()}
    assert joules == {
        "whole#1": (5000.0, False), "half#1": (2000.0, True), "quarter#1": (1000.0, True), "two#1": (9000.0, False),
    }  # fmt: skip


def test_more_than_there_is_is_found(records):
    """A third attempt holds half of a device that is already full."""
    more = attempt("third", {"GPU-a1": 0.5}, 20, 40)
    findings = audit(sorted([*records, *more], key=lambda record: record["t"])).findings
    assert [finding.code for finding in findings if finding.severity == "error"] == ["over_allocated", "imbalance"]
