"""Wrong input: each case gives one line on stderr and exit code 2, and nothing is written, changed or lost."""

import sys

import numpy as np
import pytest
import torch
import yaml
from refusals import DROP, changed
from safetensors.torch import save_file

from harness.config.study import ParentConfig
from harness.data.base import DataInfo
from harness.models.build import build_network, parent_spec
from harness.planning.speeds import Speeds

# (key, value, what the message must say)
CONFIGS = {
    "RandAugment of images in memory": (
        "recipe", {"augment": "timm", "randaugment_magnitude": 5}, ["recipe.randaugment_magnitude", "fashion_mnist_mini"],
    ),
    "a magnitude beyond timm's scale": ("recipe", {"augment": "timm", "randaugment_magnitude": 11}, ["magnitude", "11"]),
    "repeats that do not fill a batch": (
        "recipe", {"augment": "light", "batch_size": 50, "repeated_augmentation": 3},
        ["recipe: repeated_augmentation is 3", "a batch of 50", "set recipe.batch_size to 48 or 51"],
    ),
    "repeats that do not fill a phase's batch": (
        "routes.prune.finetune", {"epochs": 2, "batch_size": 8, "repeated_augmentation": 3},
        ["routes.prune.finetune: repeated_augmentation is 3", "set routes.prune.finetune.batch_size to 6 or 9"],
    ),
    "repeats of nothing": ("recipe.repeated_augmentation", 0, ["recipe.repeated_augmentation", "0"]),
    "erasing more than always": ("recipe.erase_prob", 1.5, ["recipe.erase_prob", "1.5"]),
    "a schedule that there is not": ("recipe.schedule", "step", ["recipe.schedule", "cosine", "linear", "step"]),
    "unknown key": ("replicate", 2, ["replicate", "replicates", "allowed"]),
    "unknown key of the dataset": ("dataset.num_trian", 5, ["dataset.num_trian", "num_train", "val_fraction"]),
    "unknown key of a strategy": ("routes.search.strategy.num_trails", 5, ["num_trails", "num_trials", "options"]),
    "unknown key of a phase": ("routes.prune.finetune.epoch", 5, ["finetune.epoch", "epochs", "batch_size"]),
    "unknown key of the recipe": ("recipe.learning_rate", 0.1, ["recipe.learning_rate", "lr"]),
    "unknown key of the budget": ("budget", {"serach": "1 h"}, ["budget.serach", "search"]),
    "unknown key of the resources": ("resources", {"gpus": 1}, ["resources.gpus", "devices_per_job"]),
    "unknown route": ("routes.prunes", {}, ["routes.prunes", "prune", "scratch"]),
    "no dataset": ("dataset", DROP, ["dataset", "missing"]),
    "no parent": ("parent", DROP, ["parent", "missing"]),
    "no targets": ("targets", [], ["targets"]),
    "targets not a list": ("targets", "0.6M", ["targets", "0.6M"]),
    "target with a wrong unit": ("targets", ["0.6 GFLOPs"], ["0.6 GFLOPs", "0.5M"]),
    "target that is negative": ("targets", ["-0.6M"], ["-0.6M"]),
    "target that is zero": ("targets", [0], ["targets", "0"]),
    "target that is a word": ("targets", ["small"], ["small", "400k"]),
    "target twice": ("targets", ["0.6M", "600k"], ["duplicate", "600000"]),
    "target above the parent": ("targets", ["5M"], ["5M", "parent has"]),
    "target below what pruning reaches": ("targets", [100], ["100"]),
    "duration without a unit": ("budget", {"search": 0.5}, ["budget.search", "0.5", "30 min"]),
    "duration with a wrong unit": ("budget", {"prune": "30 parsecs"}, ["30 parsecs", "30 min"]),
    "duration of nothing": ("budget", {"prune": "0 h"}, ["0 h"]),
    "no replicate": ("replicates", 0, ["replicates", "0"]),
    "replicates below zero": ("replicates", -2, ["replicates", "-2"]),
    "half a replicate": ("replicates", 1.5, ["replicates", "1.5"]),
    "replicates that are a word": ("replicates", "two", ["replicates", "two"]),
    "negative epochs": ("routes.search.candidate.epochs", -1, ["candidate.epochs", "-1"]),
    "a learning rate of zero": ("recipe.lr", 0, ["recipe.lr", "0"]),
    "a learning rate of infinity": ("recipe.lr", float("inf"), ["recipe.lr", "inf"]),
    "a weight decay that is no number": ("recipe.weight_decay", float("nan"), ["recipe.weight_decay"]),
    "a momentum of one": ("recipe.momentum", 1, ["recipe.momentum"]),
    "an unknown optimizer": ("recipe.optimizer", "sdg", ["sdg", "sgd"]),
    "a batch of one": ("recipe.batch_size", 1, ["batch_size", "1"]),
    "an unknown augmentation": ("recipe.augment", "heavy", ["heavy", "light"]),
    "a negative seed": ("seed", -1, ["seed", "-1"]),
    "a name that is a path": ("name", "../elsewhere", ["name", "../elsewhere"]),
    "an unknown dataset": ("dataset.name", "fashion_mnist", ["fashion_mnist", "image_folder", "npz_jpeg"]),
    "a dataset that is a path": ("dataset.name", "../base", ["../base", "image_folder"]),
    "a module that is no dataset": ("dataset.name", "transforms", ["transforms", "image_folder"]),
    "more images than there are": ("dataset.num_train", 6000, ["6000", "5000"]),
    "no images": ("dataset.num_train", 0, ["num_train", "0"]),
    "all images for validation": ("dataset.val_fraction", 1.0, ["val_fraction", "1.0"]),
    "an unknown criterion": ("routes.prune.criterion", "global_magnitud", ["global_magnitud", "global_magnitude"]),
    "no criterion": ("routes.prune.criterion", [], ["criterion"]),
    "a criterion twice": ("routes.prune.criterion", ["global_magnitude"] * 2, ["duplicate"]),
    "an unknown schedule": ("routes.prune.schedule", "sometimes", ["sometimes", "one_shot"]),
    "an unknown strategy": ("routes.search.strategy.name", "predictor", ["predictor", "predictor_evolution", "random"]),
    "half a network": ("routes.search.strategy.options", {"batch": 2.5}, ["batch is 2.5", "a whole number", "such as 4"]),
    "an option in words": ("routes.search.strategy.options", {"confidence": "high"}, ["'high'", "a number", "such as 1.5"]),
    "an unknown option of a strategy": ("routes.search.strategy.options", {"batchsize": 3}, ["batchsize", "allowed"]),
    "no trials": ("routes.search.strategy.num_trials", 0, ["num_trials", "0"]),
    "an unknown space": ("routes.search.space", "fbnetv3_mimi", ["fbnetv3_mimi", "fbnetv3_mini"]),
    "an unknown family": ("parent.family", "fbnetv4", ["fbnetv4", "fbnetv3_mini"]),
    "an unknown variant": ("parent.variant", "xxl", ["xxl", "l"]),
    "a family without a variant": ("parent.variant", DROP, ["variant"]),
    "family and timm": ("parent.timm", "resnet18", ["either"]),
    "neither family nor timm": ("parent", {}, ["parent", "timm"]),
    "an unknown timm network": ("parent", {"timm": "resnet_18"}, ["resnet_18"]),
    "published weights of a family": ("parent.pretrained", True, ["pretrained", "timm"]),
    "no routes": ("routes", {}, ["search", "prune", "scratch"]),
    "routes that are nothing": ("routes", None, ["routes"]),
    "nothing to retrain": ("routes.search.num_seen", 0, ["num_predicted", "num_seen"]),
    "a control without what it controls": ("routes.prune", DROP, ["pruned_structure", "prune"]),
    "an unknown device": ("resources", {"device": "tpu"}, ["tpu", "cuda"]),
    "a job without a device": ("resources", {"devices_per_job": 0}, ["devices_per_job", "0"]),
    "no attempt": ("resources", {"max_attempts": 0}, ["max_attempts", "0"]),
    "an image folder without a path": ("dataset", {"name": "image_folder", "image_size": 28, "num_classes": 2}, ["path"]),
    "timm's data without a name": ("dataset", {"name": "timm", "image_size": 28, "num_classes": 2}, ["timm_name"]),
}  # fmt: skip
"""Refused by ``run`` and by ``plan`` because of what is written in them."""


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize("case", CONFIGS)
def test_a_malformed_config(case, verb, tiny, write_config, refuses):
    path, value, says = CONFIGS[case]
    if case == "nothing to retrain":
        tiny["routes"]["search"]["num_predicted"] = 0
    if case == "an unknown timm network":
        del tiny["routes"]["scratch"]["train"]  # which would train a family's network
    config = write_config(changed(tiny, path, value))
    refuses([verb, config, *(["--backend", "inline"] if verb == "run" else [])], *says)


