"""Finds datasets by the files in this folder that hold a ``class Dataset``; there is no list to edit."""

from __future__ import annotations

import difflib
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

from harness.config.study import DatasetConfig
from harness.errors import InputError

if TYPE_CHECKING:  # it imports torch, which the names do not need
    from harness.data.base import Dataset

_IS_DATASET = re.compile(r"^class Dataset:", re.MULTILINE)


def list_datasets() -> list[str]:
    """Names that a config may give."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if _IS_DATASET.search(file.read_text(encoding="utf-8")))


def open_dataset(config: DatasetConfig) -> Dataset:
    """The dataset a config names; ``InputError`` lists the names there are, or names a key that it does not use."""
    names = list_datasets()
    if config.name not in names:
        near = difflib.get_close_matches(config.name, names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"unknown dataset {config.name!r}{hint}; allowed: {', '.join(names)}")
    kind = importlib.import_module(f"harness.data.{config.name}").Dataset
    unused = sorted(config.model_fields_set - {"name", *kind.KEYS})
    if unused:
        named = "; ".join(f"dataset.{key}: not a key of {config.name}" for key in unused)
        raise InputError(f"{named}; it takes {', '.join(kind.KEYS)}")
    return cast("Dataset", kind(config))
