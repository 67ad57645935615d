"""A parent whose weights are a file of a package is kept by that name, so that a study means the same wherever that is."""

import copy

import yaml
from inline_runs import run

from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.models.build import checkpoint_path
from reports import load
from reports.page.compared import parent_text

GIVEN = "package:harness/data/fbnetv3_mini_l.safetensors"


def with_parent(tiny, checkpoint):
    config = copy.deepcopy(tiny)
    config["parent"] = {"family": "fbnetv3_mini", "variant": "l", "checkpoint": checkpoint}
    config["targets"] = ["0.6M"]
    config["routes"] = {"prune": {"criterion": "global_magnitude", "finetune": {"epochs": 1}}}
    return config


def attempts(folder):
    return [r["attempt"] for r in read_ledger(folder / "ledger").records if r["kind"] == Kind.ATTEMPT_STARTED]


def test_a_study_keeps_the_name_and_continues_by_it(tiny, tmp_path):
    folder = tmp_path / "study"
    run(with_parent(tiny, GIVEN), folder)
    assert yaml.safe_load((folder / "study.yaml").read_text())["parent"]["checkpoint"] == GIVEN
    assert f"from the checkpoint {GIVEN}" in parent_text(load(folder))
    before = attempts(folder)
    run(with_parent(tiny, GIVEN), folder)
    assert attempts(folder) == before


def test_a_study_that_kept_a_path_continues_by_the_name(tiny, tmp_path):
    folder = tmp_path / "study"
    run(with_parent(tiny, str(checkpoint_path(GIVEN))), folder)
    before = attempts(folder)
    run(with_parent(tiny, GIVEN) | {"replicates": 2}, folder)
    assert attempts(folder)[: len(before)] == before
    assert all("-r1" in attempt for attempt in attempts(folder)[len(before) :])
