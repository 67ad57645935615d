"""What a plan says of a study: every job is priced by the MACs that its passes compute, zeros included."""

import copy
from collections import Counter

import pytest

from accounting.ledger.records import Phase
from harness.config.routes import RoutesConfig
from harness.config.study import parse_config
from harness.plan import play
from harness.planning import speeds
from harness.planning.speeds import Speeds
from harness.validation import check_study
from harness.work.price import OVERHEAD_S

SPEED = 1e9
BASE = {
    "name": "plan",
    "dataset": {"name": "fashion_mnist_mini", "num_train": 100},
    "parent": {"family": "fbnetv3_mini", "variant": "l", "pretrain": {"epochs": 4}},
    "targets": ["0.4M"],
    "replicates": 1,
    "recipe": {"batch_size": 50, "lr": 0.05, "epochs": 3},
}
TARGET = 400_000


def view_of(routes, **changes):
    return check_study(parse_config(copy.deepcopy(BASE) | {"routes": routes} | changes, "test"), need_data=False)


def planned(routes, **changes):
    """(planned jobs by name, the study's view)."""
    view = view_of(routes, **changes)
    return {each.job.name: each for each in play(view, Speeds(SPEED), "cpu").jobs}, view


NUM_TRAIN, NUM_VAL, NUM_TEST = 100, 1000, 4000


def training_s(epochs, macs):
    """Per epoch, 3 passes over training and 1 over validation images; at the end, batch norm is recalibrated."""
    return OVERHEAD_S["cpu"] + (epochs * (3 * NUM_TRAIN + NUM_VAL) + NUM_TRAIN) * macs / SPEED


class TestControls:
    def test_a_narrower_structure_costs_its_own_macs(self):
        routes = {"prune": {"criterion": "channels_magnitude"}, "scratch": {"family": False, "equal_epochs": True}}
        jobs, view = planned(routes)
        equal_cost, equal_epochs = (
            jobs[f"scratch-r0-t{TARGET}-{kind}-retrain"].seconds
            for kind in ("pruned_structure", "pruned_structure_equal_epochs")
        )
        epochs = round(4 * view.parent_macs / TARGET + 3)
        assert equal_cost == pytest.approx(training_s(epochs, TARGET))
        assert equal_epochs == pytest.approx(training_s(4, TARGET))
        # Equal cost: as long as the parent's pre-training plus the narrower network's fine-tuning, to a rounded epoch.
        both = training_s(4, view.parent_macs) + training_s(3, TARGET) - OVERHEAD_S["cpu"]
        both -= NUM_TRAIN * view.parent_macs / SPEED  # batch norm is recalibrated once, not twice
        assert equal_cost == pytest.approx(both, abs=training_s(0.5, TARGET) - OVERHEAD_S["cpu"] + 1e-9)

    def test_a_masked_structure_costs_what_the_dense_parent_costs(self):
        routes = {"prune": {"criterion": "global_magnitude"}, "scratch": {"family": False}}
        jobs, view = planned(routes)
        control = jobs[f"scratch-r0-t{TARGET}-pruned_structure-retrain"]
        assert control.seconds == pytest.approx(training_s(4 + 3, view.parent_macs))


SEARCH_THEN_PRUNE = {
    "larger": 2.0,
    "search": {"strategy": {"name": "random", "num_trials": 4}, "retrain": {"epochs": 2}},
    "prune": {"criterion": ["global_magnitude", "channels_magnitude", "uniform_lamp+gradual"]},
}
FAMILY = {"pruned_structure": False}


class TestNetworksThatASearchFound:
    @pytest.fixture(scope="class")
    def jobs(self):
        found, _ = planned({"search_then_prune": SEARCH_THEN_PRUNE, "scratch": FAMILY}, seed=3)
        return found

    @pytest.fixture(scope="class")
    def winner(self, jobs):
        """The job of the network that the search found, above the target."""
        (pruned,) = [name for name in jobs if name.endswith("-global_magnitude-prune")]
        found = jobs[pruned.removesuffix("-global_magnitude-prune")].job
        assert TARGET < found.counted_macs <= 2 * TARGET
        return found

    def test_masks_cost_what_the_dense_network_costs(self, jobs, winner):
        tuned = jobs[f"{winner.name}-global_magnitude-finetune"]
        assert tuned.seconds == pytest.approx(training_s(3, winner.counted_macs))

    def test_masks_that_grow_do_too(self, jobs, winner):
        tuned = jobs[f"{winner.name}-uniform_lamp+gradual-finetune"]
        assert tuned.seconds == pytest.approx(training_s(3, winner.counted_macs))

    def test_fewer_channels_cost_their_own_macs(self, jobs, winner):
        tuned = jobs[f"{winner.name}-channels_magnitude-finetune"]
        assert tuned.seconds == pytest.approx(training_s(3, TARGET))


@pytest.mark.parametrize("criterion", ["global_magnitude", "channels_magnitude"])
def test_a_network_is_read_and_exported_at_the_macs_that_it_computes(criterion):
    routes = {"prune": {"criterion": criterion}}
    jobs, view = planned(routes, export={"latency": True})
    macs = view.parent_macs if criterion == "global_magnitude" else TARGET
    (read,) = [each for each in jobs.values() if each.job.phase == Phase.EVALUATE]
    (timed,) = [each for each in jobs.values() if each.job.phase == Phase.EXPORT]
    assert read.seconds == pytest.approx(OVERHEAD_S["cpu"] + (NUM_VAL + NUM_TEST) * macs / SPEED)
    assert timed.seconds == pytest.approx(OVERHEAD_S["cpu"] + 500 * macs / SPEED)


