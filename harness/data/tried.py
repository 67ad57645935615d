"""Checks that a user's own dataset provides what its ``info`` says, by reading a few images of each part."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from accounting.study import plugins
from harness.config.study import DatasetConfig
from harness.data.base import DataInfo, Dataset, Labelled, Split
from harness.errors import InputError, typed_line

NUM_TRIED = 2
"""Number of images of each part that are read, both as for evaluation and as for training."""


def check_own(config: DatasetConfig, dataset: Dataset) -> None:
    """Check a user's own dataset by reading a few of its images.

    The package's and installed datasets are not tried; they have their own ``check``.

    Raises:
        InputError: the dataset's file fails, or its data cannot be trained on; the message is one line.

    """
    file = plugins.file_of(plugins.Kind.DATASET, config.name)
    if file is None:
        return
    said = f"dataset {config.name} of {file.path}"
    try:
        info, splits = dataset.info(), dataset.splits()
        problem = next(
            (
                f"{part}: {found}"
                for part, split in (("train", splits.train), ("val", splits.val), ("test", splits.test))
                if (found := _problem(part, split, info)) is not None
            ),
            None,
        )
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{said} fails: {typed_line(error)}{plugins.line_text(error)}") from error
    if problem is not None:
        raise InputError(f"{said}: {problem}")


def _problem(part: str, split: Split, info: DataInfo) -> str | None:
    """What is wrong with a part, or None."""
    if len(split) < 1:
        return "has no images"
    said = {"train": info.num_train, "val": info.num_val, "test": info.num_test}[part]
    if said and said != len(split):
        return f"has {len(split):,} images, its info says {said:,}"
    for augment in (None, "none"):
        batch = next(
            iter(islice(split.batches(min(NUM_TRIED, len(split)), torch.device("cpu"), augment=augment), 1)), None
        )
        if batch is None:
            return "gives no batch"
        if (problem := _batch_problem(*batch, info)) is not None:
            return problem
    if not isinstance(split, Labelled) or not isinstance(split.labels, Tensor):
        return None
    return info.task.fault_of_targets(split.labels, len(split.labels))


def _batch_problem(images: Tensor, targets: Tensor, info: DataInfo) -> str | None:
    if not (isinstance(images, Tensor) and isinstance(targets, Tensor)):
        return f"gives batches of {type(images).__name__} and {type(targets).__name__}; tensors are needed"
    if tuple(images.shape[1:]) != info.image_shape or not images.is_floating_point():
        return (
            f"gives images of shape {tuple(images.shape[1:])} and {images.dtype}; its info says {info.image_shape}, and "
            "normalised floats are needed"
        )
    if not images.isfinite().all():
        return "gives pixels that are not finite"
    return info.task.fault_of_targets(targets, len(images))
