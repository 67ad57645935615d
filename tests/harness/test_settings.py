"""``--set key=value`` is treated like a line of the config: read, checked and refused under its own name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.config.study import load_configs
from harness.errors import InputError

QUICKSTART = Path(__file__).parents[2] / "studies/quickstart_v1.yaml"
TWO = """\
name: {}
dataset: {{name: fashion_mnist_mini}}
parent: {{family: fbnetv3_mini, variant: l}}
targets: [0.5M]
routes: {{prune: {{}}}}
"""


def with_set(*settings: str):
    return load_configs(QUICKSTART, settings)[0]


def refusal(*settings: str) -> str:
    with pytest.raises(InputError) as refused:
        with_set(*settings)
    return str(refused.value)


class TestValues:
    def test_a_value_deep_in_the_config(self):
        assert with_set("routes.prune.finetune.lr=0.05").routes.prune.finetune.lr == 0.05
        assert with_set("routes.prune.finetune.lr=0.05").routes.prune.finetune.epochs == 4, "its neighbours stay"

    def test_values_are_yaml(self):
        study = with_set("targets=[0.5M, 400k]", "replicates=1e1", "recipe.optimizer=adamw", "budget.prune=1h30m")
        assert study.targets == [500_000, 400_000]
        assert study.replicates == 10
        assert study.recipe.optimizer == "adamw"
        assert study.budget.prune == 1.5

    def test_a_section_that_was_missing_is_added(self):
        assert with_set("export.onnx=true").export.onnx
        assert with_set("routes.analysis={}").routes.analysis is not None

    def test_the_last_one_counts(self):
        assert with_set("seed=1", "seed=2").seed == 2
        assert with_set("recipe={epochs: 3}", "recipe.lr=0.5").recipe.model_dump(exclude_unset=True) == {
            "epochs": 3,
            "lr": 0.5,
        }

    def test_the_rest_is_what_the_file_says(self):
        assert with_set("seed=0") == load_configs(QUICKSTART)[0].model_copy(update={"seed": 0})

    def test_every_study_of_a_file_gets_it(self, tmp_path):
        file = tmp_path / "two.yaml"
        file.write_text("---\n".join(TWO.format(name) for name in ("a", "b")))
        assert [study.seed for study in load_configs(file, ["seed=7"])] == [7, 7]

    def test_relative_paths_begin_at_the_config(self):
        study = with_set("dataset={name: image_folder, path: pictures, image_size: 32}")
        assert study.dataset.path == str(QUICKSTART.parent / "pictures")


class TestRefusals:
    def test_an_unknown_key_names_the_nearest(self):
        text = refusal("routes.prune.finetune.lrr=0.05")
        assert text.startswith("--set routes.prune.finetune.lrr=0.05: unknown key 'routes.prune.finetune.lrr'")
        assert "did you mean 'lr'?" in text

    def test_an_unknown_section_too(self):
        text = refusal("routes.prun.rounds=3")
        assert text.startswith("--set routes.prun.rounds=3: unknown key 'routes.prun' (did you mean 'prune'?)")

    @pytest.mark.parametrize(
        ("setting", "why"),
        [
            ("replicates=0", "0 given; allowed is 1 or more"),
            ("replicates=two", "allowed is a whole number"),
            ("seed=", "empty; give a value"),
            ("targets=[0.5M", "not valid YAML"),
            ("routes.prune.rounds=4", "has no effect"),
            ("recipe.min_lr=5", "min_lr is 5"),
            ("routes.search.strategy.name=randm", "random"),
            ("seed", "a key, = and a value"),
            ("=3", "a key, = and a value"),
            ("routes..prune=3", "a key, = and a value"),
            ("targets.0=0.5M", "targets is a list; set it as a whole"),
            ("seed.x=1", "seed is not a section"),
        ],
    )
    def test_each_is_named_by_its_own_words(self, setting, why):
        text = refusal("name=q", "seed=3", setting)
        assert f"--set {setting}" in text or "finetune.min_lr" in text
        assert why in text

    def test_the_lines_of_the_file_stay(self, tmp_path):
        file = tmp_path / "bad.yaml"
        file.write_text(TWO.format("bad") + "sede: 3\n")
        with pytest.raises(InputError) as refused:
            load_configs(file, ["recipe.lrr=1"])
        assert f"{file}:6: unknown key 'sede'" in str(refused.value)
        assert "--set recipe.lrr=1: unknown key 'recipe.lrr'" in str(refused.value)


def test_plan_takes_it_more_than_once():
    words = ["plan", str(QUICKSTART), "--json", "--set", "replicates=1", "--set", "targets=[0.5M]"]
    words += ["--set", "name=one"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.output)
    assert summary["study"] == "one"
    assert {row["target"] for row in summary["per_target"]} == {500_000}
