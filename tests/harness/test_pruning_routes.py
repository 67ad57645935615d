"""Methods, schedules, controls, weight sharing and early stopping: what routes propose, and small studies of them."""

import copy
import json

import pytest
import torch
from inline_runs import quick, run

from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import read_ledger
from accounting.macs.count import count_macs
from accounting.study.folder import StudyFolder
from harness.config.study import parse_config
from harness.console.progress import Silent
from harness.errors import InputError
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Outcome
from harness.jobs.spec import from_json, to_json
from harness.jobs.start import Fresh, InheritedFrom, StructureOf, WeightsOf
from harness.jobs.work import Deliver, Prune, Scan, Score, Train, TrainSupernet
from harness.models.build import build_network, load_tensors
from harness.routes.base import Queue
from harness.routes.chain import PruneChain
from harness.routes.first_batch import FirstBatch
from harness.stored.study_file import stored_config
from harness.study import Launch, run_study
from harness.validation import check_study, make_routes
from pruning.gradual import GradualPruner
from pruning.masks import apply_masks
from pruning.methods import checked_method, list_methods
from pruning.resize import fit_to_state

BASE = {
    "name": "methods",
    "dataset": {"name": "fashion_mnist_mini", "num_train": 100},
    "parent": {"family": "fbnetv3_mini", "variant": "l", "pretrain": {"epochs": 1}},
    "targets": ["0.4M"],
    "replicates": 1,
    "recipe": {"batch_size": 50, "lr": 0.05},
}


def config(routes, **changes):
    return parse_config(copy.deepcopy(BASE) | {"routes": copy.deepcopy(routes)} | changes, "test")


def play(routes, **changes):
    """All jobs by name, when every job succeeds."""
    view = check_study(config(routes, **changes), need_data=False)
    state, jobs = make_routes(view, 0), {}
    while True:
        asked = [route.ask() for route in state]
        new = [job for job in asked if isinstance(job, Job)]
        if not new:
            assert all(isinstance(answer, Done) for answer in asked)
            return jobs
        for job in new:
            jobs[job.name] = job
            metrics = {"val_top1": (job.seed % 997) / 997, "macs": job.target or job.counted_macs}
            if isinstance(job.work, Score):
                metrics = {"scores": [sum(arch) / 100 for arch in job.work.archs]}
            for route in state:
                route.tell(job, Outcome(ok=True, metrics=metrics))


class TestMethods:
    @pytest.mark.parametrize("name", list_methods())
    def test_a_name_reads_back_as_itself(self, name):
        assert str(checked_method(name)) == name

    @pytest.mark.parametrize(
        ("text", "scope", "criterion", "schedule"),
        [
            ("global_macs_magnitude", "global", "macs_magnitude", "one_shot"),
            ("channels_global_lamp+iterative", "channels_global", "lamp", "iterative"),
            ("channels_magnitude", "channels", "magnitude", "one_shot"),
            ("uniform_taylor+gradual", "uniform", "taylor", "gradual"),
        ],
    )
    def test_parts(self, text, scope, criterion, schedule):
        method = checked_method(text)
        assert (method.scope, method.criterion, method.schedule) == (scope, criterion, schedule)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("globl_magnitude", "did you mean 'global_magnitude'"),
            ("global_magnitude+often", "allowed: one_shot, iterative, gradual"),
            ("channels_magnitude+gradual", "use iterative"),
            ("nm_magnitude+iterative", "use one_shot"),
            ("blocks_lamp", "unknown criterion 'blocks_lamp'"),
        ],
    )
    def test_what_is_wrong_is_said(self, text, said):
        with pytest.raises(ValueError, match=said.replace("(", r"\(")):
            checked_method(text)

    def test_the_schedule_of_the_route_holds_where_a_method_names_none(self):
        prune = {"criterion": ["global_magnitude", "uniform_lamp+one_shot"], "schedule": "gradual"}
        methods = config({"prune": prune}).routes.prune.methods
        assert [str(method) for method in methods] == ["global_magnitude+gradual", "uniform_lamp"]


