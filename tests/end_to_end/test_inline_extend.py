"""A finished study grows into a larger one in its folder: paid work is replayed and never run again."""

import json
import shutil
from collections import Counter

import numpy
import pytest
import torch
import yaml
from inline_runs import models, quick, records, run
from PIL import Image

from accounting.audit.audit import audit
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.data import fashion_mnist_mini
from harness.errors import InputError, StudyFailed
from harness.training.updates import Diverged
from harness.work import train as execute

BEGUN = {
    "targets": ["0.6M"],
    "replicates": 2,
    "routes": {
        "search": {
            "strategy": {"name": "random", "num_trials": 2}, "candidate": {"epochs": 1}, "retrain": {"epochs": 1},
            "num_predicted": 0, "num_seen": 1,
        },
        "prune": {"finetune": {"epochs": 1, "lr": 0.05}},
    },
}  # fmt: skip
ADDED = "uniform_magnitude"


def attempts(folder):
    return Counter(record["job"] for record in records(folder, Kind.ATTEMPT_STARTED))


@pytest.fixture(scope="module")
def begun(tmp_path_factory, tiny_text):
    """A finished study of two replicates and one target, and its config. Do not change it; copy it."""
    config = yaml.safe_load(tiny_text) | json.loads(json.dumps(BEGUN))
    config["dataset"]["num_train"] = 100
    config["parent"]["pretrain"]["epochs"] = 1
    folder = tmp_path_factory.mktemp("extend") / "begun"
    run(config, folder)
    return folder, config


@pytest.fixture
def study(begun, tmp_path):
    """A copy of the finished study in another folder, and its config."""
    folder, config = begun
    return shutil.copytree(folder, tmp_path / "moved"), json.loads(json.dumps(config))


class TestLarger:
    def test_replicates_targets_criteria_and_controls_repeat_no_attempt(self, study):
        folder, config = study
        before = attempts(folder)
        config |= {"replicates": 3, "targets": ["0.6M", "0.4M"]}
        config["routes"]["prune"]["criterion"] = [ADDED, "global_magnitude"]
        config["routes"]["scratch"] = {"family": False, "train": {"epochs": 1}}
        run(config, folder)
        after = attempts(folder)
        assert max(after.values()) == 1, "no attempt is repeated"
        assert set(before) < set(after)
        assert {name for name in after if "pretrain" in name} == {f"prune-r{r}-pretrain" for r in range(3)}
        labels = ("search", "prune", "scratch_pruned_structure")
        wanted = {(str(t), label, str(r)) for t in (600_000, 400_000) for label in labels for r in range(3)}
        assert {path.parts[-3:] for path in models(folder)} == wanted
        assert audit(read_ledger(folder / "ledger").records).ok

    def test_twice_and_then_as_it_is(self, study):
        folder, config = study
        run(config | {"targets": ["0.6M", "0.4M"]}, folder)
        run(config | {"targets": ["0.7M", "0.6M", "0.4M"], "name": "other"}, folder)
        last = attempts(folder)
        run(config | {"targets": ["0.4M", "0.6M", "0.7M"], "name": "other"}, folder)
        assert attempts(folder) == last
        assert max(last.values()) == 1
        stored = yaml.safe_load((folder / "study.yaml").read_text())
        assert stored["facts"]["searched"] == {"search": {"first": [600_000], "added": [400_000, 700_000]}}
        assert [r["changes"][0]["key"] for r in records(folder, Kind.STUDY_EXTENDED)] == ["targets", "name"]
        assert {r["planned"]["replicates"] for r in records(folder, Kind.SESSION_OPENED)} == {2}
        assert [r["planned"]["targets"] for r in records(folder, Kind.SESSION_OPENED)] == [[600_000]] * 4

    def test_as_planned_then_what_is_left_then_nothing(self, study, write_config, command):
        folder, config = study
        larger = write_config(config | {"replicates": 3})
        code, out, _ = command("plan", larger, "--out", folder, "--json")
        left = json.loads(out)
        assert code == 0
        assert left["num_done"] == sum(attempts(folder).values())
        assert left["num_jobs"] * 2 == left["num_done"], "one replicate of three"
        with quick():
            assert command("run", larger, "--out", folder, "--backend", "inline")[0] == 0
        again = json.loads(command("plan", larger, "--out", folder, "--json")[1])
        assert (again["num_jobs"], again["num_done"]) == (0, left["num_done"] + left["num_jobs"])

    def test_its_own_config_continues_it_from_any_folder(self, study, tmp_path, command, monkeypatch):
        folder, _ = study
        before, elsewhere = attempts(folder), tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        with quick():
            assert command("run", folder / "study.yaml", "--backend", "inline")[0] == 0
        assert attempts(folder) == before
        assert not list(elsewhere.iterdir())


