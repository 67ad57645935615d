"""What one attempt writes to the ledger when it succeeds, fails or is interrupted."""

import pytest
import torch
from some_jobs import job

from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from accounting.words.methods import Method
from harness.config.recipe import Recipe
from harness.config.study import DatasetConfig
from harness.devices import Held, choose_device, cpu_device, local_capacity
from harness.errors import InputError
from harness.jobs.start import Checkpoint, WeightsOf
from harness.jobs.work import Prune, PruneRule, RangeTest, Train
from harness.models.build import load_tensors
from harness.work.attempt import execute
from harness.work.workplace import Workplace
from nas_baseline.spaces.families import network_spec
from pruning.deadline import MachineTooBusy, NotFollowed
from pruning.solve import UnreachableTarget

SPEC = network_spec("fbnetv3_mini", "s", 1, 10)


@pytest.fixture
def place(tmp_path):
    data = DatasetConfig(name="fashion_mnist_mini", num_train=100)
    return Workplace(StudyFolder(tmp_path), "s1", data, Held("cpu", {"n/cpu": 1.0}, 1, "group"))


def pretrain(**changes):
    work = Train(Recipe(epochs=1, batch_size=50))
    return job(**{"step": "p", "phase": Phase.PRETRAIN, "seed": 11, "network": SPEC, "work": work} | changes)


def prune(target, criterion="magnitude", scope="global"):
    work = Prune(PruneRule(Method(scope, criterion), target))
    return job(
        "q", phase=Phase.PRUNE, seed=12, network=SPEC, work=work, counted_macs=target, start=WeightsOf("prune-r0-p")
    )


def kinds(place):
    return [r["kind"] for r in read_ledger(place.paths.ledger).records if r["kind"] != Kind.HEARTBEAT]


def ended(place):
    return [r for r in read_ledger(place.paths.ledger).records if r["kind"] == Kind.ATTEMPT_ENDED]


def test_what_a_good_attempt_writes(place):
    outcome = execute(pretrain(), place)
    assert outcome.ok
    assert kinds(place) == [
        Kind.SEGMENT_OPENED, Kind.ATTEMPT_STARTED, Kind.WORK_BEGUN, Kind.PROGRESS, Kind.ATTEMPT_ENDED,
    ]  # fmt: skip
    started = read_ledger(place.paths.ledger).records[1]
    assert started["devices"] == {"n/cpu": 1.0}
    assert started["allocation"] == "group"
    assert started["spec"]["network"] == SPEC
    (end,) = ended(place)
    assert end["status"] == "ok"
    assert end["outcome"] == outcome.metrics
    assert 0 < end["measurement"]["wall_s"] < 60
    assert place.paths.weights("prune-r0-p").exists()
    assert not place.paths.resume("prune-r0-p").exists()


def test_a_failure_that_would_come_again_is_an_outcome(place):
    outcome = execute(pretrain(work=Train(Recipe.model_construct(epochs=2, batch_size=50, lr=1e30))), place)
    assert not outcome.ok
    assert "loss" in outcome.reason
    (end,) = ended(place)
    assert (end["status"], end["reason"], end["outcome"]) == ("failed", outcome.reason, None)


def test_an_unreachable_target_is_an_outcome(place, monkeypatch):
    def refuse(*args, **kwargs):
        raise UnreachableTarget("10 MACs cannot be reached")

    execute(pretrain(), place)
    monkeypatch.setattr("harness.work.prune.prune_to_macs", refuse)
    outcome = execute(prune(10), place)
    assert not outcome.ok
    assert outcome.reason == "10 MACs cannot be reached"
    assert ended(place)[1]["reason"] == outcome.reason


