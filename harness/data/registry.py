"""Datasets: one file each, in this folder, an installed package, or named by a study; each has a class ``Dataset``."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from accounting.study import plugins
from harness.config.study import DatasetConfig
from harness.errors import InputError

if TYPE_CHECKING:  # it imports torch, which listing names does not need
    from harness.data.base import Dataset


MEMBERS = ("KEYS", "info", "check", "fingerprint", "splits")
"""Members that a dataset's class must have."""


def list_datasets() -> list[str]:
    """The dataset names that a config may use."""
    return plugins.names(plugins.Kind.DATASET)


def open_dataset(config: DatasetConfig) -> Dataset:
    """The dataset that a config names.

    Raises:
        InputError: the name is unknown (the message lists the known ones), the class lacks a member, a key is not used by
            the dataset, or an option is wrong.

    """
    try:
        module = plugins.load(plugins.Kind.DATASET, config.name)
    except plugins.PluginError as error:
        raise InputError(str(error)) from None
    kind = module.Dataset
    lacks = [member for member in MEMBERS if not hasattr(kind, member)]
    if lacks:
        raise InputError(
            f"dataset {config.name}: its class Dataset has no {', '.join(lacks)}; harness/data/base.py says what each does"
        )
    taken = getattr(module, "Options", None)
    unused = sorted(config.model_fields_set - {"name", *(() if taken is None else ("options",)), *kind.KEYS})
    if unused:
        named = "; ".join(f"dataset.{key}: not a key of {config.name}" for key in unused)
        raise InputError(f"{named}; it takes {', '.join(kind.KEYS)}")
    if taken is not None:
        for _, problem in plugins.option_problems(f"dataset.options: {config.name}", taken, config.options):
            raise InputError(problem)
    return cast("Dataset", kind(config))
