"""A study runs on one GPU model: the pinned one, or the only one there; nodes with others are unused. Scripted GPUs."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
import ray
from ledger_records import opened

from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter, read_ledger
from accounting.study.folder import StudyFolder
from harness.backends import allocations, tune
from harness.backends.allocations import Allocations, node_name
from harness.backends.inline import inline_backend
from harness.backends.tune_jobs import JobSearcher, OtherModel
from harness.config.resources import JobShape
from harness.config.study import parse_config
from harness.errors import InputError
from harness.gpu_models import of_models
from harness.stored import study_file
from harness.stored.extension import Paid
from harness.stored.study_file import Standing, check_devices
from harness.stored.written import runnable

A100, A40, H100 = "NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-40GB", "NVIDIA H100 80GB HBM3"


def gpus(node, *names):
    return [
        {"device": f"GPU-{node}{i}", "device_kind": "cuda", "amount": 1.0, "name": name, "node": node}
        for i, name in enumerate(names)
    ]


def nodes_of(entries):
    return [entry["node"] for entry in entries]


def test_the_only_model_there_needs_no_name():
    both = [*gpus("a", H100, H100), *gpus("b", H100)]
    assert of_models((), both) == both


def test_cpu_cores_are_all_used():
    cores = [{"device": "a/cpu", "device_kind": "cpu_core", "amount": 2.0, "name": "a core", "node": "a"}]
    assert of_models((), cores) == cores


def test_two_models_without_a_name_are_bad_input():
    with pytest.raises(InputError) as told:
        of_models((), [*gpus("a", H100), *gpus("b", A100)])
    said = str(told.value)
    assert f"there are GPUs of 2 models here, {A100!r} and {H100!r}" in said
    assert f"write resources.device_kind: {A100!r}" in said
    assert "\n" not in said


def test_declared_models_are_used_beside_the_reference_and_no_other():
    there = [*gpus("a", H100), *gpus("b", A100, H100), *gpus("c", A40), *gpus("d", A100), *gpus("e", A40, A100)]
    assert nodes_of(of_models([H100, A100], there)) == ["a", "b", "b", "d"]
    assert nodes_of(of_models([H100, A100], gpus("d", A100))) == ["d"]
    with pytest.raises(InputError, match="given; the GPUs here are"):
        of_models([H100, A100], gpus("c", A40))


def test_a_study_goes_on_with_a_declared_model():
    standing = Standing(None, False, (), {}, {}, None, device_kinds=frozenset({"cuda"}), gpu_models=frozenset({H100}))
    check_devices(standing, gpus("a", A100), {H100, A100})
    with pytest.raises(InputError, match="hours of two models are never added up"):
        check_devices(standing, gpus("a", A40), {H100, A100})
    with pytest.raises(InputError, match="hours of two models are never added up"):
        check_devices(standing, gpus("a", A100), {A40, A100})


def resources(tiny, **equivalent):
    return parse_config({**tiny, "resources": {"device_kind": H100, "equivalent": equivalent}}, "test")


RATE = {"hours": 0.5, "low": 0.4, "high": 0.6, "source": "our benchmark"}


def test_a_rate_is_bound_by_hours_that_were_held_on_its_model(tiny):
    held, other = resources(tiny, **{A100: RATE}), resources(tiny, **{A100: {**RATE, "high": 0.7}})
    (line,) = study_file._changed_rates(held, other, {A100, H100})
    assert f"resources.equivalent: {A100} hours 0.5, low 0.4, high 0.6, source our benchmark in the study" in line
    (line,) = study_file._changed_rates(held, resources(tiny), {A100})
    assert "not declared given, and hours were held on it" in line
    assert study_file._changed_rates(held, other, {H100}) == []
    assert study_file._changed_rates(resources(tiny), held, {H100}) == []
    elsewhere = parse_config({**tiny, "resources": {"device_kind": A40, "equivalent": {A100: RATE}}}, "test")
    (line,) = study_file._changed_rates(held, elsewhere, {A100})
    assert line.startswith(f"resources.device_kind: {H100!r} in the study, {A40!r} given")


def test_a_config_declares_an_equivalence(tiny):
    config = resources(tiny, **{A100: RATE})
    assert config.resources.gpu_models == {A100, H100}
    assert config.resources.equivalence.rates == {A100: 0.5}
    assert config.resources.equivalence.reference == H100
    assert parse_config(runnable(config), "again").resources == config.resources


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"equivalent": {A100: RATE}}, "give device_kind, too"),
        ({"device_kind": A100, "equivalent": {A100: RATE}}, "is device_kind itself"),
        ({"device_kind": H100, "device": "cpu", "equivalent": {A100: RATE}}, "only models of GPU"),
        ({"device_kind": H100, "equivalent": {A100: {**RATE, "low": 0.55}}}, "hours lie between low and high"),
        ({"device_kind": H100, "equivalent": {A100: {**RATE, "low": 0}}}, "numbers above 0"),
        ({"device_kind": H100, "equivalent": {A100: {**RATE, "source": " "}}}, "say in words where"),
        ({"device_kind": H100, "equivalent": {A100: {"hours": 0.5}}}, "the keys hours, low, high, source are needed"),
        ({"device_kind": H100, "equivalent": {A100: 0.5}}, "the keys hours, low, high, source are needed"),
        ({"device_kind": H100, "equivalent": {str(i): RATE for i in range(5)}}, "at most 4 names"),
    ],
    ids=["no reference", "itself", "on cpu", "out of range", "zero", "no source", "incomplete", "a number", "too many"],
)
def test_a_bad_declaration_is_one_line(section, said, tiny):
    with pytest.raises(InputError) as told:
        parse_config({**tiny, "resources": section}, "test")
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_node_that_joins_with_a_declared_model_gets_jobs(monkeypatch):
    shunned = SimpleNamespace(shunned=set())
    run = SimpleNamespace(nodes=SimpleNamespace(device="cuda", models=(A100, H100)))
    monkeypatch.setattr(tune, "devices_of", lambda device, joined: gpus("b", A100))
    assert nodes_of(tune._OnRay._devices_of(run, shunned, node(NEW))) == ["b"]
    monkeypatch.setattr(tune, "devices_of", lambda device, joined: gpus("b", A40))
    assert tune._OnRay._devices_of(run, shunned, node(NEW)) == []
    assert shunned.shunned == {NEW}


def test_a_name_leaves_other_nodes_out_and_tells_memory_sizes_apart():
    found = of_models([A100], [*gpus("a", H100), *gpus("b", A100, A100), *gpus("c", A40)])
    assert nodes_of(found) == ["b", "b"]


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (gpus("a", H100), f"{A100!r} given; the GPUs here are {H100!r}"),
        (gpus("a", H100, A100), "set CUDA_VISIBLE_DEVICES to those that are wanted"),
    ],
    ids=["none of it", "only beside another"],
)
def test_a_name_that_leaves_nothing_is_bad_input(there, said):
    with pytest.raises(InputError, match=r"resources\.device_kind") as told:
        of_models([A100], there)
    assert said in str(told.value)


def test_a_study_goes_on_with_the_model_that_it_has_held():
    standing = Standing(None, False, (), {}, {}, None, device_kinds=frozenset({"cuda"}), gpu_models=frozenset({H100}))
    check_devices(standing, gpus("a", H100))
    with pytest.raises(InputError, match="hours of two models are never added up") as told:
        check_devices(standing, gpus("a", A100))
    assert f"the study has held {H100!r}, this run would hold {A100!r}" in str(told.value)


def test_what_it_has_held_is_what_attempts_name():
    records = [
        {"kind": Kind.SESSION_OPENED, "t": 0.0, "session": "s", "capacity": gpus("a", H100, A100)},
        {"kind": Kind.ATTEMPT_STARTED, "t": 1.0, "session": "s", "attempt": "x#1", "devices": {"GPU-a0": 1.0}},
    ]
    assert study_file._gpu_models(records, Paid.of(records)) == {H100}
    old = [{**records[0], "capacity": [{"device": "GPU-a0", "device_kind": "cuda", "amount": 1.0}]}, records[1]]
    assert study_file._gpu_models(old, Paid.of(old)) == set()


@pytest.mark.parametrize("pinned", [None, H100], ids=["not pinned", "pinned"])
def test_inline_two_models_are_bad_input_before_anything_is_written(pinned, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.backends.inline.torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("harness.backends.inline.local_capacity", lambda device, most: gpus("a", H100, A100))
    tiny["resources"] = {"device": "cuda", "devices_per_job": {"pretrain": 2}, "device_kind": pinned}
    with pytest.raises(InputError), inline_backend(parse_config(tiny, "test"), StudyFolder(tmp_path)):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []


def node(name, alive=True):
    return {"NodeID": name, "NodeManagerHostname": "vm", "Alive": alive, "Resources": {"CPU": 1.0, "GPU": 1.0}}


OLD, NEW, LATER = "a" * 8, "b" * 8, "c" * 8


@pytest.fixture
def cluster(monkeypatch):
    state = SimpleNamespace(t=1000.0, nodes=[node(OLD)], groups={})
    context = SimpleNamespace(get_job_id=lambda: "0100", get_node_id=lambda: OLD)
    monkeypatch.setattr(allocations.ray, "nodes", lambda: state.nodes)
    monkeypatch.setattr(allocations.ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(allocations, "placement_group_table", lambda: state.groups)
    monkeypatch.setattr(allocations.time, "time", lambda: state.t)
    return state


def test_a_node_that_joins_with_another_model_is_no_device_and_gets_no_job(cluster, tmp_path):
    asked, told = [], []

    def ask(joined):
        asked.append(joined["NodeID"])
        return gpus(node_name(joined), H100) if joined["NodeID"] != NEW else []

    with LedgerWriter(tmp_path / "ledger", "s", "driver", clock=lambda: cluster.t) as ledger:
        record = opened("s", cluster.t)
        ledger.append(Kind.SESSION_OPENED, **{k: v for k, v in record.items() if k not in ("kind", "t")})
        watched = Allocations(ledger, "s", "cuda", gpus(node_name(node(OLD)), H100), ask, threading.Event())
        watched.on_nodes = lambda nodes: told.append({each["NodeID"] for each in nodes.values()})
        cluster.nodes = [node(OLD), node(NEW), node(LATER)]
        for _ in range(3):
            watched._look_at_nodes()
    changes = [r for r in read_ledger(tmp_path / "ledger").records if r["kind"] == Kind.CAPACITY_CHANGED]
    assert [nodes_of(change["capacity"]) for change in changes] == [["vm-aaaaaa", "vm-cccccc"]]
    assert sorted(asked) == [NEW, LATER]
    assert told[-1] == {OLD, LATER}


def searcher(job_names=("a",)):
    from test_tune_jobs import Jobs

    nodes = {"n": {"Resources": {"CPU": 4.0, "GPU": 1.0}}}
    scheduler = Jobs(job_names)
    return scheduler, JobSearcher(scheduler, {}, 1, lambda job: JobShape(1, 1, 1), "cuda", nodes)


def test_a_worker_that_finds_another_model_costs_its_job_no_attempt_and_shuns_the_node():
    scheduler, mine = searcher()
    first = mine.suggest("t1")
    assert first["shunned"] == "[]"
    error = ray.exceptions.RayTaskError("f", "traceback", OtherModel(NEW, f"GPUs of another model ({A100})"))
    mine.failed("t1", error)
    assert scheduler.told == {}
    again = mine.suggest("t2")
    assert (again["job"], again["shunned"]) == (first["job"], f'["{NEW}"]')


def test_jobs_are_placed_on_other_nodes_than_the_shunned():
    held = '{"CPU": 1.0, "GPU": 1.0}'
    plain = tune._placement({"held": held, "shunned": "[]"})
    shunning = tune._placement({"held": held, "shunned": f'["{NEW}", "{LATER}"]'})
    assert "bundle_label_selector" not in plain._bound.arguments
    assert shunning._bound.arguments["bundle_label_selector"] == [{"ray.io/node-id": f"!in({NEW},{LATER})"}]
    assert plain.bundles == shunning.bundles


def test_a_worker_says_on_what_model_it_is(monkeypatch):
    context = SimpleNamespace(get_assigned_resources=lambda: {"CPU": 1.0, "GPU": 1.0}, get_node_id=lambda: NEW)
    monkeypatch.setattr(tune.ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(tune.ray, "get_gpu_ids", lambda: [3])
    monkeypatch.setattr(tune.ray, "nodes", lambda: [node(NEW)])
    monkeypatch.setattr(tune.ray.util, "get_current_placement_group", lambda: None)
    monkeypatch.setattr(tune, "cuda_model", lambda index: A100)
    monkeypatch.setattr(tune, "cuda_device", lambda index: f"GPU-{index}")
    held = tune._held("cuda", 1, [A100])
    assert (held.devices, held.node) == ({"GPU-0": 1.0}, node_name(node(NEW)))
    assert tune._held("cuda", 1, [H100, A100]).devices == {"GPU-0": 1.0}
    with pytest.raises(OtherModel, match="GPUs of another model") as told:
        tune._held("cuda", 1, [H100])
    assert told.value.node == NEW