def test_the_cases_would_pass_without_their_mistake(tiny, write_config, command, monkeypatch):
    monkeypatch.setattr("harness.plan.measure_speeds", lambda *_: Speeds(1e9))
    code, out, err = command("plan", write_config(tiny), "--json")
    assert (code, err) == (0, "")
    assert '"study": "tiny"' in out


def test_a_key_that_is_a_number(tiny, write_config, refuses):
    refuses(["run", write_config(tiny | {1: 2})], "1: Keys should be strings")


def test_an_image_folder_without_a_size(tiny, tmp_path, write_config, refuses):
    for part in ("train", "val"):
        (tmp_path / "images" / part / "cats").mkdir(parents=True)
    tiny["dataset"] = {"name": "image_folder", "path": str(tmp_path / "images"), "num_classes": 2}
    refuses(["plan", write_config(tiny)], "image_size")


def test_a_message_names_the_nearest_key(tiny, write_config, refuses):
    tiny["routes"]["search"]["candidat"] = {}
    refuses(["run", write_config(tiny)], "routes.search.candidat", "did you mean 'candidate'?", "num_seen")


def test_several_mistakes_are_a_line_each_with_the_line_of_the_file(tiny, write_config, command):
    tiny |= {"replicates": 0, "seed": -1, "nam": "x"}
    config = write_config(tiny)
    places = [place.partition(":")[0] for place in config.read_text().splitlines()]
    code, out, err = command("run", config)
    assert (code, out) == (2, "")
    for key in ("replicates", "seed", "nam"):
        assert f"error: {config}:{places.index(key) + 1}: " in err
    assert err.count("\n") == 3