class TestReport:
    def test_says_how_the_study_grew_and_that_results_had_been_seen(self, study):
        folder, config = study
        run(config | {"replicates": 3, "targets": ["0.6M", "0.4M"]}, folder)
        told = "Planned with 2 replicates and 1 target; extended to 3 replicates and 2 targets after results were seen"
        assert told in (folder / "report" / "index.html").read_text()
        answers = json.loads((folder / "report" / "answer.json").read_text())["answers"]
        for given in answers:
            assert any(told in note and "corrected for looking in between" in note for note in given["notes"])
            grown = {entry["key"]: (entry["old"], entry["new"]) for entry in given["extensions"]}
            assert grown == {"replicates": (2, 3), "targets": ([600_000], [600_000, 400_000])}
            assert {entry["networks_before"] for entry in given["extensions"]} == {4}

    def test_a_study_as_planned_says_nothing(self, begun):
        folder, _ = begun
        assert "extended" not in json.dumps(
            json.loads((folder / "report" / "answer.json").read_text())["answers"][0]["notes"]
        )
        assert "Planned with" not in (folder / "report" / "index.html").read_text()


class TestContent:
    @pytest.fixture
    def prints(self, monkeypatch):
        """The fingerprint of the data, which a test can change."""
        now = {"fingerprint": "a1b2c3d4e5f6a7b8"}
        monkeypatch.setattr(fashion_mnist_mini.Dataset, "fingerprint", lambda _: now["fingerprint"], raising=False)
        return now

    def test_changed_data_is_refused_before_anything_is_written(self, begun, study, prints, snapshot, caplog):
        folder, config = study
        document = yaml.safe_load((folder / "study.yaml").read_text())
        (folder / "study.yaml").write_text(yaml.safe_dump(document | {"facts": document["facts"] | {"data": None}}))
        run(config, folder)
        assert "its content was noted now" in caplog.text, "a study of an older version, which did not say"
        assert (
            yaml.safe_load((folder / "study.yaml").read_text())["facts"]["data"]["fingerprint"] == prints["fingerprint"]
        )
        before = snapshot(folder)
        prints["fingerprint"] = "ffff000011112222"
        with pytest.raises(InputError, match=r"fingerprint a1b2c3d4e5f6 then, ffff00001111 now"):
            run(config, folder)
        assert snapshot(folder) == before

    def test_a_folder_of_photos_that_was_moved_is_taken_and_another_picture_refused(self, tiny, tmp_path):
        random = numpy.random.default_rng(0)
        for part, count in (("train", 12), ("val", 4)):
            for name in ("cat", "dog"):
                (folder := tmp_path / "photos" / part / name).mkdir(parents=True)
                for i in range(count):
                    Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype="uint8")).save(folder / f"{i}.png")
        tiny |= {"targets": ["0.6M"], "routes": {"prune": {"finetune": {"epochs": 1}}}, "name": "photos"}
        tiny |= {"recipe": {"batch_size": 8, "augment": "none"}, "parent": tiny["parent"] | {"pretrain": {"epochs": 1}}}
        tiny["dataset"] = {"name": "image_folder", "path": str(tmp_path / "photos"), "image_size": 32, "num_workers": 0}
        run(tiny, tmp_path / "study")
        (tmp_path / "photos").rename(tmp_path / "moved")
        (tmp_path / "study").rename(tmp_path / "study too")
        tiny["dataset"] |= {"path": str(tmp_path / "moved"), "num_classes": 2}
        tiny["targets"] = ["0.6M", "0.5M"]
        run(tiny, tmp_path / "study too")
        assert max(attempts(tmp_path / "study too").values()) == 1
        assert len(models(tmp_path / "study too")) == 2
        shutil.copy(tmp_path / "moved/train/cat/1.png", tmp_path / "moved/train/cat/0.png")
        with pytest.raises(InputError, match=r"dataset: its content differs from when the study began \(fingerprint"):
            run(tiny, tmp_path / "study too")

    def test_replaced_weights_are_refused_and_moved_ones_taken(self, tiny, tmp_path):
        from harness.models.build import build_network
        from nas_baseline.spaces.families import network_spec

        weights, moved = tmp_path / "weights.pt", tmp_path / "moved.pt"
        torch.save(build_network(network_spec("fbnetv3_mini", "l", 1, 10)).state_dict(), weights)
        tiny |= {"targets": ["0.6M"], "routes": {"prune": {"finetune": {"epochs": 1}}}}
        tiny["parent"] = {"family": "fbnetv3_mini", "variant": "l", "checkpoint": str(weights)}
        run(tiny, tmp_path / "study")
        shutil.copy(weights, moved)
        tiny["parent"]["checkpoint"] = str(moved)
        run(tiny, tmp_path / "study")
        assert max(attempts(tmp_path / "study").values()) == 1
        torch.save(build_network(network_spec("fbnetv3_mini", "l", 1, 10)).state_dict(), moved)
        with pytest.raises(
            InputError, match=r"parent.checkpoint: its content differs from when the study began \(SHA-256"
        ):
            run(tiny, tmp_path / "study")


