"""A cluster's placement groups and nodes appear in the ledger; Ray's answers are scripted."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from ledger_records import closed, opened

from accounting.audit.audit import audit
from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter, read_ledger
from harness.backends import allocations
from harness.backends.allocations import Allocations, node_name
from harness.devices import cpu_device

JOB = "0100"
OLD, NEW, NEWER = "a" * 8, "b" * 8, "c" * 8


def node(name, alive=True):
    return {"NodeID": name, "NodeManagerHostname": "vm", "Alive": alive, "Resources": {"CPU": 1.0}}


def told(entry):
    name = node_name(entry)
    device = {"device": cpu_device(name), "device_kind": "cpu_core", "amount": 1.0, "name": "a core"}
    return [{**device, "node": name}]


@pytest.fixture
def cluster(monkeypatch):
    """Ray's scripted answers and a clock."""
    state = SimpleNamespace(t=1000.0, nodes=[node(OLD)], groups={})
    context = SimpleNamespace(get_job_id=lambda: JOB, get_node_id=lambda: OLD)
    monkeypatch.setattr(allocations.ray, "nodes", lambda: state.nodes)
    monkeypatch.setattr(allocations.ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(allocations, "placement_group_table", lambda: state.groups)
    monkeypatch.setattr(allocations.time, "time", lambda: state.t)
    return state


@pytest.fixture
def ledger(tmp_path, cluster):
    with LedgerWriter(tmp_path / "ledger", "s", "driver", clock=lambda: cluster.t) as writer:
        record = opened("s", cluster.t)
        del record["kind"], record["t"]
        writer.append(Kind.SESSION_OPENED, t=cluster.t, **{**record, "capacity": told(node(OLD))})
        yield writer


def group_on(name):
    return {"state": "CREATED", "bundles": {0: {"CPU": 1.0}}, "bundles_to_node_id": {0: name}}


def watch(ledger, ask=told):
    return Allocations(ledger, "s", "cpu", told(node(OLD)), ask, threading.Event())


def look(watched, cluster, t, groups):
    """Look at the groups that there are at a time."""
    cluster.t, cluster.groups = t, groups
    watched._look()


def findings(ledger, cluster):
    record = closed("s", cluster.t, "interrupted")
    del record["kind"], record["t"]
    ledger.append(Kind.SESSION_CLOSED, t=cluster.t, **record)
    ledger.close()
    records = read_ledger(ledger.path.parent).records
    return records, [finding for finding in audit(records).findings if finding.severity == "error"]


def test_a_node_that_takes_work_before_it_tells_its_devices_is_a_device_since_it_was_seen(ledger, cluster):
    watched = watch(ledger)
    cluster.t, cluster.nodes = 1010.0, [node(OLD), node(NEW)]
    cluster.groups = {"p" + JOB: group_on(NEW)}
    watched._look()
    cluster.t = 1025.0  # its first worker took this long to start
    watched._look_at_nodes()
    look(watched, cluster, 1030.0, {})
    records, errors = findings(ledger, cluster)
    assert errors == []
    [change] = [record for record in records if record["kind"] == Kind.CAPACITY_CHANGED]
    assert change["t"] == 1010.0
    assert {entry["node"] for entry in change["capacity"]} == {"vm-aaaaaa", "vm-bbbbbb"}


def test_a_node_that_fails_to_tell_is_asked_again(ledger, cluster):
    answers = iter([RuntimeError("its worker died"), None])

    def ask(entry):
        problem = next(answers)
        if problem is not None:
            raise problem
        return told(entry)

    watched = watch(ledger, ask)
    cluster.t, cluster.nodes = 1010.0, [node(OLD), node(NEW)]
    with pytest.raises(RuntimeError):
        watched._look_at_nodes()
    look(watched, cluster, 1012.0, {"p" + JOB: group_on(NEW)})
    cluster.t = 1020.0
    watched._look_at_nodes()
    look(watched, cluster, 1030.0, {})
    assert findings(ledger, cluster)[1] == []


def test_nodes_join_in_the_order_in_which_they_were_seen_and_leave(ledger, cluster):
    watched = watch(ledger)
    cluster.t, cluster.nodes = 1010.0, [node(OLD), node(NEWER)]
    watched._look()
    cluster.t, cluster.nodes = 1020.0, [node(OLD), node(NEW), node(NEWER)]
    watched._look_at_nodes()
    cluster.t, cluster.nodes = 1040.0, [node(OLD), node(NEW), node(NEWER, alive=False)]
    watched._look_at_nodes()
    cluster.t = 1100.0
    records, errors = findings(ledger, cluster)
    assert errors == []
    balances = audit(records).balances
    assert {b.device: b.capacity_s for b in balances} == {
        "vm-aaaaaa/cpu": 100.0, "vm-bbbbbb/cpu": 80.0, "vm-cccccc/cpu": 30.0}  # fmt: skip


def test_groups_of_others_are_not_ours(ledger, cluster):
    watched = watch(ledger)
    cluster.groups = {"p" + "0200": group_on(OLD)}
    watched._look()
    records, errors = findings(ledger, cluster)
    assert errors == []
    assert not [record for record in records if record["kind"] == Kind.ALLOCATION_OPENED]


def test_of_three_nodes_with_other_tenants_on_each_only_ours_are_on_record(ledger, cluster):
    """Other tenants' groups open before and during ours and on a node that joins and dies, and take all we leave."""
    watched = watch(ledger)
    theirs = {"t1" + "0200": group_on(OLD)}
    cluster.groups = dict(theirs)
    watched._look()
    cluster.t, cluster.nodes = 1010.0, [node(OLD), node(NEW), node(NEWER)]
    watched._look_at_nodes()
    cluster.groups = theirs | {"p1" + JOB: group_on(NEW), "t2" + "0300": group_on(NEWER)}
    watched._look()
    cluster.t = 1020.0
    cluster.groups = theirs | {"p2" + JOB: group_on(NEWER), "t3" + "0200": group_on(NEW)}
    watched._look()
    cluster.t, cluster.nodes = 1050.0, [node(OLD), node(NEW), node(NEWER, alive=False)]
    cluster.groups = theirs
    watched._look()
    watched._look_at_nodes()
    cluster.t = 1100.0
    records, errors = findings(ledger, cluster)
    assert errors == []
    held = {r["allocation"]: r["t"] for r in records if r["kind"] == Kind.ALLOCATION_OPENED}
    assert held == {
        allocations.allocation_name("p1" + JOB, NEW): 1010.0,
        allocations.allocation_name("p2" + JOB, NEWER): 1020.0,
    }
    ends = {r["allocation"]: (r["t"], r.get("cause")) for r in records if r["kind"] == Kind.ALLOCATION_CLOSED}
    assert list(ends.values()) == [(1020.0, None), (1050.0, "node_died")]
    assert {b.device: b.capacity_s for b in audit(records).balances} == {
        "vm-aaaaaa/cpu": 100.0, "vm-bbbbbb/cpu": 90.0, "vm-cccccc/cpu": 40.0}  # fmt: skip


def causes(ledger):
    ledger.close()
    records = read_ledger(ledger.path.parent).records
    return [record.get("cause") for record in records if record["kind"] == Kind.ALLOCATION_CLOSED]


def test_a_node_that_dies_while_it_is_looked_at_is_the_cause(ledger, cluster, monkeypatch):
    """Its groups are released after its death is known, because the list of nodes may be older than that of groups."""
    watched = watch(ledger)
    cluster.groups = {"p" + JOB: group_on(OLD)}
    watched._look()

    def groups():
        cluster.nodes = [node(OLD, alive=False)]
        return {"p" + JOB: group_on(OLD) | {"state": "RESCHEDULING"}}

    monkeypatch.setattr(allocations, "placement_group_table", groups)
    watched._look()
    assert causes(ledger) == ["node_died"]


@pytest.mark.parametrize(("is_gone", "cause"), [(True, "node_died"), (False, None)])
def test_what_a_dead_ray_held_was_closed_by_its_death(ledger, cluster, is_gone, cause):
    gone = threading.Event()
    watched = Allocations(ledger, "s", "cpu", told(node(OLD)), told, gone)
    cluster.groups = {"p" + JOB: group_on(OLD)}
    with watched.watched():
        watched._look()
        if is_gone:
            gone.set()
    assert causes(ledger) == [cause]


def test_of_a_group_with_gpus_it_is_on_record_how_many_it_holds(ledger, cluster):
    watched = Allocations(ledger, "s", "cuda", told(node(OLD)), told, threading.Event())
    cluster.groups = {"p" + JOB: {**group_on(OLD), "bundles": {0: {"CPU": 4.0, "GPU": 2.0}}}}
    watched._look()
    [found] = [r for r in read_ledger(ledger.path.parent).records if r["kind"] == Kind.ALLOCATION_OPENED]
    assert (found["devices"], found["amounts"]) == ({}, {"cuda": 2.0})


def test_what_is_held_is_told_at_every_look(ledger, cluster):
    watched, seen = watch(ledger), []
    watched.on_held = lambda t, held: seen.append((t, held))
    cluster.groups = {"p" + JOB: group_on(OLD)}
    watched._look()
    look(watched, cluster, 1001.0, {})
    assert seen == [(1000.0, [f"p{JOB}@{OLD}"]), (1001.0, [])]


def test_an_edge_lies_after_the_look_before_was_asked_for(ledger, cluster, monkeypatch):
    def answered():
        cluster.t += 0.0625
        return cluster.groups

    monkeypatch.setattr(allocations, "placement_group_table", answered)
    watched = watch(ledger)
    held = {"p" + JOB: group_on(OLD)}
    for t, groups in ((1000.25, {}), (1000.75, held), (1001.0, held), (1001.5, {})):
        look(watched, cluster, t, groups)
    records = read_ledger(ledger.path.parent).records
    edges = {r["kind"]: (r["looked_t"], r["t"]) for r in records if "looked_t" in r}
    assert edges == {
        Kind.ALLOCATION_OPENED: (1000.25, 1000.75 + 0.0625), Kind.ALLOCATION_CLOSED: (1001.0, 1001.5 + 0.0625)
    }  # fmt: skip


def test_a_group_that_the_first_look_sees_opened_after_its_watcher_began(ledger, cluster):
    watched = watch(ledger)
    look(watched, cluster, 1003.0, {"p" + JOB: group_on(OLD)})
    [found] = [r for r in read_ledger(ledger.path.parent).records if r["kind"] == Kind.ALLOCATION_OPENED]
    assert (found["looked_t"], found["t"]) == (1000.0, 1003.0)


def test_what_a_dead_ray_held_was_seen_by_nobody_to_end(ledger, cluster):
    """It is closed at the last time at which it was seen held; its end may be later, not earlier."""
    gone = threading.Event()
    watched = Allocations(ledger, "s", "cpu", told(node(OLD)), told, gone)
    cluster.groups = {"p" + JOB: group_on(OLD)}
    watched._look()
    gone.set()
    watched.close_all()
    [found] = [r for r in read_ledger(ledger.path.parent).records if r["kind"] == Kind.ALLOCATION_CLOSED]
    assert "looked_t" not in found
