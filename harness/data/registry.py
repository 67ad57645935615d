"""Finds datasets by the names of the files in this folder; there is no list to edit."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

from harness.config import DatasetConfig
from harness.errors import InputError

if TYPE_CHECKING:  # it imports torch, which the names do not need
    from harness.data.base import Dataset

_NOT_DATASETS = {"__init__", "base", "registry", "build_fashion_mnist_mini", "transforms"}


def list_datasets() -> list[str]:
    """Names that a config may give."""
    return sorted(f.stem for f in Path(__file__).parent.glob("*.py") if f.stem not in _NOT_DATASETS)


def open_dataset(config: DatasetConfig) -> Dataset:
    """The dataset a config names; ``InputError`` lists the names there are."""
    if config.name not in list_datasets():
        raise InputError(f"unknown dataset {config.name!r}; allowed: {', '.join(list_datasets())}")
    module = importlib.import_module(f"harness.data.{config.name}")
    return cast("Dataset", module.Dataset(config))
