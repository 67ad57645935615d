"""The config: what may be left out, what is resolved, and that the resolved config reads back the same."""

from pathlib import Path

import pytest
import yaml

from accounting.study.facts import StudyDocument
from accounting.study.folder import StudyFolder
from harness.config.errors import keys_of
from harness.config.recipe import Recipe, RecipeOverride
from harness.config.study import StudyConfig, load_configs, parse_config
from harness.errors import InputError
from harness.stored.study_file import absolute, stored_config
from harness.stored.written import runnable

MINIMAL = {
    "name": "m",
    "dataset": {"name": "fashion_mnist_mini"},
    "parent": {"family": "fbnetv3_mini", "variant": "l"},
    "targets": ["0.4M", "0.6M"],
    "routes": {"search": {}, "prune": {}, "scratch": {}},
}
STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


def as_run(path):
    """The studies of a file as they are when they are written: with targets in MACs."""
    for config in load_configs(path):
        shares = [percent * 10_000 for percent in config.target_percents]
        yield config.model_copy(update={"targets": [*config.targets, *map(int, shares)], "target_percents": []})


def test_what_is_left_out_has_a_default():
    config = parse_config(MINIMAL, "test")
    assert config.replicates == 3
    assert config.seed == 0
    assert config.routes.search.strategy.name == "predictor_evolution"
    assert config.routes.prune.criterion == ["global_magnitude"]
    assert config.routes.prune.schedule == "one_shot"
    assert config.routes.scratch.pruned_structure
    assert config.budget.search is None
    assert config.resources.device == "auto"


def test_targets_are_whole_macs_largest_first():
    assert parse_config(MINIMAL, "test").targets == [600_000, 400_000]


def test_a_route_left_out_does_not_run():
    routes = parse_config(MINIMAL | {"routes": {"prune": {}}}, "test").routes
    assert routes.prune is not None
    assert routes.search is None
    assert routes.scratch is None


def test_budgets_are_hours():
    config = parse_config(MINIMAL | {"budget": {"search": "30 min", "prune": "2 d"}}, "test")
    assert (config.budget.search, config.budget.prune, config.budget.scratch) == (0.5, 48, None)


def test_an_override_changes_what_it_names():
    base = Recipe(epochs=9, lr=0.3, weight_decay=0.5)
    merged = RecipeOverride(epochs=0, weight_decay=0.0).over(base)
    assert (merged.epochs, merged.lr, merged.weight_decay) == (0, 0.3, 0.0)


def test_an_override_has_every_field_of_a_recipe_with_its_limits():
    assert set(RecipeOverride.model_fields) == set(Recipe.model_fields)
    assert all(field.default is None for field in RecipeOverride.model_fields.values())
    assert limits(RecipeOverride) == limits(Recipe)
    assert limits(Recipe)["batch_size"] == [{"type": "integer", "minimum": 2, "maximum": 1_000_000}]


def limits(section):
    """By key, what its value may be besides null."""
    found = {}
    for name, said in section.model_json_schema()["properties"].items():
        kinds = said.get("anyOf") or [{k: v for k, v in said.items() if k not in ("default", "description", "title")}]
        found[name] = [kind for kind in kinds if kind != {"type": "null"}]
    return found


@pytest.mark.parametrize("section", [Recipe, RecipeOverride])
def test_a_whole_number_may_be_written_with_an_exponent(section):
    assert section(batch_size=1e2).batch_size == 100
    with pytest.raises(ValueError, match="valid integer"):
        section(batch_size=1.5)


def test_a_config_cannot_be_changed():
    config = parse_config(MINIMAL, "test")
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_resolved_config_reads_back_the_same(path, tmp_path):
    for config in as_run(path):
        (tmp_path / "study.yaml").write_text(yaml.safe_dump({"study": config.model_dump(mode="json")}))
        assert stored_config(StudyFolder(tmp_path)) == config


def test_an_equal_budget_is_that_of_each_route_without_its_own():
    routes = {"search": {}, "prune": {}, "scratch": {}}
    config = parse_config(MINIMAL | {"routes": routes, "budget": {"equal": "2 h", "scratch": "30 min"}}, "test")
    assert {route: getattr(config.budget, route) for route in routes} == {"search": 2, "prune": 2, "scratch": 0.5}
    assert config.budget.supernet is None
    assert config.budget.equal is None
    raised = parse_config(
        MINIMAL | {"routes": routes, "budget": {"equal": "2 h"} | dict.fromkeys(routes, "1 h")}, "test"
    )
    assert {getattr(raised.budget, route) for route in routes} == {1}, "as advice raises the budget of each"
    with pytest.raises(InputError, match=r"budget.equal: .*30 min"):
        parse_config(MINIMAL | {"budget": {"equal": 2}}, "test")


def test_a_resolved_config_with_budgets_reads_back_the_same(tmp_path):
    config = parse_config(MINIMAL | {"budget": {"search": "0.25 h", "prune": "2 h"}}, "test")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"study": config.model_dump(mode="json")}))
    assert stored_config(StudyFolder(tmp_path)) == config


def test_one_file_may_hold_several_studies(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump_all([MINIMAL, MINIMAL | {"name": "n"}]))
    assert [config.name for config in load_configs(path)] == ["m", "n"]


def test_macs_under_target_are_pointed_to_targets():
    with pytest.raises(InputError, match="did you mean 'targets'"):
        parse_config({k: v for k, v in MINIMAL.items() if k != "targets"} | {"target": "0.5M"}, "test")


@pytest.mark.parametrize(("near", "far"), [("replicate", "replicates"), ("routs", "routes"), ("data_set", "dataset")])
def test_the_nearest_key_is_named_and_all_are_listed(near, far):
    with pytest.raises(InputError, match=f"did you mean '{far}'") as caught:
        parse_config(MINIMAL | {near: 1}, "test")
    assert all(key in str(caught.value) for key in keys_of(StudyConfig))


def test_a_key_like_no_other_gets_no_suggestion():
    with pytest.raises(InputError) as caught:
        parse_config(MINIMAL | {"xyzzy": 1}, "test")
    assert "did you mean" not in str(caught.value)


def test_allowed_keys_are_those_of_the_place():
    with pytest.raises(InputError) as caught:
        parse_config(MINIMAL | {"routes": {"search": {"strategy": {"nom": "x"}}}}, "test")
    assert str(caught.value).endswith("allowed here: name, num_trials, options")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_yaml_is_a_config_that_run_reads(path, tmp_path):
    for number, config in enumerate(as_run(path)):
        facts = {"data": None, "environment": {"python": "3.13"}}
        written = tmp_path / f"{number}" / "study.yaml"
        written.parent.mkdir()
        written.write_text(StudyDocument(runnable(absolute(config)), facts).text())
        assert load_configs(written) == [absolute(config)]
        assert stored_config(StudyFolder(written.parent)) == absolute(config)


def test_budgets_in_a_study_yaml_are_hours_to_the_last_bit(tmp_path):
    config = parse_config(MINIMAL | {"budget": {"search": "10 min", "prune": "7 s"}}, "test")
    (tmp_path / "study.yaml").write_text(StudyDocument(runnable(config), {}).text())
    assert yaml.safe_load((tmp_path / "study.yaml").read_text())["budget"]["search"] == "0.16666666666666666 h"
    assert load_configs(tmp_path / "study.yaml") == [config] == [stored_config(StudyFolder(tmp_path))]
