"""Options that would change nothing are refused by name, with their line; those that have an effect are accepted."""

import os

import pytest
from refusals import DROP, changed

from harness.config.phases import short_finetunings, warnings
from harness.config.study import load_configs
from harness.errors import InputError

TIMM = {"timm": "resnet18", "pretrain": {"epochs": 1}}
# (key, value, the key that the message must name)
USELESS = {
    "empty prune": ("routes.prune", None, "routes.prune: empty"),
    "empty recipe": ("recipe", None, "recipe: empty"),
    "empty value": ("recipe.lr", None, "recipe.lr: empty"),
    "variant beside timm": ("parent", TIMM | {"variant": "l"}, "parent.variant"),
    "two sources of weights": ("parent", TIMM | {"pretrained": True, "checkpoint": "x.pt"}, "parent.pretrained"),
    "a recipe for no epochs": ("parent.pretrain", {"epochs": 0, "lr": 0.1}, "parent.pretrain.lr"),
    "inherit without a supernet": ("routes.search.inherit", True, "routes.search.inherit"),
    "a supernet's recipe without one": ("routes.search.supernet", {"epochs": 2}, "routes.search.supernet"),
    "scores without a supernet": ("routes.search.scored_per_job", 4, "routes.search.scored_per_job"),
    "candidates that are not trained": ("routes.supernet", {"candidate": {"epochs": 3}}, "routes.supernet.candidate"),
    "a threshold that is switched off": (
        "routes.search", {"early_stop": False, "early_stop_tau": 0.5}, "routes.search.early_stop_tau"),
    "predictions of none": (
        "routes.search", {"strategy": {"name": "random"}, "num_predicted": 1}, "routes.search.num_predicted"),
    "rounds without iterative": ("routes.prune.rounds", 4, "routes.prune.rounds"),
    "an end without gradual": ("routes.prune.gradual_end", 0.5, "routes.prune.gradual_end"),
    "channels that are not removed": ("routes.prune.channel_floor", 0.2, "routes.prune.channel_floor"),
    "widths that are not rounded": ("routes.prune.round_to", 8, "routes.prune.round_to"),
    "weights that are not masked": (
        "routes.prune", {"criterion": "channels_magnitude", "floor": 0.1}, "routes.prune.floor"),
    "a schedule that none takes": (
        "routes.prune", {"criterion": "global_magnitude+gradual", "schedule": "one_shot"}, "routes.prune.schedule"),
    "epochs of a control that takes the parent's": (
        "routes.scratch", {"family": False, "train": {"epochs": 4}}, "routes.scratch.train.epochs"),
    "a control of nothing": ("routes.scratch", {"family": False, "pruned_structure": False}, "routes.scratch"),
    "a budget for no route": ("budget", {"supernet": "1 h"}, "budget.supernet"),
    "momentum of adamw": ("recipe", {"batch_size": 50, "optimizer": "adamw", "momentum": 0.8}, "recipe.momentum"),
    "repeats that no phase varies": (
        "recipe", {"augment": "none", "repeated_augmentation": 2}, "recipe.repeated_augmentation"),
    "repeats of a phase that does not vary": (
        "routes.prune.finetune", {"epochs": 2, "augment": "none", "repeated_augmentation": 2},
        "routes.prune.finetune.repeated_augmentation"),
    "a new classifier for fine-tuning": (
        "routes.prune.finetune", {"epochs": 2, "head_init_scale": 0.0}, "routes.prune.finetune.head_init_scale"),
    "RandAugment that no phase has": ("recipe.randaugment_magnitude", 5, "recipe.randaugment_magnitude"),
    "RandAugment of a phase without": (
        "routes.prune.finetune", {"epochs": 2, "randaugment_magnitude": 5}, "routes.prune.finetune.randaugment_magnitude"),
    "momentum of a phase": (
        "routes.prune.finetune", {"epochs": 2, "optimizer": "lamb", "momentum": 0.5}, "routes.prune.finetune.momentum"),
    "a recipe for fine-tuning of no epochs": (
        "routes.prune.finetune", {"epochs": 0, "lr": 0.1}, "routes.prune.finetune.lr"),
    "a recipe for retraining of no epochs": (
        "routes.search.retrain", {"epochs": 0, "min_lr": 0.0}, "routes.search.retrain.min_lr"),
    "a recipe for candidates of no epochs": (
        "routes.search.candidate", {"epochs": 0, "optimizer": "lamb"}, "routes.search.candidate.optimizer"),
    "a recipe for a supernet of no epochs": (
        "routes.supernet", {"supernet": {"epochs": 0, "augment": "none"}}, "routes.supernet.supernet.augment"),
    "a recipe for no epochs of a section of its own": (
        "routes.search_then_prune", {"prune": {"finetune": {"epochs": 0, "lr": 0.1}}},
        "routes.search_then_prune.prune.finetune.lr"),
    "a recipe for controls of no epochs": (
        "routes.scratch", {"pruned_structure": False, "train": {"epochs": 0, "lr": 0.1}}, "routes.scratch.train.lr"),
    "no criteria to scan by": ("routes.analysis", {"criteria": []}, "routes.analysis.criteria: an empty list"),
    "nothing to keep": ("routes.prune.keep", [], "routes.prune.keep: an empty list"),
    "a layer kept twice": ("routes.prune.keep", ["role:head"] * 2, "role:head given twice"),
    "a scan twice": ("routes.analysis", {"sparsities": [0.5, 0.9, 0.5]}, "routes.analysis.sparsities: 0.5 given twice"),
    "a criterion to scan by twice": (
        "routes.analysis", {"criteria": ["global_magnitude"] * 2}, "routes.analysis.criteria: global_magnitude given twice"),
    "a pair with a slip": ("verdict", {"pair": ["prune", "serch"]}, "'serch' is no contender of this study (did you mean"),
    "a pair with a route that there is not": ("verdict", {"pair": ["prune", "supernet"]}, "verdict.pair: 'supernet' is no"),
    "a pair with a method that there is not": (
        "verdict", {"pair": ["prune:global_lamp", "search"]}, "prune:global_magnitude"),
    "a pair with a route that delivers by other names": ("verdict", {"pair": ["prune", "scratch"]}, "'scratch' is no"),
    "cores of a GPU's job on the CPU": ("resources", {"device": "cpu", "cpus_per_job": 2}, "resources.cpus_per_job"),
}  # fmt: skip
USEFUL = {
    "iterative rounds": ("routes.prune", {"schedule": "iterative", "rounds": 2, "finetune": {"epochs": 2}}),
    "gradual by its criterion": ("routes.prune", {"criterion": "global_magnitude+gradual", "gradual_end": 0.5}),
    "an early stop": ("routes.search.early_stop_tau", 0.8),
    "a supernet that inherits": ("routes.supernet", {"inherit": True, "scored_per_job": 4, "supernet": {"epochs": 2}}),
    "a control's recipe, for epochs that it has not said": ("routes.scratch", {"family": False, "train": {"lr": 0.1}}),
    "channels alike": ("dataset", {"name": "fashion_mnist_mini", "mean": [0.5], "std": [0.5]}),
    "a pretraining of nothing": ("parent.pretrain", {"epochs": 0}),
    "momentum of sgd": ("recipe.momentum", 0.8),
    "classifiers of zeros": ("recipe.head_init_scale", 0.0),
    "classifiers as timm draws them": ("parent.pretrain", {"epochs": 2, "head_init_scale": 1.0}),
    "momentum where one phase has it": ("recipe", {"optimizer": "adamw"}),
    "a budget": ("budget", {"prune": "1 h"}),
    "a pair with a control": ("verdict", {"pair": ["prune", "scratch_family"]}),
    "a pair with a method": ("verdict", {"pair": ["prune:global_magnitude", "search"]}),
    "the usual pair, without its search": ("routes", {"prune": {"finetune": {"epochs": 2}}}),
    "cores where the device is found out": ("resources", {"cpus_per_job": 2}),
}


