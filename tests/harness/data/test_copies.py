"""Images that occur more than once: test images in the training part, and images in two classes."""

import io
import shutil

import numpy as np
import pytest
from folder_layouts import CLASSES, PER_CLASS, picture, plain

from harness.config.study import DatasetConfig
from harness.data import cache, image_files
from harness.data.copies import PartImages, copies, digests_of
from harness.data.registry import open_dataset


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    plain(root)
    return root


def notes_of(folder):
    dataset = open_dataset(DatasetConfig(name="image_folder", path=str(folder), image_size=16, num_workers=0))
    dataset.check()
    return [note for note in dataset.info().notes if "validation image" not in note]


def images(name, contents, labels):
    return PartImages(digests_of(contents), np.array(labels), lambda i: f"{name}{i}")


def test_parts_without_copies_have_nothing_to_note():
    assert copies(images("train", [b"a", b"b"], [0, 1]), images("test", [b"c", b"d"], [0, 1])) == ()


def test_copies_within_a_class_of_train_are_no_leak():
    assert copies(images("train", [b"a", b"a", b"b"], [0, 0, 1]), images("test", [b"c"], [0])) == ()


def test_test_images_that_are_learned_from_are_counted_with_an_example():
    (note,) = copies(images("train", [b"a", b"b", b"c"], [0, 1, 1]), images("test", [b"x", b"c", b"b"], [0, 1, 1]))
    assert note == (
        "2 of 3 test images have the same bytes as a training image (such as test1 and train2): "
        "the test accuracy is too high"
    )


def test_images_of_two_classes_are_counted_over_both_parts():
    (note,) = copies(images("train", [b"a", b"b", b"b", b"e"], [0, 0, 1, 1]), images("test", [b"c", b"d"], [0, 1]))
    assert note == "2 images have the same bytes as an image of another class (such as train1 and train2)"
    leak, torn = copies(images("train", [b"a", b"b"], [0, 1]), images("test", [b"b", b"d"], [0, 1]))
    assert leak.startswith("1 of 2 test images")
    assert torn == "2 images have the same bytes as an image of another class (such as train1 and test0)"


def test_a_folder_whose_test_part_is_its_training_part_says_so(folder):
    shutil.rmtree(folder / "val")
    (folder / "val").symlink_to("train")
    (note,) = notes_of(folder)
    count = len(CLASSES) * PER_CLASS["train"]
    assert note == (
        f"{count} of {count} test images have the same bytes as a training image (such as val/ape/0.png and "
        "train/ape/0.png): the test accuracy says nothing about other images"
    )


def test_a_copy_under_another_name_and_class_is_found_again_from_the_cache(folder):
    shutil.copy(folder / "train/ape/3.png", folder / "val/bee/other.jpg")
    first = notes_of(folder)
    assert first == [
        "1 of 16 test images have the same bytes as a training image (such as val/bee/other.jpg and train/ape/3.png): the "
        "test accuracy is too high",
        "2 images have the same bytes as an image of another class (such as train/ape/3.png and val/bee/other.jpg)",
    ]
    assert notes_of(folder) == first


def test_of_large_parts_the_size_and_the_first_bytes_are_compared_and_said(folder, monkeypatch):
    monkeypatch.setattr(image_files, "FULL_DECODE_FILES", 10)
    shutil.copy(folder / "train/ape/3.png", folder / "val/ape/other.png")
    (note,) = notes_of(folder)
    assert note.startswith("1 of 16 test images have the same size and first 64 KiB as a training image")


def test_an_npz_file_is_looked_at_as_far_as_it_is_used(tmp_path):
    def encoded(seed):
        buffer = io.BytesIO()
        picture(90, seed).save(buffer, "PNG")
        return buffer.getvalue()

    parts = {"train": range(30), "test": [*range(100, 110), 29, 28]}
    found = {}
    for name, seeds in parts.items():
        contents = [encoded(seed) for seed in seeds]
        found[f"{name}_bytes"] = np.frombuffer(b"".join(contents), np.uint8)
        found[f"{name}_offsets"] = np.cumsum([0, *map(len, contents)])
        found[f"{name}_labels"] = np.array([seed % 2 for seed in seeds])
    np.savez(tmp_path / "d.npz", **found)

    def notes(**keys):
        dataset = open_dataset(DatasetConfig(name="npz_jpeg", path=str(tmp_path / "d.npz"), **keys))
        dataset.check()
        return [note for note in dataset.info().notes if "test images" in note]

    assert notes() == [
        "2 of 12 test images have the same bytes as a training image (such as image 10 of test_bytes and image 29 of "
        "train_bytes): the test accuracy is too high"
    ]
    assert notes(num_test=10) == []
