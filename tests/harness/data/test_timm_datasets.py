"""Datasets opened through timm: labels, classes, counts and images are checked before anything is paid for."""

import struct

import numpy as np
import pytest
import torch
from PIL import Image

from harness.config.study import DatasetConfig
from harness.data import cache
from harness.data.registry import open_dataset
from harness.errors import InputError

CPU = torch.device("cpu")
SIZE, NUM_TRAIN, NUM_TEST = 28, 60, 30


def opened(root, name, **keys):
    keys = {"image_size": 16, "num_workers": 0} | keys
    return open_dataset(DatasetConfig(name="timm", timm_name=name, path=str(root), **keys))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    folder = str(tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: folder)


def write_idx(path, array):
    header = struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist(tmp_path):
    """A function that writes MNIST's four files; every image is flat, with 20 times its label as the level."""

    def write(train=None, test=None):
        raw = tmp_path / "MNIST" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        for name, labels in (("train", train), ("t10k", test)):
            labels = np.arange(NUM_TRAIN if name == "train" else NUM_TEST) % 10 if labels is None else np.array(labels)
            pixels = np.broadcast_to(20 * labels[:, None, None] % 256, (len(labels), SIZE, SIZE))
            write_idx(raw / f"{name}-images-idx3-ubyte", pixels)
            write_idx(raw / f"{name}-labels-idx1-ubyte", labels)
        return tmp_path

    return write


def folder(root, classes=("ape", "bee", "cat"), counts=(12, 5)):
    for part, count in zip(("train", "val"), counts, strict=True):
        for k, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (16, 16), (20 + 80 * k,) * 3).save(root / part / name / f"{i}.png")
    return root


def levels(split, info):
    images, labels = zip(*split.batches(16, CPU, augment=None), strict=True)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (info.mean, info.std))
    return ((torch.cat(images) * std + mean).mean((1, 2, 3)) * 255).round().int().tolist(), torch.cat(labels).tolist()


def test_a_torch_dataset_is_counted_and_each_image_has_its_label(mnist):
    dataset = opened(mnist(), "torch/mnist")
    dataset.check()
    info, splits = dataset.info(), dataset.splits()
    assert (info.num_train, info.num_val, info.num_test, info.num_classes) == (54, 6, 30, 10)
    for split in (splits.train, splits.val, splits.test):
        shown, labels = levels(split, info)
        assert shown == [20 * label for label in labels]
        assert len(labels) == len(split)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"train": np.arange(60) % 9}, "class 9 - nine .*no image in train"),
        ({"test": np.arange(30) % 9}, "class 9 - nine .*no image in validation"),
        ({"train": np.arange(60) % 10 + 1}, "train .*label 10; allowed are 0 to 9"),
        ({"test": np.r_[np.arange(29) % 10, 255]}, "validation .*label 255; allowed are 0 to 9"),
    ],
)
def test_labels_of_a_torch_dataset_that_would_mislead_are_refused_by_check_and_plan(contents, words, mnist):
    root = mnist(**contents)
    for ask in ("check", "info"):
        with pytest.raises(InputError, match=words) as refusal:
            getattr(opened(root, "torch/mnist"), ask)()
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "given", "words"),
    [
        ("num_train", 61, "61 given.*has 60"),
        ("num_test", 31, "31 given.*has 30"),
        ("num_classes", 7, "7 given.*has 10 classes"),
    ],
)
def test_counts_that_are_not_there_are_refused_by_plan_too(key, given, words, mnist):
    with pytest.raises(InputError, match=rf"dataset\.{key}: {words}"):
        opened(mnist(), "torch/mnist", **{key: given}).info()


def test_what_is_there_is_counted_with_download_allowed_and_what_is_not_is_assumed(mnist, tmp_path):
    there = opened(mnist(), "torch/mnist", download=True).info()
    assert (there.num_train, there.num_test) == (54, 30)
    assert not any("assumed" in note for note in there.notes)
    (tmp_path / "empty").mkdir()
    assumed = opened(tmp_path / "empty", "torch/mnist", download=True, num_classes=10).info()
    assert assumed.num_train == 45_000
    assert "50,000 training images are assumed" in assumed.notes[0]


@pytest.mark.parametrize("name", ["folder", "torch/folder"])
class TestFolders:
    def test_a_plain_one_gives_each_image_its_label(self, name, tmp_path):
        splits = opened(folder(tmp_path), name).splits()
        assert splits.info.class_names == ("ape", "bee", "cat")
        for split in (splits.train, splits.val, splits.test):
            shown, labels = levels(split, splits.info)
            assert shown == [20 + 80 * label for label in labels]

    def test_sixteen_bits_look_as_eight_do(self, name, tmp_path):
        root = folder(tmp_path)
        for k, kind in enumerate(("ape", "bee", "cat")):
            for file in (root / "val" / kind).iterdir():
                Image.fromarray(np.full((16, 16), (20 + 80 * k) * 257, np.uint16)).save(file)
        splits = opened(root, name).splits()
        shown, labels = levels(splits.test, splits.info)
        assert shown == [20 + 80 * label for label in labels]

    @pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n cut"])
    def test_an_unreadable_image_is_refused_and_not_replaced(self, name, content, tmp_path):
        root = folder(tmp_path)
        (root / "val" / "bee" / "2.png").write_bytes(content)
        for ask in ("check", "info"):
            with pytest.raises(InputError, match=r"dataset\.timm_name"):
                getattr(opened(root, name), ask)()

    def test_a_class_that_a_split_lacks_is_refused(self, name, tmp_path):
        root = folder(tmp_path)
        for file in (root / "val" / "bee").iterdir():
            file.unlink()
        with pytest.raises(InputError, match=r"dataset\.timm_name"):
            opened(root, name).info()

    def test_files_that_its_reader_passes_over_are_refused(self, name, tmp_path):
        root = folder(tmp_path)
        for file in sorted((root / "train" / "ape").iterdir())[::2]:
            Image.open(file).save(file.with_suffix(".avif.tiff"))
            file.rename(file.with_suffix(".weird"))
        with pytest.raises(InputError, match="image_folder"):
            opened(root, name).check()


@pytest.mark.parametrize("name", ["torch/no_such", "hfids/x", "torch/cifar10"])
def test_a_name_that_cannot_be_opened_is_refused_in_one_line(name, tmp_path):
    with pytest.raises(InputError, match=r"dataset\.timm_name: .* cannot be opened") as refusal:
        opened(folder(tmp_path), name).check()
    assert "\n" not in str(refusal.value)
