"""The edit that `answer` advises is one that `run` accepts in the same folder, and then there is an answer."""

import copy

import pytest
import yaml
from inline_runs import records, run

from accounting.ledger.records import Kind
from harness.config.study import load_configs
from harness.errors import InputError
from reports.answers.as_json import to_json
from reports.answers.find import answer

ROUTES = {
    "search": {
        "strategy": {"name": "random", "num_trials": 2}, "candidate": {"epochs": 1}, "retrain": {"epochs": 1},
        "num_predicted": 0, "num_seen": 1,
    },
    "prune": {"finetune": {"epochs": 1}},
}  # fmt: skip


@pytest.fixture
def small(tiny):
    tiny |= {"routes": copy.deepcopy(ROUTES), "targets": ["0.6M"]}
    tiny["dataset"]["num_train"] = 100
    tiny["recipe"]["epochs"] = 1
    tiny["parent"]["pretrain"]["epochs"] = 1
    return tiny


def edited(config, change):
    """The config with the advised lines put in."""
    config = copy.deepcopy(config)
    for key, value in yaml.safe_load(change).items():
        config[key] = {**config[key], **value} if isinstance(value, dict) and key in config else value
    return config


def advised(folder, macs):
    found = to_json(answer(folder, macs))
    assert found["status"] == "refused"
    assert found["config_change"]
    return found["config_change"]


def assert_a_file_may_say_it(config, write_config):
    """A config file is checked for more than a mapping is, for example for keys without a value."""
    (study,) = load_configs(write_config(config))
    assert study.budget.model_dump(exclude_none=True)


@pytest.mark.parametrize("macs", [500_000, 650_001])
def test_a_target_outside_is_added(small, tmp_path, macs):
    run(small, tmp_path)
    run(edited(small, advised(tmp_path, macs)), tmp_path)
    found = to_json(answer(tmp_path, macs))
    assert found["status"] == "measured"
    assert found["extensions"][0]["key"] == "targets"
    assert any("extended to 2 targets after results were seen" in note for note in found["notes"])
    names = [record["job"] for record in records(tmp_path, Kind.ATTEMPT_STARTED)]
    assert len(names) == len(set(names))


def test_a_route_that_is_missing_is_added(small, tmp_path):
    del small["routes"]["search"]
    run(small, tmp_path)
    config = edited(small, advised(tmp_path, 600_000))
    config["routes"]["search"] = ROUTES["search"]
    run(config, tmp_path)
    assert to_json(answer(tmp_path, 600_000))["status"] == "measured"


def test_a_budget_that_is_spent_is_raised(small, tmp_path, write_config):
    small["budget"] = {"prune": "0.001 s"}
    folder = tmp_path / "study"
    _run_and_ignore_its_ending(small, folder)
    larger = edited(small, advised(folder, 600_000))
    assert_a_file_may_say_it(larger, write_config)
    run(larger | {"budget": {}}, folder)
    assert to_json(answer(folder, 600_000))["status"] == "measured"


def test_an_equal_budget_that_is_spent_is_raised_for_the_routes_that_lack_networks(small, tmp_path, write_config):
    small["budget"] = {"equal": "0.001 s"}
    folder = tmp_path / "study"
    _run_and_ignore_its_ending(small, folder)
    larger = edited(small, advised(folder, 600_000))
    assert_a_file_may_say_it(larger, write_config)
    larger["budget"] = {route: "10 h" if route in larger["budget"] else "0.001 s" for route in ROUTES}
    run(larger, folder)
    assert to_json(answer(folder, 600_000))["status"] == "measured"


def test_a_target_outside_is_added_to_one_given_as_a_share(small, tmp_path):
    small["targets"] = ["63%"]
    run(small, tmp_path)
    run(edited(small, advised(tmp_path, 500_000)), tmp_path)
    assert to_json(answer(tmp_path, 500_000))["status"] == "measured"
    names = [record["job"] for record in records(tmp_path, Kind.ATTEMPT_STARTED)]
    assert len(names) == len(set(names))


def test_a_larger_parent_is_said_to_be_another_study(small, tmp_path):
    run(small, tmp_path)
    assert "another study (--out)" in advised(tmp_path, 900_000_000)
    with pytest.raises(InputError, match="study with --out"):
        run(small | {"parent": {"family": "fbnetv3_mini", "variant": "s"}, "targets": ["0.1M"]}, tmp_path)


def _run_and_ignore_its_ending(config, folder):
    """With a budget that leaves a planned network undelivered, the run may end as done or as unfinished."""
    from harness.errors import StudyFailed

    try:
        run(config, folder)
    except StudyFailed:
        return