class TestSchedules:
    def test_iterative_rounds_share_the_epochs_and_end_at_the_target(self):
        prune = {"criterion": "global_magnitude+iterative", "rounds": 3, "finetune": {"epochs": 7}}
        jobs = play({"prune": prune})
        pruned = [job for job in jobs.values() if job.phase == Phase.PRUNE]
        tuned = [job for job in jobs.values() if job.phase == Phase.FINETUNE]
        assert [job.work.recipe.epochs for job in tuned] == [2, 2, 3]
        targets = [job.work.rule.target_macs for job in pruned]
        assert targets == sorted(targets, reverse=True)
        assert targets[-1] == 400_000
        assert [job.start for job in pruned[1:]] == [WeightsOf(job.name) for job in tuned[:-1]]
        (evaluation,) = [job for job in jobs.values() if job.phase == Phase.EVALUATE]
        assert evaluation.start == WeightsOf(tuned[-1].name)

    def test_more_rounds_than_epochs_are_refused(self):
        with pytest.raises(InputError, match="3 rounds share 2 epochs"):
            config({"prune": {"criterion": "global_magnitude+iterative", "finetune": {"epochs": 2}}})

    def test_gradual_needs_an_epoch(self):
        with pytest.raises(InputError, match="at least 1 epoch"):
            config({"prune": {"criterion": "global_magnitude+gradual", "finetune": {"epochs": 0}}})

    @pytest.mark.parametrize("total", [1, 2, 3, 19, 100])
    def test_gradual_is_at_its_target_by_the_last_update_however_few(self, total):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 100, bias=False))
        pruner = GradualPruner((1, 8, 8), 6400, 640, "magnitude", "global")
        kept = []
        for done in range(total):
            masks = pruner.masks(model, done, total)
            if masks is not None:
                apply_masks(model, masks)
                kept.append(int((model[1].weight != 0).sum()))
        assert kept[-1] == 640
        assert kept == sorted(kept, reverse=True)

    def test_gradual_is_one_job_that_no_epoch_of_counts_as_within_the_target(self):
        jobs = play({"prune": {"criterion": "global_magnitude+gradual", "finetune": {"epochs": 2}}})
        (job,) = [job for job in jobs.values() if job.phase in (Phase.PRUNE, Phase.FINETUNE)]
        assert job.phase == Phase.FINETUNE
        assert job.work.gradually.end == 0.75
        assert job.counted_macs == job.work.gradually.start_macs > 400_000

    def test_each_method_is_delivered_beside_the_best(self):
        prune = {"criterion": ["global_magnitude", "uniform_lamp"], "deliver": "each"}
        jobs = play({"prune": prune})
        labels = sorted(job.work.label for job in jobs.values() if job.phase == Phase.EVALUATE)
        assert labels == ["prune", "prune:global_magnitude", "prune:uniform_lamp"]


def test_what_was_pruned_is_said_by_any_route_that_prunes():
    view = check_study(config({"prune": {}}), need_data=False)
    for phase, origin in ((Phase.PRETRAIN, "parent"), (Phase.RETRAIN, "network found by search")):
        queue = Queue()
        chain = PruneChain(view, view.config.routes.prunings["prune"], "mine", 0, queue)
        begun = JobId("prune", 0, None, "pretrain")
        chain.start(view.job(begun, phase, Train(view.pretraining), view.parent, 600_000), 600_000, 400_000)
        jobs = []
        while isinstance(job := queue.next(more=False), Job):
            jobs.append(job)
            outcome = Outcome(ok=True, metrics={"val_top1": 0.5, "macs": 400_000})
            queue.record(job, outcome)
            chain.tell(job, outcome)
        assert jobs[-1].work.description == f"{origin} pruned by global magnitude and fine-tuned"
        assert jobs[-1].work.parent == (view.parent_text if origin == "parent" else str(begun))


class TestControls:
    def test_epochs_of_the_controls(self):
        routes = {
            "prune": {"criterion": "channels_magnitude", "finetune": {"epochs": 3}},
            "scratch": {"family": False, "equal_epochs": True, "random_masks": False, "train": {"epochs": 1}},
        }
        parent = {"family": "fbnetv3_mini", "variant": "l", "pretrain": {"epochs": 4}}
        jobs = play(routes, parent=parent)
        epochs = {
            name: job.work.recipe.epochs
            for name, job in jobs.items()
            if job.route == "scratch" and isinstance(job.work, Train)
        }
        parent_macs = next(job.counted_macs for job in jobs.values() if job.phase == Phase.PRETRAIN)
        assert epochs == {
            "scratch-r0-t400000-pruned_structure-retrain": round(4 * parent_macs / 400_000 + 3),
            "scratch-r0-t400000-pruned_structure_equal_epochs-retrain": 4,
        }

    def test_the_structure_of_a_gradual_schedule_comes_from_its_end(self):
        routes = {"prune": {"criterion": "global_magnitude+gradual"}, "scratch": {"family": False}}
        jobs = play(routes)
        (control,) = [job for job in jobs.values() if isinstance(job.start, StructureOf)]
        assert jobs[control.source].phase == Phase.FINETUNE

    def test_random_masks_need_masks(self):
        routes = {"prune": {"criterion": "channels_magnitude"}, "scratch": {"family": False, "random_masks": True}}
        with pytest.raises(InputError, match="random_masks needs masks"):
            config(routes)


