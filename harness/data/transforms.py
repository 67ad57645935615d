"""Splits of datasets of image files, with timm's transforms and a validation part held out by a fixed shuffle."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from timm.data import create_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from harness.config import DatasetConfig
from harness.data.base import DataInfo, LoaderSplit, Splits, held_out
from harness.errors import InputError


def file_info(config: DatasetConfig, *, default_num_train: int) -> DataInfo:
    """Facts from the config alone; ``InputError`` where it does not give them."""
    for field in ("image_size", "num_classes"):
        if getattr(config, field) is None:
            raise InputError(f"dataset.{field} is missing; {config.name} needs it")
    num_train = len(held_out(config.num_train or default_num_train, config.val_fraction)[0])
    size = config.image_size
    return DataInfo((3, size, size), config.num_classes, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, num_train)


def file_splits(config: DatasetConfig, info: DataInfo, open_train: Callable, open_test: Callable) -> Splits:
    """``open_*(transform)`` gives a map-style dataset with an attribute ``transform``.

    Each part is opened once (a folder of a million files takes minutes to list); a fixed shuffle decides what is held out
    for validation.
    """
    train, test_part = open_train(None), open_test(None)
    order = np.random.default_rng(0).permutation(len(train))[: config.num_train]
    learn, select = held_out(len(order), config.val_fraction)

    def split(part: Any, indices: np.ndarray) -> LoaderSplit:
        return LoaderSplit(partial(_seen_through, part, info), tuple(int(i) for i in indices), config.num_workers)

    test = split(test_part, np.arange(len(test_part)))
    return Splits(info, split(train, order[learn.start : learn.stop]), split(train, order[select.start :]), test)


def _seen_through(part: Any, info: DataInfo, augment: str | None) -> Any:
    """The same opened dataset with the transform for ``augment``."""
    dataset = copy.copy(part)
    dataset.transform = _transform(info, augment)
    return dataset


def _transform(info: DataInfo, augment: str | None) -> Callable:
    """The transform of timm; small images are not cropped away at evaluation."""
    _, height, _ = info.image_shape
    return create_transform(
        input_size=info.image_shape,
        is_training=augment is not None,
        no_aug=augment == "none",
        mean=info.mean,
        std=info.std,
        interpolation="bicubic",
        crop_pct=1.0 if height < 128 else 0.875,
        auto_augment="rand-m9-mstd0.5-inc1" if augment == "timm" else None,
        scale=(0.08, 1.0) if height >= 128 else (0.6, 1.0),
    )
