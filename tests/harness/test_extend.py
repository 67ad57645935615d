"""Which changes of the config a study's folder accepts, given what was paid for, and how it refuses the others."""

import copy
from dataclasses import asdict, replace

import pytest
import yaml
from some_jobs import job

from accounting.ledger.index import open_index
from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import LedgerWriter
from accounting.study.folder import StudyFolder
from accounting.words.methods import Method
from harness.config.study import parse_config
from harness.errors import InputError
from harness.jobs.spec import to_json
from harness.jobs.work import Prune, PruneRule
from harness.stored.content import Content, content_changes
from harness.stored.study_file import Standing, check_devices, check_folder, planned_of, write_study
from nas_baseline.spaces import load_space

DATA = {"fingerprint": "a1b2c3d4e5f6a7b8", "num_train": 500, "num_val": 50, "num_test": 100, "num_classes": 10}
BASE = {
    "name": "base",
    "dataset": {"name": "image_folder", "path": "/photos", "image_size": 32},
    "parent": {"timm": "resnet18", "checkpoint": "/w.pt"},
    "targets": ["0.6M", "0.4M"],
    "replicates": 3,
    "routes": {
        "search": {"strategy": {"name": "random", "num_trials": 2}},
        "prune": {"criterion": ["global_lamp"], "finetune": {"epochs": 2}},
        "scratch": {"family": False},
    },
}


class Study:
    """A folder with a study.yaml, in whose ledger a test records attempts."""

    def __init__(self, root):
        self.paths = StudyFolder(root)
        self.config = copy.deepcopy(BASE)
        open_index(self.paths.ledger)
        self.write(Content(DATA, "ab" * 32))

    def write(self, content):
        config = parse_config(self.config, "test")
        write_study(Standing(config, True, (), planned_of(config), {}, content), content, {}, self.paths)

    def begin(self, *jobs, session_on="cpu_core"):
        capacity = [{"device": "d", "device_kind": session_on, "amount": 1.0, "name": "d", "node": "n"}]
        with LedgerWriter(self.paths.ledger, "s", "driver") as ledger:
            ledger.append(Kind.SESSION_OPENED, session="s", study="base", capacity=capacity, environment={})
            for job in jobs:
                ledger.append(
                    Kind.ATTEMPT_STARTED, session="s", attempt=f"{job.name}#1", job=job.name, route=job.route,
                    phase=job.phase, target=job.target, replicate=job.replicate, allocation=None, devices={},
                    meter="wall_clock", network_macs=1, spec=to_json(job),
                )  # fmt: skip

    def check(self, **changes):
        return check_folder(parse_config(copy.deepcopy(self.config) | changes, "test"), self.paths)

    def refusal(self, **changes):
        with pytest.raises(InputError) as refused:
            self.check(**changes)
        return str(refused.value)


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path / "study")


PRETRAIN = job("pretrain", "prune", Phase.PRETRAIN)
PRUNE = job(
    "global_lamp-prune", "prune", Phase.PRUNE, 600_000, work=Prune(PruneRule(Method("global", "lamp"), 600_000))
)
FINETUNE = job("global_lamp-finetune", "prune", Phase.FINETUNE, 600_000, 1)
CANDIDATE = job("candidate-000", "search", Phase.SEARCH)


def routes(**changes):
    return {**copy.deepcopy(BASE["routes"]), **changes}