@pytest.mark.parametrize("case", USELESS)
def test_an_option_without_effect_is_refused_by_name(case, tiny, write_config):
    path, value, says = USELESS[case]
    config = write_config(changed(tiny, path, value))
    with pytest.raises(InputError) as refused:
        load_configs(config)
    assert any(says in line and str(config) in line for line in refused.value.args), refused.value.args


@pytest.mark.parametrize("case", USEFUL)
def test_an_option_with_an_effect_is_taken(case, tiny, write_config):
    path, value = USEFUL[case]
    assert load_configs(write_config(changed(tiny, path, value)))


def test_a_pattern_that_keeps_nothing_is_refused(tiny, write_config, refuses):
    tiny["routes"]["prune"]["keep"] = ["name:conv_stem", "name:bloks.*"]
    refuses(["plan", write_config(tiny)], "routes.prune.keep", "bloks.*", "matches no layer")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicates", 10**9), ("routes.search.strategy.num_trials", 10**12), ("recipe.epochs", 10**9), ("seed", 2**64),
        ("recipe.batch_size", 10**9), ("dataset.num_train", 10**12), ("name", "x" * 10**4), ("name", "a."),
        ("targets", [1000 + i for i in range(101)]), ("resources", {"max_attempts": 10**6}),
    ],
)  # fmt: skip
def test_an_absurd_size_is_refused_with_its_limit(path, value, tiny, write_config):
    with pytest.raises(InputError) as refused:
        load_configs(write_config(changed(tiny, path, value)))
    assert path.split(".")[-1].split("_")[0] in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_paths_begin_at_the_folder_of_the_config(tiny, write_config, tmp_path):
    tiny["dataset"] = {"name": "npz_jpeg", "path": "data/x.npz"}
    tiny["parent"] = {"timm": "resnet18", "checkpoint": "w.pt"}
    tiny["routes"]["search"]["space"] = "../mine.yaml"
    (study,) = load_configs(write_config(changed(tiny, "routes.scratch", DROP)))
    assert study.dataset.path == str(tmp_path.resolve() / "data" / "x.npz")
    assert study.parent.checkpoint == str(tmp_path.resolve() / "w.pt")
    assert study.routes.search.space == str(tmp_path.resolve().parent / "mine.yaml")


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "loop/x", "a" * 5000])
def test_a_path_that_is_none_is_refused_in_one_line(path, tiny, write_config, tmp_path, refuses):
    (tmp_path / "loop").symlink_to("loop")
    tiny["dataset"] = {"name": "npz_jpeg", "path": path}
    refuses(["plan", write_config(tiny)], "dataset.path")