class TestUnfinished:
    def test_a_study_that_was_cut_short_goes_on_as_the_larger_one(self, begun, tmp_path, monkeypatch):
        _, config = begun
        plain, calls = execute.train, []

        def cut(*args, **kwargs):
            calls.append(1)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return plain(*args, **kwargs)

        monkeypatch.setattr(execute, "train", cut)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "study")
        run(config | {"targets": ["0.6M", "0.4M"]}, tmp_path / "study")
        counts = attempts(tmp_path / "study")
        assert sorted(counts.values())[-2:] == [1, 2], "only what was cut off is tried again"
        assert len(models(tmp_path / "study")) == 8

    def test_after_a_spent_budget_and_a_failure(self, begun, tmp_path, monkeypatch):
        plain = execute.train

        def diverge(*place, **named):
            if named["masks"]:  # a fine-tuning
                raise Diverged("the training loss became nan")
            return plain(*place, **named)

        monkeypatch.setattr(execute, "train", diverge)
        _, config = begun
        config = json.loads(json.dumps(config)) | {"replicates": 1, "budget": {"search": "0.001 s"}}
        config["routes"]["prune"] = {"criterion": ["global_magnitude"], "finetune": {"epochs": 1}}
        with pytest.raises(StudyFailed):
            run(config, tmp_path / "study")
        before = attempts(tmp_path / "study")
        config["budget"] = {}
        with pytest.raises(StudyFailed, match="became"):
            run(config | {"targets": ["0.6M", "0.4M"]}, tmp_path / "study")
        after = attempts(tmp_path / "study")
        assert all(after[name] == count for name, count in before.items()), "a job that diverged is not tried again"
        assert {path.parts[-3:-1] for path in models(tmp_path / "study")} == {
            ("600000", "search"),
            ("400000", "search"),
        }


class TestRefused:
    def test_one_line_for_each_difference_with_old_and_new_and_the_way_out(self, study, snapshot):
        folder, config = study
        before = snapshot(folder)
        config |= {"seed": 7, "replicates": 1, "targets": ["0.5M"]}
        config["recipe"]["lr"] = 0.06
        del config["routes"]["search"]
        with pytest.raises(InputError) as refused:
            run(config, folder)
        lines = str(refused.value).splitlines()[1:]
        assert len(lines) == 5
        assert all("study with --out" in line for line in lines)
        text = "\n".join(lines)
        for part in (
            "0.05 in the study, 0.06 given",
            "seed: 0 in the study, 7",
            "2 in the study, 1 given",
            "0.6M MACs",
        ):
            assert part in text
        assert snapshot(folder) == before