class TestEarlyStop:
    CURVES = ([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.3, 0.4, 0.5], [0.4, 0.5, 0.6])

    def first(self, curves, num_trials=8):
        batch = FirstBatch(num_epochs=3, min_tau=0.9)
        for trial, curve in enumerate(curves):
            batch.record(trial, Outcome(ok=True, metrics={"val_top1": curve[-1], "val_curve": curve}))
        return batch, batch.close(num_trials)

    def test_a_ranking_that_stands_from_the_first_epoch_on_stops_there(self):
        batch, values = self.first(self.CURVES)
        assert batch.stop_epoch == 1
        assert values == {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}

    def test_a_ranking_that_comes_last_stops_nothing(self):
        batch, values = self.first([[0.4, 0.4, 0.1], [0.3, 0.3, 0.2], [0.2, 0.2, 0.3], [0.1, 0.1, 0.4]])
        assert batch.stop_epoch is None
        assert values == {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}

    def test_where_nothing_comes_after_the_first_batch_nothing_is_stopped(self):
        batch, _ = self.first(self.CURVES, num_trials=4)
        assert batch.stop_epoch is None

    def test_failures_have_no_value_and_few_candidates_decide_nothing(self):
        batch = FirstBatch(3, 0.9)
        for trial, curve in enumerate(self.CURVES[:3]):
            batch.record(trial, Outcome(ok=True, metrics={"val_top1": curve[-1], "val_curve": curve}))
        batch.record(3, Outcome(ok=False))
        assert batch.close(8) == {0: 0.3, 1: 0.4, 2: 0.5, 3: None}
        assert batch.stop_epoch is None


SUPERNET = {"strategy": {"num_trials": 10}, "scored_per_job": 4, "supernet": {"epochs": 2}}


