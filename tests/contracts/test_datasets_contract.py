"""Every dataset of ``harness/data`` has the right shapes, types and ranges, disjoint splits and a fixed order."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from harness.config.study import DatasetConfig
from harness.data import cache, fashion_mnist_mini, npz_jpeg
from harness.data.base import TensorSplit, held_out, shift_and_flip
from harness.data.registry import list_datasets, open_dataset
from harness.errors import InputError

CPU = torch.device("cpu")
SIZE, NUM_CLASSES, PER_CLASS = 16, 3, 10


def picture(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder of tiny, distinct PNGs in 3 classes: 30 for training, 12 for testing."""
    root, seed = tmp_path_factory.mktemp("images"), 0
    for part, count in (("train", PER_CLASS), ("val", 4)):
        for label in range(NUM_CLASSES):
            (root / part / f"class{label}").mkdir(parents=True)
            for i in range(count):
                seed += 1
                picture(seed).save(root / part / f"class{label}" / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def npz(tmp_path_factory):
    """A file in the CIFAR file's layout: 30 + 12 JPEGs."""
    arrays, seed = {}, 100
    for part, count in (("train", 30), ("test", 12)):
        jpegs = []
        for _ in range(count):
            seed += 1
            buffer = io.BytesIO()
            picture(seed).save(buffer, "JPEG", quality=95)
            jpegs.append(buffer.getvalue())
        arrays[f"{part}_bytes"] = np.frombuffer(b"".join(jpegs), np.uint8)
        arrays[f"{part}_offsets"] = np.cumsum([0, *map(len, jpegs)], dtype=np.int64)
        arrays[f"{part}_labels"] = (np.arange(count) % NUM_CLASSES).astype(np.int16)
    path = tmp_path_factory.mktemp("npz") / "small.npz"
    np.savez(path, **arrays)
    return path


FILES = {"image_size": SIZE, "num_classes": NUM_CLASSES, "num_train": 30, "val_fraction": 0.2}
SMALL_CONFIGS = {
    "fashion_mnist_mini": {"num_train": 300},
    "image_folder": FILES | {"num_workers": 0, "path": "FOLDER"},
    "npz_jpeg": FILES | {"path": "NPZ"},
    "timm": FILES | {"num_workers": 0, "path": "FOLDER", "timm_name": "folder"},
}
"""The keys, besides ``name``, that make each dataset small. ``FOLDER`` and ``NPZ`` are the images made above."""


@pytest.fixture(params=list_datasets())
def config(request, folder, npz, tmp_path, monkeypatch):
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    assert request.param in SMALL_CONFIGS, f"add a small config of {request.param} to SMALL_CONFIGS in {__file__}"
    places = {"FOLDER": str(folder), "NPZ": str(npz)}
    keys = {key: places.get(value, value) for key, value in SMALL_CONFIGS[request.param].items()}
    return DatasetConfig(name=request.param, **keys)


@pytest.fixture
def dataset(config):
    made = open_dataset(config)
    made.check()
    return made


def read(split, augment=None, batch_size=7):
    images, labels = zip(*split.batches(batch_size, CPU, augment=augment), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_facts_without_reading(dataset):
    info, splits = dataset.info(), dataset.splits()
    assert splits.info == info
    assert len(splits.train) == info.num_train
    assert len(info.mean) == len(info.std) == info.image_shape[0]


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_shapes_types_and_ranges(part, dataset):
    split, info = getattr(dataset.splits(), part), dataset.info()
    images, labels = read(split)
    assert images.shape == (len(split), *info.image_shape)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert labels.shape == (len(split),)
    assert 0 <= labels.min() <= labels.max() < info.num_classes
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (info.mean, info.std))
    pixels = images * std + mean
    assert pixels.min() > -1e-4
    assert 0.5 < pixels.max() < 1 + 1e-4


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_order_for_evaluation_stays_whatever_the_batch_and_the_seed(part, dataset):
    split = getattr(dataset.splits(), part)
    torch.manual_seed(1)
    one = read(split)
    torch.manual_seed(2)
    two = read(getattr(dataset.splits(), part), batch_size=5)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


def test_splits_do_not_overlap(dataset):
    splits = dataset.splits()
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    seen = {part: {image.numpy().tobytes() for image in read(split)[0]} for part, split in parts.items()}
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]
    assert len(seen["test"]) == len(splits.test)


def test_training_batches_are_whole_shuffled_and_follow_the_seed(dataset):
    split = dataset.splits().train

    def draw(seed):
        torch.manual_seed(seed)
        return [labels for _, labels in split.batches(7, CPU, augment="none")]

    one, again, other = draw(1), draw(1), draw(2)
    assert {len(labels) for labels in one} == {7}
    assert len(one) == len(split) // 7
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("augment", ["none", "light", "timm"])
def test_augmented_images_have_the_same_shape_and_finite_numbers(augment, dataset):
    torch.manual_seed(0)
    images, labels = next(iter(dataset.splits().train.batches(6, CPU, augment=augment)))
    assert images.shape == (6, *dataset.info().image_shape)
    assert images.isfinite().all()
    assert len(labels) == 6