def test_only_networks_that_lost_channels_are_delivered_whole_and_need_no_compact_export():
    each = {**SEARCH_THEN_PRUNE, "prune": {**SEARCH_THEN_PRUNE["prune"], "deliver": "each"}}
    jobs, _ = planned({"search_then_prune": each, "scratch": FAMILY}, seed=3, export={"compact": True})
    compact = {e.job.work.delivery.label.partition(":")[2] for e in jobs.values() if e.job.phase == Phase.EXPORT}
    assert compact - {""} == {"global_magnitude", "uniform_lamp+gradual"}


def test_passes_without_gradients_have_a_speed_of_their_own():
    routes = {"prune": {"finetune": {"epochs": 2}}}
    slow, view = planned(routes)
    quick = {each.job.name: each for each in play(view, Speeds(SPEED, evaluation=4.0), "cpu").jobs}
    macs = view.parent_macs
    trained_s = 4 * 3 * NUM_TRAIN * macs / SPEED
    assert quick["prune-r0-pretrain"].seconds == pytest.approx(
        OVERHEAD_S["cpu"] + trained_s + (4 * NUM_VAL + NUM_TRAIN) * macs / SPEED / 4
    )
    for name, job in slow.items():
        if job.job.phase in (Phase.PRUNE, Phase.EVALUATE):
            work_s = job.seconds - OVERHEAD_S["cpu"]
            assert work_s > 0
            assert quick[name].seconds == pytest.approx(OVERHEAD_S["cpu"] + work_s / 4)


def test_other_work_during_the_first_steps_does_not_change_the_speed_that_is_measured(monkeypatch):
    clock, took = [0.0], iter([20.0, 9.0, 7.0, 1.0, 1.1, 1.0])  # the first is the warm-up
    monkeypatch.setattr(speeds.time, "perf_counter", lambda: clock[0])
    (seconds,) = speeds._timed([lambda: clock.__setitem__(0, clock[0] + next(took))], budget_s=0.0)
    assert seconds == pytest.approx(1.0)


class TestWorkers:
    """A job shared by workers takes less time by their joint speed-up; every worker's device is held for it."""

    @pytest.fixture(scope="class")
    def jobs(self):
        held = {"devices_per_job": {"pretrain": 4, "finetune": 2}, "workers_per_job": {"pretrain": 2, "finetune": 2}}
        return planned({"prune": {"finetune": {"epochs": 2}}}, resources=held)

    def test_the_start_up_is_paid_by_every_core_and_the_work_once(self, jobs):
        found, view = jobs
        work_s = training_s(4, view.parent_macs) - OVERHEAD_S["cpu"]
        # The pre-training has two workers with two cores each; the measured speed is that of one such worker.
        assert found["prune-r0-pretrain"].seconds == pytest.approx(4 * (OVERHEAD_S["cpu"] + work_s / 2))

    def test_a_worker_with_half_the_cores_is_half_as_fast(self, jobs):
        found, view = jobs
        work_s = training_s(2, view.parent_macs) - OVERHEAD_S["cpu"]
        finetune = found[f"prune-r0-t{TARGET}-global_magnitude-finetune"]
        assert finetune.seconds == pytest.approx(2 * (OVERHEAD_S["cpu"] + work_s / (2 * 0.5)))

    def test_a_core_that_is_held_in_part_is_paid_for_in_part(self):
        jobs, view = planned({"prune": {"finetune": {"epochs": 2}}}, resources={"devices_per_job": 1.5})
        assert jobs["prune-r0-pretrain"].seconds == pytest.approx(1.5 * training_s(4, view.parent_macs))
        jobs, view = planned({"prune": {"finetune": {"epochs": 2}}}, resources={"devices_per_job": 0.5})
        assert jobs["prune-r0-pretrain"].seconds == pytest.approx(training_s(4, view.parent_macs))

    def test_gpus_share_a_training_and_one_evaluates(self):
        view = view_of({"prune": {"finetune": {"epochs": 2}}}, resources={"devices_per_job": 8})
        jobs = {each.job.phase: each.seconds for each in play(view, Speeds(SPEED), "cuda").jobs}
        work_s = training_s(4, view.parent_macs) - OVERHEAD_S["cpu"]
        assert jobs[Phase.PRETRAIN] == pytest.approx(8 * (OVERHEAD_S["cuda"] + work_s / 8))
        assert jobs[Phase.EVALUATE] < 2 * OVERHEAD_S["cuda"]


SEARCHES = {
    "search": {"search": {"strategy": {"num_trials": 13}}},
    "in halves": {"search": {"strategy": {"num_trials": 13}, "halving": {"eta": 2, "rungs": 2}}},
    "in own batches": {"search": {"strategy": {"num_trials": 12, "options": {"first_batch": 5, "batch": 2}}}},
    "by another strategy": {"search": {"strategy": {"name": "regularized_evolution", "num_trials": 9}}},
    "inherited weights": {"prune": {}, "subnet_search": {"strategy": {"num_trials": 48}}},
    "inherited weights, few": {"prune": {}, "subnet_search": {"strategy": {"num_trials": 7}, "scored_per_job": 2}},
}


@pytest.mark.parametrize("routes", SEARCHES.values(), ids=SEARCHES)
def test_as_many_jobs_as_with_the_strategy_itself(routes, monkeypatch):
    counted = Counter((each.job.route, each.job.phase) for each in planned(routes)[0].values())
    monkeypatch.setattr(RoutesConfig, "planned", property(lambda own: own))
    assert counted == Counter((each.job.route, each.job.phase) for each in planned(routes)[0].values())
