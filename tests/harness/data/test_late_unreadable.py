"""A file that becomes unreadable is left out, named once and never replaced; accuracy is over the images scored."""

import logging

import pytest
import torch
from PIL import Image
from torch import nn

from harness.config.study import DatasetConfig
from harness.data import cache
from harness.data.registry import open_dataset
from harness.task.classification import Classification
from harness.training.loop import evaluate

CPU = torch.device("cpu")
LEVELS = (40, 200)
PER_CLASS = {"train": 20, "val": 8}


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path / "cache"))
    for part, count in PER_CLASS.items():
        for name, level in zip(("dark", "light"), LEVELS, strict=True):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (16, 16), (level,) * 3).save(tmp_path / part / name / f"{i}.png")
    return tmp_path


def splits_of(root, kind, num_workers):
    keys = {"name": "timm", "timm_name": kind} if kind != "image_folder" else {"name": kind}
    dataset = open_dataset(DatasetConfig(**keys, path=str(root), image_size=16, num_workers=num_workers))
    dataset.check()
    return dataset.splits()


def damage(file, how):
    if how == "deleted":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:40])


class Brightness(nn.Module):
    """Predicts 'light' for every image brighter than the middle."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([-mean, mean], 1)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("how", ["deleted", "cut"])
@pytest.mark.parametrize("kind", ["image_folder", "folder", "torch/folder"])
def test_a_test_image_lost_after_the_check_is_left_out_and_named_once(kind, how, num_workers, root, caplog):
    test = splits_of(root, kind, num_workers).test
    lost = [root / "val" / "dark" / "3.png", root / "val" / "light" / "0.png"]
    for file in lost:
        damage(file, how)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            labels = torch.cat([labels for _, labels in test.batches(4, CPU, augment=None)])
    assert labels.tolist() == [0] * 7 + [1] * 7
    assert len(test) == 14
    for file in lost:
        assert [str(file) in record.getMessage() for record in caplog.records].count(True) == 1


def test_the_accuracy_is_over_the_images_that_were_scored(root):
    test = splits_of(root, "image_folder", 0).test
    Image.new("RGB", (16, 16), (LEVELS[1],) * 3).save(root / "val" / "dark" / "0.png")  # the prediction is wrong
    for i in range(1, 5):
        damage(root / "val" / "dark" / f"{i}.png", "cut")
    assert evaluate(Brightness(), test, Classification(2), CPU) == 11 / 12
    assert len(test) == 12


@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_goes_on_without_lost_images_and_with_no_other_in_their_place(num_workers, root):
    train = splits_of(root, "image_folder", num_workers).train
    whole = len(train)
    for i in range(PER_CLASS["train"]):
        damage(root / "train" / "light" / f"{i}.png", "deleted")
    for _ in range(2):
        labels = torch.cat([labels for _, labels in train.batches(1, CPU, augment="light")])
        assert labels.unique().tolist() == [0]
        assert len(labels) == len(train) < whole


def test_a_split_of_which_nothing_can_be_read_is_an_error(root):
    test = splits_of(root, "image_folder", 0).test
    for file in (root / "val").rglob("*.png"):
        file.unlink()
    with pytest.raises(ValueError, match="no image of the split can be read"):
        evaluate(Brightness(), test, Classification(2), CPU)


def test_workers_hand_over_their_batches_from_a_deep_temporary_folder(root, monkeypatch):
    deep = root / ("users/jane.doe/jobs/12345678.cluster.example.org/" * 2)
    deep.mkdir(parents=True)
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(deep))
    test = splits_of(root, "image_folder", 2).test
    assert sum(len(labels) for _, labels in test.batches(4, CPU, augment=None)) == 16