def test_a_rule_for_the_whole_study_names_the_line_of_what_it_is_about(tiny, write_config, command):
    tiny["routes"] = {"search": tiny["routes"]["search"], "search_then_prune": {}}
    config = write_config(tiny)
    line = next(n for n, text in enumerate(config.read_text().splitlines(), 1) if "search_then_prune" in text)
    says = "routes.search_then_prune needs a search and a prune section, its own or the study's"
    assert command("run", config) == (2, "", f"error: {config}:{line}: {says}\n")


def test_target_equal_to_the_parent(tiny, write_config, refuses):
    info = DataInfo((1, 28, 28), 10, (0.0,), (1.0,), 1)
    from accounting.macs.count import count_macs

    model = build_network(parent_spec(ParentConfig(family="fbnetv3_mini", variant="l"), info))
    tiny["targets"] = [count_macs(model, (1, 28, 28)).macs]
    refuses(["run", write_config(tiny)], "targets", "parent has", "below")


def test_target_below_the_smallest_network_of_the_space(tiny, write_config, refuses):
    tiny["routes"] = {"search": {}}
    tiny["targets"] = ["20k"]
    refuses(["run", write_config(tiny)], "20k", "smallest")


def test_blocks_of_a_parent_that_has_none(tiny, write_config, refuses):
    tiny["parent"] = {"timm": "resnet10t"}
    tiny["targets"], tiny["routes"] = ["5M"], {"prune": {"criterion": "se_blocks_magnitude"}}
    refuses(["plan", write_config(tiny)], "routes.prune", "no squeeze-excite blocks")


