"""Any layout of an image folder gives the right labels in all three splits, or is refused before anything is paid."""

import pytest
import torch
from folder_layouts import LEVELS, PER_CLASS, REFUSED, WORKS, plain

from harness.config.study import DatasetConfig
from harness.data import cache
from harness.data.registry import open_dataset
from harness.errors import InputError

CPU = torch.device("cpu")
NUM_CLASSES = len(LEVELS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A plain folder, two levels below a folder that holds nothing else; the cache belongs to the test."""
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path / "cache"))
    root = tmp_path / "here" / "data"
    root.mkdir(parents=True)
    plain(root)
    return root


def opened(root, **keys):
    return open_dataset(DatasetConfig(name="image_folder", path=str(root), image_size=16, num_workers=0, **keys))


def true_classes(images, info):
    """The class of each image by its grey level, which no file name tells."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (info.mean, info.std))
    grey = (images * std + mean).mean((1, 2, 3)) * 255
    return (grey[:, None] - torch.tensor(LEVELS)).abs().argmin(1)


def labels_by_class(splits):
    """{true class: labels given} over the three splits, and the number of images in each split."""
    given, sizes = {}, {}
    for name in ("train", "val", "test"):
        split = getattr(splits, name)
        images, labels = zip(*split.batches(64, CPU, augment=None), strict=True)
        sizes[name] = len(torch.cat(labels))
        assert sizes[name] == len(split)
        for true, label in zip(true_classes(torch.cat(images), splits.info), torch.cat(labels), strict=True):
            given.setdefault(int(true), set()).add(int(label))
    return given, sizes


@pytest.mark.parametrize("layout", WORKS)
def test_layouts_that_work_give_each_class_its_label_in_all_three_splits(layout, folder):
    change, more_train, more_test = WORKS[layout]
    change(folder)
    dataset = opened(folder)
    dataset.check()
    splits = dataset.splits()
    given, sizes = labels_by_class(splits)
    assert sorted(label for labels in given.values() for label in labels) == [0, 1, 2]
    assert {len(labels) for labels in given.values()} == {1}
    assert sizes["train"] + sizes["val"] == NUM_CLASSES * PER_CLASS["train"] + more_train
    assert sizes["test"] == NUM_CLASSES * PER_CLASS["val"] + more_test
    assert (sizes["train"], sizes["val"], sizes["test"]) == (
        splits.info.num_train,
        splits.info.num_val,
        splits.info.num_test,
    )


@pytest.mark.parametrize("layout", REFUSED)
def test_other_layouts_are_refused_by_check_in_one_line_that_names_the_folder(layout, folder):
    REFUSED[layout](folder)
    with pytest.raises(InputError) as refusal:
        opened(folder).check()
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "layout", ["no val", "no train", "train is a file", "parts within the classes", "parts with capitals"]
)
def test_a_folder_without_its_parts_is_not_planned_on_assumed_counts(layout, folder):
    REFUSED[layout](folder)
    with pytest.raises(InputError, match=f"no folder {folder}/(train|val)"):
        opened(folder, num_classes=3).info()


def test_what_a_folder_without_train_holds_instead_is_named(folder):
    REFUSED["parts with capitals"](folder)
    with pytest.raises(InputError, match=r"it holds Train, Val$"):
        opened(folder).check()


@pytest.mark.parametrize("name", ["ape ", "ape\u200b", "\u0430pe", "Ape"])
def test_classes_that_look_alike_are_told_apart(name, folder):
    (folder / "val/ape").rename(folder / "val" / name)
    with pytest.raises(InputError) as refusal:
        opened(folder).check()
    assert f"val/ has {name!a}" in str(refusal.value)
    assert "train/ has 'ape'" in str(refusal.value)


def test_a_file_in_the_place_of_the_folder_is_named(folder):
    (folder.parent / "data.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"data\.zip is a file"):
        opened(folder.parent / "data.zip", num_classes=3).info()


@pytest.mark.parametrize("is_made", [False, True])
def test_where_nothing_is_yet_the_counts_are_assumed(is_made, tmp_path):
    if is_made:
        (tmp_path / "mount").mkdir()
    assert "are assumed" in opened(tmp_path / "mount", num_classes=3).info().notes[0]


@pytest.mark.parametrize("beside", [("test",), ("valid", "test"), ("validation",)])
def test_parts_beside_val_are_ignored_and_named_in_the_notes(beside, folder):
    for name in beside:
        (folder / name / "ape").mkdir(parents=True)
    info = opened(folder).info()
    assert info.num_test == NUM_CLASSES * PER_CLASS["val"]
    assert [note for note in info.notes if "ignored" in note and all(f"{name}/" in note for name in beside)]


def test_a_plain_folder_has_nothing_to_note(folder):
    assert opened(folder, val_fraction=0.3).info().notes == ()


def test_the_grid_is_large_and_at_most_a_quarter_of_it_is_refused():
    assert len(WORKS) + len(REFUSED) >= 60
    assert len(REFUSED) <= (len(WORKS) + len(REFUSED)) / 4
