"""Nodes join and leave during a study: capacity over time, and workers that outlive their node's raylet."""

import pytest
from ledger_records import alloc, closed, free, opened, progress, start

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind


def ended(attempt, t):
    return {
        "kind": Kind.ATTEMPT_ENDED, "t": t, "attempt": attempt, "status": "failed", "reason": "its raylet died",
        "outcome": None, "work_end_t": None, "measurement": None,
    }  # fmt: skip


def changed(session, t, devices):
    return {**opened(session, t, devices), "kind": Kind.CAPACITY_CHANGED}


def codes(records, severity="error"):
    return [finding.code for finding in audit(records).findings if finding.severity == severity]


def test_a_device_that_joins_later_counts_from_then_on():
    records = [
        opened("s", 0, {"core0": 1.0}),
        changed("s", 60, {"core0": 1.0, "core1": 1.0}),
        alloc("s", "p", 60, "core1"),
        start("s", "j#1", "j", 61, allocation="p", device="core1"),
        ended("j#1", 80),
        free("s", "p", 80),
        closed("s", 100, "interrupted"),
    ]
    assert codes(records) == []
    by_device = {balance.device: balance for balance in audit(records).balances}
    assert by_device["core0"].capacity_s == pytest.approx(100)
    assert by_device["core1"].capacity_s == pytest.approx(40)
    assert by_device["core1"].idle_s == pytest.approx(20)


def test_a_device_that_left_is_neither_idle_nor_unknown():
    records = [opened("s", 0), changed("s", 30, {"core0": 1.0}), closed("s", 100, "interrupted")]
    assert {b.device: b.capacity_s for b in audit(records).balances} == {"core0": 100, "core1": 30}


def dead_node(cause):
    return [
        opened("s", 0),
        alloc("s", "p", 10, "core1"),
        start("s", "j#1", "j", 11, allocation="p", device="core1"),
        {**free("s", "p", 30), **cause},
        changed("s", 30, {"core0": 1.0}),
        ended("j#1", 33),
        closed("s", 100, "interrupted"),
    ]


def test_a_workers_own_records_extend_an_allocation_that_its_nodes_death_closed():
    records = dead_node({"cause": "node_died"})
    assert codes(records) == []
    assert derive(records).attempts[0].allocated_s == pytest.approx(23)
    assert {b.device: b.capacity_s for b in audit(records).balances} == {"core0": 100, "core1": 33}


def test_nothing_extends_an_allocation_that_was_closed_in_order():
    assert "outside_allocation" in codes(dead_node({}))


def left_behind(cause):
    """A driver whose Ray died closes everything; its worker works on for a moment and then dies without a record."""
    return [
        opened("s", 0, {"core0": 1.0}),
        alloc("s", "p", 5),
        start("s", "j#1", "j", 6, allocation="p", heartbeat_s=2.0),
        {**free("s", "p", 26.0), **cause},
        closed("s", 26.1, "interrupted"),
        progress("j#1", 26.9, 1),
    ]


def test_a_worker_that_outlives_its_ray_extends_its_allocation_and_its_session():
    records = left_behind({"cause": "node_died"})
    assert codes(records) == []
    (balance,) = audit(records).balances
    assert (balance.allocated_s, balance.idle_s, balance.wall_s) == (
        pytest.approx(21.9), pytest.approx(5), pytest.approx(26.9))  # fmt: skip


def test_work_after_an_orderly_end_is_no_balance():
    assert codes(left_behind({})) == ["imbalance"]


def test_a_device_that_joins_after_another_has_left_was_not_there_before():
    records = [
        opened("s", 0),
        changed("s", 30, {"core0": 1.0}),
        changed("s", 40, {"core0": 1.0, "core2": 1.0}),
        alloc("s", "p", 45, "core2"),
        start("s", "j#1", "j", 46, allocation="p", device="core2"),
        ended("j#1", 90),
        free("s", "p", 90),
        closed("s", 100, "interrupted"),
    ]
    assert codes(records) == []
    assert {b.device: b.capacity_s for b in audit(records).balances} == {"core0": 100, "core1": 30, "core2": 60}


def test_two_nodes_that_join_one_after_the_other_are_both_there_from_then_on():
    """The second node is missing from the first change because it had not joined yet, not because it left."""
    records = [
        opened("s", 0, {"core0": 1.0}),
        changed("s", 10, {"core0": 1.0, "core1": 1.0}),
        changed("s", 20, {"core0": 1.0, "core1": 1.0, "core2": 1.0}),
        alloc("s", "p", 30, "core2"),
        start("s", "j#1", "j", 31, allocation="p", device="core2"),
        ended("j#1", 79),
        free("s", "p", 80),
        closed("s", 100, "interrupted"),
    ]
    assert codes(records) == []
    assert {b.device: (b.capacity_s, b.idle_s) for b in audit(records).balances} == {
        "core0": (100, 100), "core1": (90, 90), "core2": (80, 30)}  # fmt: skip


def test_a_device_that_left_and_came_back_was_not_there_in_between():
    """A GPU keeps its name when its node restarts; use of it after the restart does not fill the gap."""
    records = [
        opened("s", 0),
        changed("s", 30, {"core0": 1.0}),
        changed("s", 60, {"core0": 1.0, "core1": 1.0}),
        alloc("s", "p", 65, "core1"),
        start("s", "j#1", "j", 66, allocation="p", device="core1"),
        ended("j#1", 89),
        free("s", "p", 90),
        closed("s", 100, "interrupted"),
    ]
    assert codes(records) == []
    assert {b.device: (b.capacity_s, b.idle_s) for b in audit(records).balances} == {
        "core0": (100, 100), "core1": (70, 45)}  # fmt: skip