@pytest.mark.parametrize("kind", ["onnx", "int8"])
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_an_export_whose_extra_is_not_installed(verb, kind, tiny, write_config, refuses, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    tiny["export"] = {kind: True}
    refuses([verb, write_config(tiny)], f"export.{kind}: the package onnxruntime is not installed", "[onnx]")


def test_channels_that_cannot_be_followed(tiny, write_config, refuses):
    tiny["parent"] = {"timm": "poolformer_s12"}
    tiny["dataset"] = {"name": "fashion_mnist_mini"}
    tiny["targets"], tiny["routes"] = ["20M"], {"prune": {"criterion": "channels_magnitude"}}
    refuses(["plan", write_config(tiny)], "routes.prune", "Torch-Pruning cannot follow")


SPACE = {
    "name": "mine", "image_size": 28, "in_chans": 1, "num_classes": 10, "stem": {"width": 8},
    "stages": [{"type": "ir", "stride": 2, "kernel": 3, "expansion": [2, 3], "depth": [1, 2], "width": [8, 16]}],
    "head": {"expansion": 2, "features": 64},
    "recipe": {"optimizer": ["sgd"], "lr": [0.1, 0.2]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"head": {"features": 64}}, ["head lacks 'expansion'"]),
        ({"recipe": {"optimizer": ["adam"], "lr": [0.1, 0.2]}}, ["recipe.optimizer is 'adam'", "adamw"]),
        (
            {"recipe": {"optimizer": ["sgd"], "lr": [0.1], "dropout": [0.1, 1.5]}},
            ["recipe.dropout is 1.5", "less than 1"],
        ),
    ],
)
def test_a_space_that_is_wrong(changes, says, tiny, tmp_path, write_config, refuses):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SPACE | changes))
    tiny["routes"]["search"]["space"] = str(tmp_path / "mine.yaml")
    refuses(["plan", write_config(tiny)], *says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name: [unclosed", "not valid YAML"),
        ("name: x\n\tdataset: y", "not valid YAML"),
        ("- name: x\n- name: y\n", "mapping"),
        ("", "mapping"),
        ("# only a comment\n", "mapping"),
        ("just a sentence", "mapping"),
        ("42", "mapping"),
        (b"\xff\xfe\x00name", "cannot be read"),
    ],
)
def test_a_file_that_is_no_config(content, says, write_config, refuses):
    refuses(["run", write_config(content)], says)


def test_no_such_config(tmp_path, refuses):
    refuses(["run", tmp_path / "nowhere.yaml"], "nowhere.yaml", "prune-or-search init")


def test_a_folder_as_config(tmp_path, refuses):
    refuses(["run", tmp_path], str(tmp_path))


def test_two_studies_of_one_name(tiny, write_config, refuses):
    refuses(["run", write_config(yaml.safe_dump_all([tiny, tiny]))], "tiny", "once")


def test_two_studies_into_one_folder(tiny, tmp_path, write_config, refuses):
    two = yaml.safe_dump_all([tiny, tiny | {"name": "other"}])
    refuses(["run", write_config(two), "--out", tmp_path / "out"], "--out", "2 studies")


