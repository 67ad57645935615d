"""The script that makes the shipped file, run on idx files made here."""

import gzip
import subprocess
import sys

import numpy as np
import pytest

from harness.data import build_fashion_mnist_mini as build


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=1))


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """6,500 and 4,500 images of 2×2 pixels that encode their own number, with shuffled labels."""
    folder, rng = tmp_path_factory.mktemp("idx"), np.random.default_rng(0)
    parts = {}
    for name, count in (("train", 6_500), ("t10k", 4_500)):
        labels = rng.permutation(np.arange(count) % 10).astype(np.uint8)
        number = np.arange(count)
        images = np.stack([number // 256, number % 256, labels, labels], axis=1).astype(np.uint8).reshape(-1, 2, 2)
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels)
        parts[name] = images, labels
    return folder, parts


def test_idx_there_and_back(tmp_path):
    array = np.random.default_rng(1).integers(0, 256, (5, 3, 4), dtype=np.uint8)
    write_idx(tmp_path / "x.gz", array)
    assert np.array_equal(build.read_idx(tmp_path / "x.gz"), array)


def test_round_robin_by_hand():
    labels = np.array([3, 0, 1, 2, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert build.round_robin(labels, 1).tolist() == [1, 2, 3, 0, 4, 5, 6, 7, 8, 9]
    assert build.round_robin(labels, 1, skip=1).tolist() == [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]


def test_the_file_as_the_dataset_reads_it(originals, tmp_path):
    folder, parts = originals
    build.build(folder, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as data:
        made = dict(data)
    sizes = {"train": 5000, "val": 1000, "test": 4000}
    for part, count in sizes.items():
        images, labels = made[f"{part}_images"], made[f"{part}_labels"]
        assert len(images) == len(labels) == count
        assert np.array_equal(labels, np.arange(count) % 10), "round robin over the classes"
        number = images[:, 0, 0].astype(int) * 256 + images[:, 0, 1]
        source = parts["t10k" if part == "test" else "train"]
        assert np.array_equal(source[0][number], images)
        assert np.array_equal(source[1][number], labels)
        made[f"{part}_numbers"] = number
    assert not set(made["train_numbers"]) & set(made["val_numbers"])
    assert len(made["classes"]) == 10


def test_as_a_command(originals, tmp_path, request):
    words = [sys.executable, "-m", "harness.data.build_fashion_mnist_mini"]
    options = {"cwd": request.config.rootpath, "capture_output": True, "text": True, "check": False}
    assert subprocess.run([*words, originals[0], tmp_path / "out.npz"], **options).returncode == 0
    assert (tmp_path / "out.npz").exists()
    usage = subprocess.run(words, **options)
    assert usage.returncode == 1
    assert "usage" in usage.stderr
