"""How a rehearsal changes a config: caps, only the data that is there, targets kept as shares, stand-in weights."""

import io

import numpy as np
import pytest
from PIL import Image

from harness.config.phases import checked_shapes
from harness.config.study import parse_config
from harness.data.registry import open_dataset
from harness.errors import InputError
from harness.models.target_percents import resolve_percents
from harness.rehearsal import rehearsed
from harness.routes.scratch import family_within
from nas_baseline.spaces.families import family_macs


@pytest.fixture
def images(tmp_path):
    """A folder of three classes with 40 training images each; in any order, some class comes last."""
    for part, count in (("train", 40), ("val", 2)):
        for name in ("a", "b", "c"):
            place = tmp_path / "images" / part / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = np.full((20, 24, 3), number, np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.JPEG", "JPEG")
    return tmp_path / "images"


def of_folder(images, **changes):
    config = {
        "name": "x" * 98,
        "dataset": {"name": "image_folder", "path": str(images), "image_size": 248, "num_classes": 1000,
                    "num_train": 1_281_167, "val_fraction": 0.02, "num_workers": 12},
        "parent": {"timm": "resnet18", "pretrain": {"epochs": 90, "warmup_epochs": 5}},
        "targets": [1_000_000_000, "30%"],
        "replicates": 5,
        "recipe": {"batch_size": 512, "lr": 0.064, "min_lr": 0.0064, "warmup_epochs": 5, "accumulate": 8},
        "routes": {"prune": {"criterion": ["global_magnitude+iterative"], "rounds": 10,
                             "finetune": {"epochs": 50, "lr": 0.032}}},
        "resources": {"devices_per_job": {"pretrain": 64}, "workers_per_job": {"pretrain": 4}},
    }  # fmt: skip
    return parse_config(config | changes, "test")


def changed(rehearsal):
    return {each["key"]: each["new"] for each in rehearsal.changes}


def test_a_tuned_recipe_is_tried_twice(images):
    """Six settings become two; learning rates fall with the batch size: 0.32 and 0.64 by 16 / 512 are 0.01 and 0.02."""
    finetune = {"epochs": 50, "tune": {"lr": [0.32, 0.64], "weight_decay": [0, 0.1, 0.2]}}
    found = rehearsed(of_folder(images, routes={"prune": {"finetune": finetune}}))
    tune = found.config.routes.sections["prune"].finetune.tune
    assert (tune.lr, tune.weight_decay, tune.trials) == ([0.01, 0.02], [0, 0.1, 0.2], 2)
    assert len(tune.settings(seed=0)) == 2
    assert any(key.startswith("routes.prune.finetune.tune") for key in changed(found))
    word = rehearsed(of_folder(images, routes={"prune": {"finetune": {"tune": "lr_range"}}}))
    assert word.config.routes.sections["prune"].finetune.tune == "lr_range"


def test_caps_follow_from_the_study_and_its_data(images):
    found = rehearsed(of_folder(images))
    config, new = found.config, changed(found)
    assert config.name == "x" * 90 + "_rehearsal"
    assert (config.dataset.image_size, config.dataset.num_classes, config.replicates) == (128, 3, 2)
    assert config.dataset.num_train == 96
    assert new["recipe.lr"] == pytest.approx(0.064 * 16 / 512)
    assert new["routes.prune.finetune.lr"] == pytest.approx(0.032 * 16 / 512)
    assert (new["recipe.warmup_epochs"], new["parent.pretrain.warmup_epochs"], new["recipe.accumulate"]) == (
        0.5,
        0.5,
        2,
    )
    assert (new["routes.prune.rounds"], new["routes.prune.finetune.epochs"]) == (2, 2)


def test_rungs_of_halving_fit_in_the_epochs_that_are_left(images):
    search = {"space": "fbnetv3_mini", "halving": {"eta": 3, "rungs": 4}, "candidate": {"epochs": 60}}
    found = rehearsed(of_folder(images, routes={"search": search})).config.routes.searches["search"]
    assert (found.halving.ends(found.candidate.epochs), found.strategy.num_trials) == ((1, 2), 4)


def test_absolute_targets_keep_their_share_of_the_parent_and_shares_stay(images):
    config = rehearsed(of_folder(images)).config
    # resnet18 with 1,000 classes at 248 px, and with 3 at 128 px: a multiple of 32, so exactly (128 / 224)² of 224 px.
    at_128 = round((1_814_073_344 - 512_000) * (128 / 224) ** 2) + 512 * 3
    at_248 = of_folder(images).targets[0] * at_128 / config.targets[0]
    assert 1.8e9 < at_248 < 2.6e9
    assert config.target_percents == [30.0]


def test_images_grow_until_every_class_is_among_them(images):
    for number in range(38):  # 2 of the 82 images left are of class c
        (images / "train" / "c" / f"{number}.JPEG").unlink()
    few = rehearsed(of_folder(images)).config.dataset
    assert few.num_train is None or few.num_train > 8 * 3


def test_data_that_is_not_there_is_refused_with_what_to_give(tmp_path):
    with pytest.raises(InputError, match=r"no folder .*train.*--set dataset\.path=FOLDER"):
        rehearsed(of_folder(tmp_path / "none"))


def test_a_checkpoint_that_is_not_there_has_a_stand_in(images, tmp_path):
    parent = {"timm": "resnet18", "checkpoint": str(tmp_path / "none.pt"), "pretrain": {"epochs": 0}}
    found = rehearsed(of_folder(images, parent=parent))
    assert found.config.parent.checkpoint is None
    assert changed(found)["parent.checkpoint"] == "stand-in weights, random: there is no such file"


def test_published_weights_that_cannot_be_had_have_a_stand_in(images, monkeypatch):
    def unreachable(_spec):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("harness.rehearsal.build_network", unreachable)
    found = rehearsed(of_folder(images, parent={"timm": "resnet18", "pretrained": True}))
    assert found.config.parent.pretrained is False
    assert changed(found)["parent.pretrained"].startswith(
        "stand-in weights, random: the published ones are not available"
    )
    taught = {"distill": {"teacher": "timm:resnet18"}, "epochs": 10}
    with pytest.raises(
        InputError, match=r"recipe\.distill\.teacher: timm:resnet18: .*--set recipe\.distill\.teacher=parent"
    ):
        rehearsed(of_folder(images, recipe=taught))


def test_published_weights_for_other_classes_that_are_not_trained_further_have_a_stand_in(images, monkeypatch):
    monkeypatch.setattr("harness.rehearsal.build_network", lambda _spec: None)
    found = rehearsed(of_folder(images, parent={"timm": "resnet18", "pretrained": True, "pretrain": {"epochs": 0}}))
    assert changed(found)["parent.pretrained"] == "stand-in weights, random: the published ones have other classes"


def test_weights_that_can_be_had_are_kept(images, monkeypatch):
    monkeypatch.setattr("harness.rehearsal.build_network", lambda _spec: None)
    found = rehearsed(of_folder(images, parent={"timm": "resnet18", "pretrained": True, "pretrain": {"epochs": 1}}))
    assert found.config.parent.pretrained is True
    assert "parent.pretrained" not in changed(found)


def test_jobs_hold_no_more_than_this_machine_has(images, monkeypatch):
    monkeypatch.setattr("harness.rehearsal.num_cores", lambda: 2)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    here = rehearsed(of_folder(images)).config.resources
    assert (here.devices_per_job, here.workers_per_job) == ({"pretrain": 2}, None)
    elsewhere = rehearsed(of_folder(images), is_here=False).config.resources
    assert elsewhere.devices_per_job == {"pretrain": 64}


def test_a_latency_becomes_a_share(images):
    changes = {"targets": [], "target": {"latency_ms": 5}}
    prune = {"prune": {"criterion": "channels_magnitude", "finetune": {"epochs": 9}}}
    found = rehearsed(of_folder(images, routes=prune, **changes))
    assert (found.config.target, found.config.target_percents) == (None, [50.0])
    assert changed(found)["targets"] == ["50%"]


@pytest.mark.parametrize(
    ("side", "sizes", "found"),
    [
        (96, "space", "space"),
        (224, "space", [112, 128]),
        (96, [32, 64, 96], [32, 64, 96]),
        (224, [64, 224], [112, 128]),
    ],
)
def test_sizes_to_search_among_stay_within_the_datasets(side, sizes, found, images):
    dataset = {"name": "image_folder", "path": str(images), "image_size": side}
    search = {"space": "mobilenetv3_lite_small", "image_size": sizes}
    config = rehearsed(of_folder(images, dataset=dataset, routes={"search": search}, targets=["50%"])).config
    assert config.routes.searches["search"].image_size == found
    assert config.dataset.image_size == min(side, 128)


def test_a_parent_of_one_image_size_keeps_it(images):
    """The position embedding of this transformer is made for 224 pixels; a convolutional network takes 128."""
    dataset = {"name": "image_folder", "path": str(images), "image_size": 224}
    for name, side in (("vit_tiny_patch16_224", 224), ("resnet18", 128)):
        found = rehearsed(of_folder(images, dataset=dataset, parent={"timm": name}, targets=["50%"]))
        assert found.config.dataset.image_size == side
        assert ("dataset.image_size" in changed(found)) == (side == 128)


def test_test_images_grow_until_every_class_is_among_them(tmp_path):
    """40 classes with four test images each, sorted by class: the first 64 have 16 classes."""
    parts = {}
    for part, labels in (
        ("train", np.random.default_rng(0).permutation(np.arange(480) % 40)),
        ("test", np.arange(160) // 4),
    ):
        encoded = [_png(int(label), number) for number, label in enumerate(labels)]
        parts |= {f"{part}_bytes": np.frombuffer(b"".join(encoded), np.uint8), f"{part}_labels": labels,
                  f"{part}_offsets": np.cumsum([0, *map(len, encoded)])}  # fmt: skip
    np.savez(tmp_path / "x.npz", **parts)
    dataset = {"name": "npz_jpeg", "path": str(tmp_path / "x.npz")}
    found = rehearsed(of_folder(None, dataset=dataset, targets=["50%"])).config.dataset
    assert found.num_test is None or found.num_test > 64
    assert open_dataset(found).info().num_classes == 40


def _png(label, number):
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), (label, number % 256, number // 256), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_batch_is_enough_for_the_workers_that_share_it(images, monkeypatch):
    """Sixteen workers with two passes each, and two images in each of those."""
    monkeypatch.setattr("harness.rehearsal.num_cores", lambda: 16)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    resources = {"device": "cpu", "devices_per_job": {"pretrain": 16}, "workers_per_job": {"pretrain": 16}}
    config = rehearsed(of_folder(images, resources=resources)).config
    assert (config.recipe.batch_size, config.recipe.accumulate) == (64, 2)
    assert checked_shapes(config, "cpu")
    away = rehearsed(of_folder(images, resources={"devices_per_job": 8}), is_here=False).config
    assert checked_shapes(away, "cuda")


@pytest.mark.parametrize("target", ["355.52M", "65%"])
def test_a_target_with_a_sibling_within_it_keeps_one(images, target):
    """At 112 pixels C has about a fifth of its MACs at 248, but A at 101 more than a fifth of those at 224."""
    dataset = {"name": "image_folder", "path": str(images), "image_size": 272}
    parent = {"family": "fbnetv3", "variant": "c", "image_size": 248, "pretrain": {"epochs": 9}}
    routes = {"prune": {"finetune": {"epochs": 9}}, "scratch": {"pruned_structure": False}}
    given = of_folder(images, dataset=dataset, parent=parent, targets=[target], routes=routes)
    found = rehearsed(given)
    config = resolve_percents(found.config)
    info = open_dataset(config.dataset).info()
    assert family_within(config.parent, info, config.targets[0]) is not None
    assert config.targets[0] < family_macs("fbnetv3", "c", 3, 3, config.parent.image_size)
    without = rehearsed(given.model_copy(update={"parent": given.parent.model_copy(update={"variant": "a"})}))
    assert without.config.targets  # nothing is within it, before or after