class TestData:
    def test_no_such_file(self, tiny, tmp_path, write_config, refuses):
        tiny["dataset"] = {"name": "npz_jpeg", "path": str(tmp_path / "gone.npz")}
        refuses(["run", write_config(tiny)], "dataset.path", "gone.npz")

    def test_a_file_that_is_no_npz(self, tiny, write_config, refuses):
        tiny["dataset"] = {"name": "npz_jpeg", "path": str(write_config("hello", "words.npz"))}
        refuses(["run", write_config(tiny)], "words.npz")

    def test_an_npz_that_is_cut_off(self, tiny, tmp_path, write_config, refuses):
        np.savez(tmp_path / "whole.npz", train_labels=np.zeros(100))
        cut = write_config((tmp_path / "whole.npz").read_bytes()[:200], "cut.npz")
        tiny["dataset"] = {"name": "npz_jpeg", "path": str(cut)}
        refuses(["run", write_config(tiny)], "cut.npz")

    def test_a_single_array_is_no_npz(self, tiny, tmp_path, write_config, refuses):
        np.save(tmp_path / "array.npy", np.zeros(3))
        tiny["dataset"] = {"name": "npz_jpeg", "path": str(tmp_path / "array.npy")}
        refuses(["run", write_config(tiny)], "array.npy")

    def test_an_npz_without_the_keys(self, tiny, tmp_path, write_config, refuses):
        np.savez(tmp_path / "other.npz", images=np.zeros(3), train_labels=np.zeros(3))
        tiny["dataset"] = {"name": "npz_jpeg", "path": str(tmp_path / "other.npz")}
        refuses(["run", write_config(tiny)], "train_bytes")

    def test_a_folder_that_is_not_there(self, tiny, tmp_path, write_config, refuses):
        tiny["dataset"] = {"name": "image_folder", "path": str(tmp_path / "gone"), "image_size": 28, "num_classes": 2}
        refuses(["run", write_config(tiny)], "dataset.path", "train")

    def test_a_folder_of_other_classes(self, tiny, tmp_path, write_config, refuses):
        for part in ("train", "val"):
            (tmp_path / "images" / part / "cats").mkdir(parents=True)
        tiny["dataset"] = {"name": "image_folder", "path": str(tmp_path / "images"), "image_size": 28, "num_classes": 2}
        refuses(["run", write_config(tiny)], "num_classes", "2", "1")

    def test_timm_does_not_find_it(self, tiny, tmp_path, write_config, refuses):
        tiny["dataset"] = {
            "name": "timm", "timm_name": "torch/cifar10", "path": str(tmp_path / "gone"), "image_size": 32,
            "num_classes": 10,
        }  # fmt: skip
        refuses(["run", write_config(tiny)], "dataset.path", "gone")


class TestCheckpoint:
    def run(self, tiny, checkpoint, write_config, refuses, *says):
        tiny["parent"]["checkpoint"] = str(checkpoint)
        refuses(["run", write_config(tiny)], "parent.checkpoint", *says)

    def test_is_not_there(self, tiny, tmp_path, write_config, refuses):
        self.run(tiny, tmp_path / "gone.pt", write_config, refuses, "gone.pt")

    @pytest.mark.parametrize("name", ["words.pt", "words.safetensors"])
    def test_is_none(self, name, tiny, write_config, refuses):
        self.run(tiny, write_config("these are words", name), write_config, refuses, name)

    @pytest.mark.parametrize("name", ["empty.pt", "empty.safetensors"])
    def test_is_empty(self, name, tiny, write_config, refuses):
        self.run(tiny, write_config(b"", name), write_config, refuses, name)

    def test_holds_no_tensors(self, tiny, tmp_path, write_config, refuses):
        torch.save({"epoch": 3, "note": "hello"}, tmp_path / "notes.pt")
        self.run(tiny, tmp_path / "notes.pt", write_config, refuses, "state dict")

    def test_holds_code(self, tiny, tmp_path, write_config, refuses):
        torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
        self.run(tiny, tmp_path / "module.pt", write_config, refuses, "module.pt")

    def test_is_of_another_network(self, tiny, tmp_path, write_config, refuses):
        save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
        self.run(tiny, tmp_path / "other.safetensors", write_config, refuses, "does not fit")
