"""Fashion-MNIST mini: 5,000 train, 1,000 validation and 4,000 test images, shipped with the package.

28×28 grey, 10 classes, balanced in every prefix. From Xiao, Rasul, Vollgraf, arXiv 1708.07747; its MIT licence is next
to the file. ``build_fashion_mnist_mini.py`` rebuilds the file from the original idx files.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from harness.config.study import DatasetConfig
from harness.data.base import DataInfo, Splits, TensorSplit
from harness.errors import InputError

FILE = Path(__file__).with_name("fashion_mnist_mini.npz")
SHA256 = "a54cb8c7297431d070fb40b6f39ed56f42d8c70117a63bfaa14558ab77834b6c"


class Dataset:
    """See the module docstring; ``num_train`` in the config takes that many of the first training images."""

    KEYS = ("num_train",)
    REPEATED = True

    def __init__(self, config: DatasetConfig) -> None:
        self._num_train = config.num_train or 5000
        if self._num_train > 5000:
            raise InputError(f"dataset.num_train: {self._num_train} given, fashion_mnist_mini has 5000")

    def info(self) -> DataInfo:
        """The facts, after a check of the file; mean and std are those of the 60,000 original training images."""
        self.check()
        with np.load(FILE) as data:
            names = tuple(str(name) for name in data["classes"])
        return DataInfo(
            (1, 28, 28),
            len(names),
            (0.2860,),
            (0.3530,),
            self._num_train,
            class_names=names,
            num_val=1000,
            num_test=4000,
        )

    def check(self) -> None:
        """Check that the package's file is there and undamaged."""
        if not FILE.exists():
            raise InputError("the package's fashion_mnist_mini.npz is missing; install prune-or-search again")
        if hashlib.sha256(FILE.read_bytes()).hexdigest() != SHA256:
            raise InputError("the package's fashion_mnist_mini.npz is damaged; install prune-or-search again")

    def fingerprint(self) -> str:
        """A digest of the package's file and of how many training images are used."""
        return hashlib.sha256(FILE.read_bytes() + f" {self._num_train}".encode()).hexdigest()

    def splits(self) -> Splits:
        """The three splits, in memory."""
        with np.load(FILE) as data:
            count = {"train": self._num_train, "val": 1000, "test": 4000}
            parts = {
                name: TensorSplit(
                    torch.from_numpy(data[f"{name}_images"][:n]).unsqueeze(1),
                    torch.from_numpy(data[f"{name}_labels"][:n]).long(),
                    self.info(),
                )
                for name, n in count.items()
            }
        return Splits(self.info(), **parts)