def test_training_images_without_augmentation_are_those_of_the_split(dataset):
    split = dataset.splits().train
    torch.manual_seed(3)
    images, _ = next(iter(split.batches(5, CPU, augment="none")))
    everything = {image.numpy().tobytes() for image in read(split)[0]}
    assert sum(image.numpy().tobytes() in everything for image in images) == 5


class TestFashionMnistMini:
    def test_every_prefix_is_balanced(self):
        labels = fashion_mnist_mini.Dataset(DatasetConfig(name="fashion_mnist_mini")).splits().train.labels
        for count in (10, 200, 1000, 4990, 5000):
            assert torch.bincount(labels[:count], minlength=10).tolist() == [count // 10] * 10

    def test_sizes(self):
        splits = fashion_mnist_mini.Dataset(DatasetConfig(name="fashion_mnist_mini")).splits()
        assert [len(s) for s in (splits.train, splits.val, splits.test)] == [5000, 1000, 4000]

    def test_a_part_is_the_first_images_and_the_other_splits_stay(self):
        whole = fashion_mnist_mini.Dataset(DatasetConfig(name="fashion_mnist_mini")).splits()
        part = fashion_mnist_mini.Dataset(DatasetConfig(name="fashion_mnist_mini", num_train=30)).splits()
        assert torch.equal(part.train.images, whole.train.images[:30])
        assert torch.equal(part.test.images, whole.test.images)

    def test_is_the_shared_file(self, shared_data):
        with np.load(shared_data / "fashion_mnist_mini.npz") as given, np.load(fashion_mnist_mini.FILE) as shipped:
            assert set(given) == set(shipped)
            assert all(np.array_equal(given[key], shipped[key]) for key in given)

    def test_its_licence_lies_beside_it(self):
        text = fashion_mnist_mini.FILE.with_name("fashion_mnist_mini.LICENSE").read_text()
        assert "MIT" in text
        assert "Zalando" in text


class TestNpzJpeg:
    def make(self, path, tmp_path, monkeypatch, **fields):
        monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
        return npz_jpeg.Dataset(DatasetConfig(name="npz_jpeg", path=str(path), **fields))

    def test_images_are_those_that_were_written(self, npz, tmp_path, monkeypatch):
        splits = self.make(npz, tmp_path, monkeypatch, image_size=SIZE, num_classes=3).splits()
        with np.load(npz) as data:
            raw, offsets = data["train_bytes"].tobytes(), data["train_offsets"]
        third = np.asarray(Image.open(io.BytesIO(raw[offsets[2] : offsets[3]])).convert("RGB"))
        assert np.array_equal(splits.train.images[2].permute(1, 2, 0).numpy(), third)

    def test_the_second_reading_comes_from_the_cache_and_is_the_same(self, npz, tmp_path, monkeypatch):
        dataset = self.make(npz, tmp_path, monkeypatch, image_size=SIZE, num_classes=3)
        first = dataset.splits()
        monkeypatch.setattr(npz_jpeg, "_decode", lambda *_: pytest.fail("decoded again"))
        assert torch.equal(dataset.splits().test.images, first.test.images)

    def test_another_size_is_resized(self, npz, tmp_path, monkeypatch):
        splits = self.make(npz, tmp_path, monkeypatch, image_size=8, num_classes=3).splits()
        assert splits.val.images.shape[1:] == (3, 8, 8)

    def test_a_slice_of_cifar10(self, shared_data, tmp_path, monkeypatch):
        path = shared_data / "cifar10_jpeg.npz"
        if not path.exists():
            pytest.skip("no CIFAR-10 file")
        dataset = self.make(path, tmp_path, monkeypatch, num_train=200)
        dataset.check()
        assert dataset.info().num_train == 180
        images, labels = dataset._decoded("train", 200)
        assert torch.bincount(labels).tolist() == [20] * 10
        assert abs(float(images.float().mean()) / 255 - 0.473) < 0.05


class TestParts:
    @pytest.mark.parametrize(("count", "fraction", "val"), [(10, 0.1, 1), (10, 0.01, 1), (100, 0.25, 25), (3, 0.4, 1)])
    def test_held_out(self, count, fraction, val):
        learn, select = held_out(count, fraction)
        assert len(select) == val
        assert [*learn, *select] == list(range(count))

    def test_shift_and_flip_only_moves_and_mirrors(self):
        torch.manual_seed(0)
        images = torch.zeros(600, 1, 14, 14)
        images[:, :, 7, 5] = 1.0
        moved = shift_and_flip(images)
        assert moved.shape == images.shape
        assert torch.equal(moved.sum((1, 2, 3)), torch.ones(600))
        places = {(int(r), int(c)) for r, c in moved[:, 0].nonzero()[:, 1:]}
        assert places == {(r, c) for r in (6, 7, 8) for c in (4, 5, 6, 7, 8, 9)}

    def test_a_split_smaller_than_a_batch_is_one_batch(self):
        info = fashion_mnist_mini.Dataset(DatasetConfig(name="fashion_mnist_mini")).info()
        split = TensorSplit(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.arange(3), info)
        assert [len(labels) for _, labels in split.batches(64, CPU, augment="none")] == [3]

    def test_an_unknown_name_lists_those_there_are(self):
        with pytest.raises(InputError, match="fashion_mnist_mini, image_folder, npz_jpeg, timm"):
            open_dataset(DatasetConfig(name="imagenet"))