class TestWeightSharing:
    def test_one_supernet_then_scores_in_batches_then_finalists(self):
        jobs = play({"supernet": SUPERNET})
        phases = [job.phase for job in jobs.values()]
        assert phases[0] == Phase.SUPERNET
        assert [len(job.work.archs) for job in jobs.values() if isinstance(job.work, Score)] == [4, 1, 4, 1]
        assert sum(phase == Phase.RETRAIN for phase in phases) == 2
        assert all(job.target is None for job in jobs.values() if job.phase in (Phase.SUPERNET, Phase.SEARCH))

    def test_finalists_may_inherit(self):
        jobs = play({"supernet": SUPERNET | {"inherit": True}})
        retrains = [job for job in jobs.values() if job.phase == Phase.RETRAIN]
        assert {job.source for job in retrains} == {"supernet-r0-supernet"}
        assert all(job.start.arch for job in retrains)

    def test_the_route_takes_no_other_strategy(self):
        with pytest.raises(InputError, match="shares no weights"):
            config({"supernet": {"strategy": {"name": "random"}}})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """One small study with every kind of job, run in this process."""
    routes = {
        "prune": {
            "criterion": [
                "global_magnitude", "uniform_magnitude+gradual", "channels_magnitude+iterative", "se_blocks_magnitude",
            ],
            "rounds": 2, "deliver": "each", "finetune": {"epochs": 2},
        },
        "scratch": {"family": False, "equal_epochs": True, "random_masks": True, "train": {"epochs": 1}},
        "supernet": {"strategy": {"num_trials": 4}, "supernet": {"epochs": 1}, "retrain": {"epochs": 1}, "inherit": True},
        "search_then_prune": {
            "larger": 1.5, "prune": {"finetune": {"epochs": 1}},
            "search": {"strategy": {"num_trials": 2}, "candidate": {"epochs": 1}, "retrain": {"epochs": 1}},
        },
        "analysis": {"sparsities": [0.5, 0.95]},
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("methods") / "study"
    run(BASE | {"routes": routes}, folder)
    return folder


class TestStudy:
    def outcomes(self, study):
        records = read_ledger(study / "ledger").records
        jobs = {r["attempt"]: r for r in records if r["kind"] == Kind.ATTEMPT_STARTED}
        return {
            jobs[r["attempt"]]["job"]: r["outcome"] for r in records if r["kind"] == Kind.ATTEMPT_ENDED and r["outcome"]
        }

    def test_everything_delivered_is_within_the_target(self, study):
        delivered = {p.parent.name for p in study.glob("models/400000/*/0")}
        assert delivered == {
            "prune", "prune-global_magnitude", "prune-uniform_magnitude+gradual", "prune-channels_magnitude+iterative",
            "prune-se_blocks_magnitude", "scratch_pruned_structure", "scratch_pruned_structure_equal_epochs",
            "scratch_random_masks", "supernet", "search_then_prune",
        }  # fmt: skip
        outcomes, channels = self.outcomes(study), "prune-r0-t400000-channels_magnitude+iterative-finetune-2"
        macs = {name: o["macs"] for name, o in outcomes.items() if "-evaluate-" in name}
        assert all(0 < value <= 400_000 for value in macs.values())
        assert macs["prune-r0-t400000-global_magnitude-finetune-evaluate-prune-global_magnitude"] > 399_000
        assert macs[f"{channels}-evaluate-prune-channels_magnitude+iterative"] >= 396_000

    def test_gradual_ends_at_the_target_and_its_zeros_are_its_masks(self, study):
        paths = StudyFolder(study)
        job = "prune-r0-t400000-uniform_magnitude+gradual-finetune"
        weights, masks = load_tensors(paths.weights(job)), load_tensors(paths.masks(job))
        assert all(bool((weights[name][mask == 0] == 0).all()) for name, mask in masks.items())
        assert 396_000 < self.outcomes(study)[job]["macs"] <= 400_000

    def test_channels_are_gone_and_not_zero(self, study):
        job = "prune-r0-t400000-channels_magnitude+iterative-finetune-2"
        weights = load_tensors(StudyFolder(study).weights(job))
        spec = check_study(config({"prune": {}}), need_data=False).parent
        smaller = fit_to_state(build_network(spec), weights)
        report = count_macs(smaller, (1, 28, 28))
        assert 396_000 <= report.macs == report.sparse_macs <= 400_000

    def test_random_masks_keep_the_share_of_every_layer(self, study):
        paths = StudyFolder(study)
        masks = load_tensors(paths.masks("prune-r0-t400000-global_magnitude-prune"))
        shuffled = load_tensors(paths.masks("scratch-r0-t400000-random_masks-retrain"))
        assert {n: int(m.sum()) for n, m in masks.items()} == {n: int(m.sum()) for n, m in shuffled.items()}
        assert any(not torch.equal(m, shuffled[n]) for n, m in masks.items())

    def test_scores_and_scans(self, study):
        outcomes = self.outcomes(study)
        scores = [score for name, o in outcomes.items() if "-scores-" in name for score in o["scores"]]
        assert len(scores) == 4
        assert all(0 <= score <= 1 for score in scores)
        scan = outcomes["analysis-r0-scan"]
        assert {point["sparsity"] for point in scan["sensitivity"]} == {0.5, 0.95}
        assert len(scan["sparsity_curve"]) == 4
        assert scan["sparsity_curve"][0]["macs"] > scan["sparsity_curve"][1]["macs"]

    def test_running_it_again_does_nothing_anew(self, study):
        before = len(read_ledger(study / "ledger").records)
        held = stored_config(StudyFolder(study))
        with quick():
            run_study(held, study, Launch("inline"), Silent())
        kinds = [r["kind"] for r in read_ledger(study / "ledger").records[before:]]
        assert Kind.ATTEMPT_STARTED not in kinds

    def test_every_job_of_a_ledger_reads_back_as_itself(self, study):
        records = read_ledger(study / "ledger").records
        specs = {r["job"]: r["spec"] for r in records if r["kind"] == Kind.ATTEMPT_STARTED}
        jobs = {name: from_json(spec) for name, spec in specs.items()}
        assert {type(job.work) for job in jobs.values()} == {Train, TrainSupernet, Prune, Score, Scan, Deliver}
        assert {type(job.start) for job in jobs.values()} == {Fresh, WeightsOf, InheritedFrom, StructureOf}
        assert {name: json.loads(json.dumps(to_json(job))) for name, job in jobs.items()} == specs
