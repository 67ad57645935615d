"""A finished study that becomes a larger one in its folder: what is paid for is told again and never run again."""

import json
import shutil
from collections import Counter

import pytest
import yaml
from inline_runs import models, records, run

from accounting.audit import audit
from accounting.ledger import read_ledger
from accounting.records import Kind
from harness.errors import InputError

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
def begun(tmp_path_factory):
    """A finished study of two replicates and one target, not to be changed (copy it), with its config."""
    from conftest import TINY

    config = json.loads(json.dumps(TINY)) | json.loads(json.dumps(BEGUN))
    config["dataset"]["num_train"] = 100
    config["parent"]["pretrain"]["epochs"] = 1
    folder = tmp_path_factory.mktemp("extend") / "begun"
    run(config, folder)
    return folder, config


@pytest.fixture
def study(begun, tmp_path):
    """A copy of the finished study elsewhere, and its config."""
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
        assert stored["searched"] == {"search": {"first": [600_000], "added": [400_000, 700_000]}}
        assert [r["changes"][0]["key"] for r in records(folder, Kind.STUDY_EXTENDED)] == ["targets", "name"]
        assert {r["planned"]["replicates"] for r in records(folder, Kind.SESSION_OPENED)} == {2}
        assert [r["planned"]["targets"] for r in records(folder, Kind.SESSION_OPENED)] == [[600_000]] * 4


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
            "600,000 MACs",
        ):
            assert part in text
        assert snapshot(folder) == before