def test_a_control_character_is_refused(tiny_text, write_config, refuses):
    refuses(["plan", write_config(tiny_text.replace("name: tiny", 'name: "ti\\0ny"'))], "name", "control character")


def test_a_file_that_is_too_large_says_so_once(tmp_path):
    file = tmp_path / "large.yaml"
    file.write_text("#" * 100_001)
    with pytest.raises(InputError) as refused:
        load_configs(file)
    assert str(refused.value) == f"{file}: 100,001 bytes; a config has at most 100,000"


def test_what_never_ends_is_not_read_to_its_end(refuses):
    refuses(["plan", "/dev/zero"], "/dev/zero: a config has at most 100,000 bytes")


def test_a_path_that_leads_to_a_name_that_is_no_text_is_refused(tiny, write_config, tmp_path, refuses):
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    (tmp_path / "photos").symlink_to(os.fsdecode(b"caf\xe9"))
    tiny["dataset"] = {"name": "image_folder", "path": "photos", "image_size": 28}
    refuses(["plan", write_config(tiny)], "dataset.path", "not UTF-8")


def test_a_fine_tuning_of_less_than_half_of_the_parents_epochs_is_a_warning(tiny, write_config, command):
    """Here 2 of 5 epochs; 3 of 5 are enough, and so is any number if the parent is not trained here."""
    tiny["parent"]["pretrain"] = {"epochs": 5}
    code, said, _ = command("plan", write_config(tiny))
    assert code == 0
    assert "warning: routes.prune.finetune: 2 epochs, less than half of the parent's 5" in said
    for pretrained, tuned in ((5, 3), (0, 2)):
        tiny["parent"]["pretrain"]["epochs"], tiny["routes"]["prune"]["finetune"]["epochs"] = pretrained, tuned
        assert short_finetunings(load_configs(write_config(tiny))[0]) == []


def test_a_parent_of_random_weights_is_a_warning(tiny, write_config, command):
    tiny["parent"]["pretrain"] = {"epochs": 0}
    code, said, _ = command("plan", write_config(tiny))
    assert code == 0
    assert "warning: parent: its weights are random" in said
    assert len(warnings(load_configs(write_config(tiny))[0])) == 1
    for change in ({"pretrain": {"epochs": 1}}, {"checkpoint": "weights.pt"}):
        found = load_configs(write_config(tiny | {"parent": tiny["parent"] | change}))[0]
        assert not any(said.startswith("parent:") for said in warnings(found))
    del tiny["routes"]["prune"], tiny["routes"]["scratch"]  # nothing is pruned
    assert warnings(load_configs(write_config(tiny))[0]) == []
