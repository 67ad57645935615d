"""A whole study that searches on inherited weights: scores on halves, networks within 1 % below, the parent's cost."""

import importlib.util

import pytest
import torch
from inline_runs import NUM_VAL, metrics, models, records, run
from safetensors.torch import load_file

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from accounting.macs.count import count_macs
from reports.data.networks import delivered_networks
from reports.data.study import read_study

pytest.importorskip("torch_pruning")
CONFIG = {
    "name": "parts",
    "dataset": {"name": "fashion_mnist_mini", "num_train": 200},
    "parent": {"family": "fbnetv3_mini", "variant": "l", "pretrain": {"epochs": 2}},
    "targets": ["0.6M", "0.4M"],
    "replicates": 1,
    "recipe": {"batch_size": 50, "lr": 0.05},
    "routes": {
        "prune": {"criterion": "channels_magnitude", "finetune": {"epochs": 1}},
        "subnet_search": {
            "strategy": {"num_trials": 8, "options": {"first_batch": 4, "batch": 2}},
            "scored_per_job": 3,
            "num_predicted": 1,
            "num_seen": 1,
            "finetune": {"epochs": 1},
        },
    },
}
TARGETS = (600_000, 400_000)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts") / "parts"
    run(CONFIG, folder)
    return folder


def started(study, phase):
    return [r for r in records(study, Kind.ATTEMPT_STARTED) if r["route"] == "subnet_search" and r["phase"] == phase]


def module_of(folder):
    spec = importlib.util.spec_from_file_location("delivered", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build()


@pytest.mark.parametrize("target", TARGETS)
def test_delivers_a_smaller_network_within_one_percent_below(study, target):
    folder = study / "models" / str(target) / "subnet_search" / "0"
    said = metrics(folder)
    assert 0.99 * target <= said["macs"] <= target
    assert said["dense_macs"] == said["macs"]
    model = module_of(folder)
    assert count_macs(model, (1, 28, 28)).macs == said["macs"]
    with torch.no_grad():
        assert model.eval()(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_candidates_are_scored_on_one_half_and_finalists_on_the_other(study):
    scores, finalists = [], []
    for record in started(study, "search"):
        (finalists if record["job"].endswith("finalists") else scores).append(record)
    assert {r["spec"]["score_half"] for r in scores} == {"first"}
    assert {r["target"] for r in scores} == {None}, "one scoring serves both targets"
    assert sum(len(r["spec"]["score"]) for r in scores) == 8
    assert {(r["target"], r["spec"]["score_half"]) for r in finalists} == {(target, "second") for target in TARGETS}
    outcomes = {r["attempt"]: r["outcome"] for r in records(study, Kind.ATTEMPT_ENDED)}
    assert {outcomes[r["attempt"]]["num_val"] for r in (*scores, *finalists)} == {NUM_VAL // 2}


def test_the_best_finalist_is_fine_tuned_from_the_parent_s_weights(study):
    outcomes = {r["attempt"]: r["outcome"] for r in records(study, Kind.ATTEMPT_ENDED)}
    for record in started(study, "finetune"):
        (final,) = [
            r for r in started(study, "search") if r["target"] == record["target"] and r["job"].endswith("finalists")
        ]
        scores = outcomes[final["attempt"]]["scores"]
        assert record["spec"]["inherit"]["arch"] == final["spec"]["score"][scores.index(max(scores))]
        assert record["spec"]["init_from"] == "prune-r0-pretrain"
        shapes = {
            name: tensor.shape
            for name, tensor in load_file(study / "checkpoints/prune-r0-pretrain/weights.safetensors").items()
        }
        own = load_file(study / f"checkpoints/{record['job']}/weights.safetensors")
        assert own.keys() <= shapes.keys()
        assert any(tensor.shape != shapes[name] for name, tensor in own.items())


def test_is_charged_for_the_parent_that_the_prune_route_trained(study):
    records = read_ledger(study / "ledger").records
    assert audit(records).ok
    view = derive(records)
    held_h = {a.job: a.allocated_s / 3600 for a in view.attempts}
    networks = {(n.label, n.target): n.cost_h for n in delivered_networks(view, read_study(study)[0])}
    for target in TARGETS:
        own_h = sum(
            a.allocated_s / 3600 for a in view.attempts if a.route == "subnet_search" and a.target in (None, target)
        )
        cost_h = networks["subnet_search", target]
        assert cost_h["full"] == pytest.approx(own_h + held_h["prune-r0-pretrain"])
        assert cost_h["free"] == pytest.approx(own_h)


def test_going_on_does_nothing_again(study, snapshot):
    before = snapshot(study / "models") | snapshot(study / "checkpoints")
    attempts = len(records(study, Kind.ATTEMPT_STARTED))
    run(CONFIG, study)
    assert len(records(study, Kind.ATTEMPT_STARTED)) == attempts
    assert snapshot(study / "models") | snapshot(study / "checkpoints") == before


def test_every_network_is_delivered(study):
    assert len(models(study)) == 4
    assert all(0 < metrics(folder)["test_top1"] < 1 for folder in models(study))