class TestWhatNothingWasPaidFor:
    def test_may_be_changed(self, study):
        found = study.check(seed=4, replicates=1, targets=["0.5M"], recipe={"lr": 0.3}, routes={"prune": {}})
        assert found.config.seed == 4
        assert {change.key for change in found.changes} >= {"seed", "recipe.lr", "replicates", "targets"}
        assert found.planned["replicates"] == 1, "nothing was begun as planned before"
        assert found.content == Content(), "other data is as good as none"

    def test_a_route_whose_jobs_are_still_to_come(self, study):
        study.begin(PRETRAIN)
        found = study.check(routes=routes(search={"strategy": {"num_trials": 9}}, scratch=None))
        assert found.config.routes.search.strategy.num_trials == 9
        assert found.searched == {}

    def test_a_fine_tuning_that_is_still_to_come(self, study):
        study.begin(PRETRAIN, PRUNE)
        assert study.check(routes=routes(prune={"criterion": "global_lamp", "finetune": {"epochs": 9}}))
        study.begin(FINETUNE)
        assert "routes.prune.finetune.epochs: 2 in the study, 9 given; keep 2" in study.refusal(
            routes=routes(prune={"criterion": "global_lamp", "finetune": {"epochs": 9}})
        )

    def test_replicates_and_targets_that_were_not_begun_are_taken_back(self, study):
        study.begin(PRETRAIN, PRUNE, FINETUNE)
        found = study.check(replicates=2, targets=["0.6M"])
        assert (found.config.replicates, found.config.targets) == (2, [600_000])


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"replicates": 1}, "replicates: 3 in the study, 1 given, and replicate 1 (from 0) was begun; name at least 2"),
            ({"targets": ["0.4M"]}, "targets: 0.6M MACs left out, for which attempts were paid; keep it"),
            ({"seed": 1}, "seed: 0 in the study, 1 given; keep 0"),
            ({"parent": {"timm": "resnet34", "checkpoint": "/w.pt"}}, 'parent.timm: "resnet18" in the study'),
            ({"parent": {"timm": "resnet18", "pretrain": {"epochs": 0}}}, 'parent.checkpoint: "/w.pt" in the study, none'),
            ({"dataset": BASE["dataset"] | {"image_size": 64}}, "dataset.image_size: 32 in the study, 64 given; keep 32"),
            ({"routes": routes(prune=None, scratch=None)}, "routes: prune left out"),
            ({"routes": routes(search={})}, "routes.search.strategy.num_trials: 2 in the study, 24 given; keep 2"),
            ({"routes": routes(prune={"finetune": {"epochs": 2}})}, "routes.prune.criterion: global_lamp left out"),
        ],
    )  # fmt: skip
    def test_what_was_paid_for_stays(self, study, changes, says):
        study.begin(PRETRAIN, PRUNE, FINETUNE, CANDIDATE)
        refusal = study.refusal(**changes)
        assert says in refusal
        assert "or start another study with --out" in refusal

    def test_a_section_in_the_place_of_a_word_is_one_line(self, study):
        study.begin(PRETRAIN, PRUNE, FINETUNE)
        (line,) = study.refusal(recipe={"distill": {"teacher": "parent"}}).splitlines()[1:]
        assert line.startswith('recipe.distill: "off" in the study, {"teacher": "parent"')
        assert 'given; keep "off", or start another study with --out' in line

    def test_a_place_whose_content_is_not_on_record(self, study):
        study.write(Content())
        study.begin(PRETRAIN)
        dataset = BASE["dataset"] | {"path": "/moved"}
        assert 'keep "/photos" for one run, after which the study knows' in study.refusal(dataset=dataset)


