"""Names and keys of datasets, what a config may say about them, and the file that is shipped."""

import re

import pytest
from pydantic import ValidationError

from accounting.study import plugins
from harness.config.study import DatasetConfig
from harness.data import fashion_mnist_mini
from harness.data.registry import list_datasets, open_dataset
from harness.errors import InputError

VALUES = {
    "path": "/nowhere",
    "timm_name": "torch/cifar10",
    "download": True,
    "image_size": 32,
    "num_classes": 3,
    "num_train": 100,
    "num_test": 100,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
    "val_fraction": 0.2,
    "num_workers": 2,
}
USED = {
    "fashion_mnist_mini": {"num_train"},
    "image_folder": VALUES.keys() - {"timm_name", "download"},
    "npz_jpeg": VALUES.keys() - {"timm_name", "download", "num_workers"},
    "timm": VALUES.keys(),
}
NEEDED = {
    "fashion_mnist_mini": {},
    "image_folder": {"path": "/nowhere", "image_size": 32, "num_classes": 3},
    "npz_jpeg": {"path": "/nowhere"},
    "timm": {"timm_name": "torch/cifar10", "path": "/nowhere", "image_size": 32, "num_classes": 10},
}
UNUSED = [(name, key) for name, used in USED.items() for key in VALUES if key not in used]


OUTSIDE = """
class Dataset:
    KEYS = ()
    def __init__(self, config): pass
    def info(self): ...
    def splits(self): ...
"""


def test_what_a_dataset_of_ones_own_lacks_is_named(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(OUTSIDE)
    monkeypatch.setattr(plugins._registry, "files", (plugins.read_plugin(path),))
    with pytest.raises(InputError, match="dataset mine: its class Dataset has no check, fingerprint;"):
        open_dataset(DatasetConfig.model_construct(name="mine"))


def default(key):
    return DatasetConfig.model_fields[key].default


def test_every_dataset_and_every_key_is_named_here():
    assert set(USED) == set(NEEDED) == set(list_datasets())
    assert VALUES.keys() == DatasetConfig.model_fields.keys() - {"name", "options"}


@pytest.mark.parametrize("value", ["another", "the default"])
@pytest.mark.parametrize(("name", "key"), UNUSED)
def test_a_key_that_a_dataset_does_not_use_is_named_whatever_its_value(name, key, value):
    given = VALUES[key] if value == "another" else default(key)
    with pytest.raises(InputError, match=rf"dataset\.{key}: not a key of {name}; it takes "):
        open_dataset(DatasetConfig(**{"name": name, **NEEDED[name], key: given}))


def test_all_keys_that_are_not_used_are_named_at_once():
    with pytest.raises(InputError) as refusal:
        open_dataset(DatasetConfig(name="fashion_mnist_mini", path="x", num_workers=4, val_fraction=0.1))
    assert all(f"dataset.{key}: not a key" in str(refusal.value) for key in ("path", "num_workers", "val_fraction"))


@pytest.mark.parametrize("name", USED)
def test_every_key_that_a_dataset_uses_is_taken(name):
    open_dataset(DatasetConfig(**{"name": name, **{key: VALUES[key] for key in USED[name]}}))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("imagefolder", "image_folder"), ("image-folder", "image_folder"), ("Image_Folder", "image_folder"),
        ("fashion_mnist", "fashion_mnist_mini"), ("npz_jpg", "npz_jpeg"), ("tim", "timm"),
    ],
)  # fmt: skip
def test_a_near_miss_of_a_name_is_answered_with_the_name(given, meant):
    with pytest.raises(InputError, match=rf"unknown dataset '{given}' \(did you mean '{meant}'\?\); allowed: "):
        open_dataset(DatasetConfig(name=given))


@pytest.mark.parametrize("given", ["base", "registry", "../timm", "", "pixels"])
def test_other_modules_are_no_datasets(given):
    with pytest.raises(InputError, match=r"unknown dataset .*allowed: fashion_mnist_mini"):
        open_dataset(DatasetConfig(name=given))


@pytest.mark.parametrize("name", ["image_folder", "npz_jpeg", "timm"])
@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"mean": [123.7, 116.3, 103.5]}, r"dataset\.mean: .*divide by 255"),
        ({"std": [58.4, 57.1, 57.4]}, r"dataset\.std: .*divide by 255"),
        ({"mean": [-0.1, 0.5, 0.5]}, r"dataset\.mean: .*0 to 1"),
        ({"mean": [0.5]}, "one number a channel, 3; given 1 and 3"),
        ({"std": [0.2] * 4}, "one number a channel, 3; given 3 and 4"),
    ],
)
def test_a_mean_or_std_that_cannot_be_meant_is_refused_by_plan(keys, words, name):
    with pytest.raises(InputError, match=words):
        open_dataset(DatasetConfig(**{"name": name, **NEEDED[name], **keys})).info()


@pytest.mark.parametrize("key", ["mean", "std"])
def test_an_empty_mean_or_std_is_no_config(key):
    with pytest.raises(ValidationError, match=rf"{key}\n.*at least 1 item"):
        DatasetConfig(name="npz_jpeg", path="/nowhere", **{key: []})


@pytest.mark.parametrize("name", USED)
def test_options_are_for_datasets_that_have_their_own(name):
    said = f"dataset.options: {'image_folder has no option' if name == 'image_folder' else f'not a key of {name}'}"
    with pytest.raises(InputError, match=re.escape(said)):
        open_dataset(DatasetConfig(**{"name": name, **NEEDED[name], "options": {"a": 1}}))


def test_a_shipped_file_that_was_changed_or_removed_is_refused(tmp_path, monkeypatch):
    content = bytearray(fashion_mnist_mini.FILE.read_bytes())
    content[len(content) // 2] ^= 1
    monkeypatch.setattr(fashion_mnist_mini, "FILE", tmp_path / "changed.npz")
    dataset = open_dataset(DatasetConfig(name="fashion_mnist_mini"))
    for ask in ("check", "info"):
        with pytest.raises(InputError, match="is missing; install prune-or-search again"):
            getattr(dataset, ask)()
    (tmp_path / "changed.npz").write_bytes(content)
    for ask in ("check", "info"):
        with pytest.raises(InputError, match="is damaged; install prune-or-search again"):
            getattr(dataset, ask)()