@pytest.mark.parametrize(
    ("error", "final"), [(MachineTooBusy("not within 50 s"), False), (NotFollowed("not within 40 s of work"), True)]
)
def test_what_only_a_busy_machine_refused_is_tried_again_by_the_next_run(error, final, place, monkeypatch):
    def refuse(*args, **kwargs):
        raise error

    execute(pretrain(), place)
    monkeypatch.setattr("harness.work.prune.prune_channels_to_macs", refuse)
    outcome = execute(prune(9, scope="channels"), place)
    assert (outcome.ok, outcome.reason, outcome.final) == (False, str(error), final)


@pytest.mark.parametrize("error", [OSError("no space\nleft"), KeyboardInterrupt(), MemoryError("many")])
def test_another_error_is_written_and_raised_again(error, place, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("harness.work.train.train", fail)
    with pytest.raises(type(error)):
        execute(pretrain(), place)
    (end,) = ended(place)
    assert end["status"] == "failed"
    assert end["reason"].startswith(type(error).__name__)
    assert "\n" not in end["reason"]


def test_a_job_whose_source_is_missing_fails_loudly(place):
    with pytest.raises(FileNotFoundError):
        execute(prune(100_000), place)
    assert ended(place)[0]["status"] == "failed"


@pytest.mark.parametrize(
    ("criterion", "scope"),
    [("magnitude", "global"), ("magnitude", "uniform"), ("random", "global"), ("taylor", "global")],
)
def test_pruning_hits_its_target_and_keeps_weights_and_masks(criterion, scope, place):
    execute(pretrain(), place)
    before = load_tensors(place.paths.weights("prune-r0-p"))
    outcome = execute(prune(120_000, criterion, scope), place)
    assert 0.99 * 120_000 < outcome.metrics["macs"] <= 120_000
    assert outcome.metrics["dense_macs"] > 120_000
    weights, masks = load_tensors(place.paths.weights("prune-r0-q")), load_tensors(place.paths.masks("prune-r0-q"))
    for name, mask in masks.items():
        assert torch.equal(weights[name], before[name] * mask), "kept weights are not touched by pruning"
    assert outcome.metrics["nonzero_params"] < outcome.metrics["params"]


def test_a_candidate_leaves_nothing_behind(place):
    execute(pretrain(step="c", phase=Phase.SEARCH), place)
    assert not place.paths.checkpoint("prune-r0-c").exists()


def test_a_user_checkpoint_is_where_training_starts(place):
    execute(pretrain(), place)
    again = pretrain(step="r", start=Checkpoint(str(place.paths.weights("prune-r0-p"))), work=Train(Recipe(epochs=0)))
    assert execute(again, place).metrics["val_top1"] == ended(place)[0]["outcome"]["val_top1"]
    one, two = (load_tensors(place.paths.weights(name)) for name in ("prune-r0-p", "prune-r0-r"))
    assert all(torch.equal(one[name], two[name]) for name in one if not name.endswith("num_batches_tracked"))


class TestDevices:
    @pytest.mark.parametrize(
        ("wanted", "gpus", "got"), [("auto", 0, "cpu"), ("auto", 2, "cuda"), ("cpu", 2, "cpu"), ("cuda", 1, "cuda")]
    )
    def test_choice(self, wanted, gpus, got):
        assert choose_device(wanted, gpus) == got

    def test_cuda_without_a_gpu(self):
        with pytest.raises(InputError, match="write cpu or auto"):
            choose_device("cuda", 0)

    def test_the_cores_of_a_machine_are_one_device(self):
        (device,) = local_capacity("cpu", 3)
        assert device["amount"] == 3
        assert device["device_kind"] == "cpu_core"
        assert device["device"] == cpu_device(device["node"])
        assert device["name"]


def test_a_range_test_leaves_no_accuracy_that_could_count(place):
    """Its network is discarded, and no other has its accuracy; its outcome is a rate alone."""
    outcome = execute(pretrain(step="t", phase=Phase.TUNE, work=RangeTest(Recipe(epochs=2, batch_size=50))), place)
    assert set(outcome.metrics) == {"chosen_lr", "epochs"}
    assert Kind.PROGRESS not in kinds(place)
    assert Kind.WORK_BEGUN in kinds(place)