class TestTaken:
    def test_what_only_adds(self, study):
        study.begin(PRETRAIN, PRUNE, FINETUNE, CANDIDATE)
        prune = {"criterion": ["uniform_lamp", "global_lamp+one_shot"], "schedule": "iterative", "rounds": 2}
        added = routes(prune=prune | {"finetune": {"epochs": 2}}, analysis={}, scratch={"family": False})
        found = study.check(replicates=5, targets=["0.7M", "0.6M", "0.4M"], name="n", routes=added)
        methods = [str(method) for method in found.config.routes.prune.methods]
        assert methods == ["global_lamp", "uniform_lamp+iterative"], "the controls keep the structure of the first one"
        assert asdict(found.searched["search"]) == {"first": (600_000, 400_000), "added": (700_000,)}
        assert found.planned["replicates"] == 3

    def test_the_family_s_network_with_epochs_of_its_own_beside_pruned_structures(self, study):
        study.config["parent"] = {"family": "fbnetv3_mini", "variant": "l"}
        study.write(Content(DATA))
        study.begin(PRETRAIN, PRUNE, FINETUNE, job("pruned_structure-retrain", "scratch", Phase.RETRAIN, 600_000))
        with_family = routes(scratch={"train": {"epochs": 4}})
        assert study.check(routes=with_family).config.routes.scratch.train.epochs == 4
        study.begin(job("family_s-retrain", "scratch", Phase.RETRAIN, 600_000))
        assert "routes.scratch.train.epochs: none in the study, 4 given" in study.refusal(routes=with_family)
        assert "routes.scratch.train.lr" in study.refusal(
            routes=routes(scratch={"family": False, "train": {"lr": 0.3}})
        )

    @pytest.mark.parametrize(
        "finetune", [{"lr": 0.1}, {"momentum": 0.9, "weight_decay": 1e-5}, {"distill": "off", "tune": "off"}]
    )
    def test_what_holds_anyway_may_be_written_or_left_out(self, study, finetune):
        study.config["recipe"] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-5}
        study.write(Content(DATA, "ab" * 32))
        study.begin(PRETRAIN, PRUNE, FINETUNE)
        said = routes(prune={"criterion": ["global_lamp"], "finetune": {"epochs": 2, **finetune}})
        assert study.check(routes=said).changes == ()
        study.config["routes"] = said
        study.write(Content(DATA, "ab" * 32))
        assert study.check(routes=routes()).changes == ()
        other = routes(prune={"criterion": ["global_lamp"], "finetune": {"epochs": 2, "lr": 0.2}})
        assert "routes.prune.finetune.lr: " in study.refusal(routes=other)

    def test_another_place_of_data_and_weights(self, study):
        study.begin(PRETRAIN)
        dataset, parent = BASE["dataset"] | {"path": "/moved"}, BASE["parent"] | {"checkpoint": "/moved.pt"}
        found = study.check(dataset=dataset, parent=parent)
        assert found.content.data == DATA, "to be compared before anything is run"

    def test_a_count_that_the_data_gives_as_well(self, study):
        study.begin(PRETRAIN)
        assert study.check(dataset=BASE["dataset"] | {"num_classes": 10, "num_train": 500})
        (line,) = content_changes(Content(DATA), Content(DATA | {"num_classes": 11}))
        assert "num_classes 10 then, 11 now" in line
        study.write(Content())
        assert "dataset.num_classes: none in the study, 10 given" in study.refusal(
            dataset=BASE["dataset"] | {"num_classes": 10}
        )

    def test_another_place_of_a_search_space(self, study, tmp_path):
        first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
        first.write_text(yaml.safe_dump(load_space("fbnetv3_mini").data))
        second.write_text(first.read_text())
        study.config["routes"]["search"]["space"] = str(first)
        study.write(Content(DATA, "ab" * 32))
        study.begin(CANDIDATE)
        moved = routes(search={**BASE["routes"]["search"], "space": str(second)})
        assert study.check(routes=moved)
        second.write_text(yaml.safe_dump(load_space("fbnetv3_mini").data | {"width_divisor": 4}))
        assert "routes.search.space" in study.refusal(routes=moved)

    def test_a_study_of_an_older_version(self, study):
        document = yaml.safe_load(study.paths.config.read_text())
        for key in ("searched", "data", "checkpoint_sha256"):
            del document["facts"][key]
        study.paths.config.write_text(yaml.safe_dump(document))
        study.begin(PRETRAIN, CANDIDATE)
        found = study.check(targets=["0.6M", "0.5M", "0.4M"])
        assert asdict(found.searched["search"]) == {"first": (600_000, 400_000), "added": (500_000,)}
        assert found.planned["targets"] == [600_000, 400_000]
        assert found.content == Content()


class TestDevices:
    @pytest.mark.parametrize(("then", "now", "says"), [("cpu_core", "cuda", "cpu"), ("cuda", "cpu_core", "cuda")])
    def test_hours_of_two_kinds_are_never_added_up(self, study, then, now, says):
        study.begin(PRETRAIN, session_on=then)
        standing = study.check(replicates=5)
        check_devices(standing, [{"device_kind": then}])
        with pytest.raises(InputError, match=f"set it to {says}.*or start another study with --out"):
            check_devices(standing, [{"device_kind": now}])

    def test_another_kind_is_fine_before_anything_was_held(self, study):
        check_devices(study.check(), [{"device_kind": "cuda"}])


class TestContent:
    def test_other_data_is_named_with_what_changed(self):
        then, now = Content(DATA), Content(DATA | {"fingerprint": "ffff0000ffff0000", "num_train": 498})
        (line,) = content_changes(then, now)
        assert "fingerprint a1b2c3d4e5f6 then, ffff0000ffff now; num_train 500 then, 498 now" in line
        assert "restore it, or start another study with --out" in line

    def test_other_weights(self):
        (line,) = content_changes(Content(DATA, "ab" * 32), Content(DATA, "cd" * 32))
        assert line.startswith("parent.checkpoint: its content differs")

    def test_the_same_or_not_on_record_is_fine(self):
        assert content_changes(Content(DATA, "ab"), Content(copy.deepcopy(DATA), "ab")) == []
        assert content_changes(Content(), replace(Content(DATA, "ab"))) == []
