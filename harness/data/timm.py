"""Anything that ``timm.data.create_dataset`` knows: ``timm_name: torch/cifar10``, ``hfds/…``, ``tfds/…``, a folder.

The split ``train`` is divided into train and validation; the split ``validation`` is the test split here.
"""

from __future__ import annotations

from pathlib import Path

from harness.config import DatasetConfig
from harness.data.base import DataInfo, Splits
from harness.data.transforms import file_info, file_splits
from harness.errors import InputError, one_line


class Dataset:
    """See the module's text; needs ``timm_name``, ``image_size`` and ``num_classes``."""

    def __init__(self, config: DatasetConfig) -> None:
        if config.timm_name is None:
            raise InputError("dataset.timm_name is missing; give a name of timm.data.create_dataset, as torch/cifar10")
        self._config = config

    def info(self) -> DataInfo:
        """ImageNet's mean and std; ``num_train`` from the config, or CIFAR's 50,000."""
        return file_info(self._config, default_num_train=50_000)

    def check(self) -> None:
        """Open both splits once (and download, where the config allows it)."""
        if (
            self._config.path is not None
            and not self._config.download
            and not Path(self._config.path).expanduser().exists()
        ):
            raise InputError(
                f"dataset.path: no folder {self._config.path}; give the data's folder or set download: true"
            )
        try:
            for split in ("train", "validation"):
                self._open(split, None)
        except (
            RuntimeError,
            OSError,
            ValueError,
            AssertionError,
            ImportError,
            AttributeError,
            TypeError,
            KeyError,
        ) as error:
            raise InputError(
                f"dataset.timm_name: {self._config.timm_name} cannot be opened: {one_line(error)}"
            ) from None

    def splits(self) -> Splits:
        """Read through timm."""
        return file_splits(
            self._config, self.info(), lambda t: self._open("train", t), lambda t: self._open("validation", t)
        )

    def _open(self, split: str, transform):
        from timm.data import create_dataset

        dataset = create_dataset(
            self._config.timm_name,
            root=str(Path(self._config.path).expanduser()) if self._config.path else None,
            split=split,
            download=self._config.download,
        )
        dataset.transform = transform
        return dataset
