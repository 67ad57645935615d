"""Makes ``fashion_mnist_mini.npz`` again from Fashion-MNIST's four original idx files.

usage: python -m harness.data.build_fashion_mnist_mini FOLDER_WITH_IDX_GZ OUT.npz

The first n images of each class, round robin over the classes: train 500 per class and then validation 100 per class
from the original training part, test 400 per class from the original test part.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def read_idx(path: Path) -> np.ndarray:
    """The array in one gzipped idx file (uint8): magic number, sizes as big-endian int32, bytes."""
    raw = gzip.decompress(path.read_bytes())
    num_dims = raw[3]
    shape = np.frombuffer(raw, ">i4", num_dims, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * num_dims).reshape(shape)


def round_robin(labels: np.ndarray, per_class: int, skip: int = 0) -> np.ndarray:
    """Indices of images ``skip`` to ``skip + per_class`` of each class, taking one of each class in turn."""
    by_class = [np.flatnonzero(labels == c)[skip : skip + per_class] for c in range(len(CLASSES))]
    return np.stack(by_class, axis=1).reshape(-1)


def build(folder: Path, out: Path) -> None:
    """Write the npz file."""
    images = read_idx(folder / "train-images-idx3-ubyte.gz"), read_idx(folder / "t10k-images-idx3-ubyte.gz")
    labels = read_idx(folder / "train-labels-idx1-ubyte.gz"), read_idx(folder / "t10k-labels-idx1-ubyte.gz")
    index = {
        "train": (0, round_robin(labels[0], 500)),
        "val": (0, round_robin(labels[0], 100, skip=500)),
        "test": (1, round_robin(labels[1], 400)),
    }
    arrays = {f"{name}_images": images[part][i] for name, (part, i) in index.items()}
    arrays |= {f"{name}_labels": labels[part][i] for name, (part, i) in index.items()}
    np.savez_compressed(out, classes=np.array(CLASSES), **arrays)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    build(Path(sys.argv[1]), Path(sys.argv[2]))
