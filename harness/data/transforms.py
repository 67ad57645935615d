"""Splits for datasets of image files, with timm's transforms and a validation part held out by a fixed shuffle."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch.utils.data
from PIL.Image import Image
from timm.data import create_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from accounting.words.plain_text import plain
from harness.config.recipe import DEFAULT_MAGNITUDE
from harness.config.study import DatasetConfig
from harness.data.augment import made_safe
from harness.data.base import DataInfo, NamesImages, Splits, held_out
from harness.data.loader_split import LoaderSplit
from harness.data.pixels import to_rgb
from harness.data.readers import OpenDataset, Readers
from harness.errors import InputError

INTERPOLATION = "bicubic"
MAX_RATIO = 50
"""The highest ratio of an image's longer to its shorter side; beyond it, the ends are cut off."""
SMALL = 128
"""Images with a side below this are evaluated whole, and cropped less in training."""


def file_facts(
    config: DatasetConfig,
    *,
    num_train: int,
    num_val: int | None = None,
    num_test: int = 0,
    class_names: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    where: Path | str | None = None,
) -> DataInfo:
    """Facts of ``num_train`` images for training and validation (the config may use fewer) and ``num_test`` for test.

    ``num_val`` is given if validation has images of its own, so that none is held out of those for training. ``where`` is
    given if there is no data to count: the facts are then assumed, and a note says so.

    Raises:
        InputError: the config lacks something that it must give, or gives it wrongly.

    """
    size = image_size(config)
    num_classes = len(class_names) or config.num_classes
    if num_classes is None:
        told = "" if where is None else f"; there is no data at {where} to count them"
        raise InputError(f"dataset.num_classes is missing; {config.name} needs it{told}")
    count = config.num_train or num_train
    if where is not None and config.num_train is None:
        notes = (*notes, f"no data at {where}: {num_train:,} training images are assumed; give dataset.num_train")
    held = held_out(count, config.val_fraction)
    learns, selects = (
        (len(held[0]), len(held[1])) if num_val is None else (count, _same_share(num_train, num_val, config))
    )
    mean, std = normalisation(config, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    return DataInfo(
        image_shape=(3, size, size),
        num_classes=num_classes,
        mean=mean,
        std=std,
        num_train=learns,
        class_names=class_names,
        num_val=selects,
        num_test=min(num_test, config.num_test or num_test),
        crop_pct=1.0 if size < SMALL else 0.875,
        interpolation=INTERPOLATION,
        notes=notes,
        resize="shorter_side",
    )


def image_size(config: DatasetConfig) -> int:
    """The side of the images in pixels.

    Raises:
        InputError: the config does not give it.

    """
    if config.image_size is None:
        raise InputError(f"dataset.image_size is missing; {config.name} needs the side of its images, such as 224")
    return config.image_size


def normalisation(
    config: DatasetConfig, mean: Sequence[float], std: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The config's mean and std, or else the given ones; three numbers each."""
    found = tuple(mean if config.mean is None else config.mean), tuple(std if config.std is None else config.std)
    if len(found[0]) != 3 or len(found[1]) != 3:
        raise InputError(
            f"dataset: mean and std have one number a channel, 3; given {len(found[0])} and {len(found[1])}"
        )
    for key, numbers in zip(("mean", "std"), found, strict=True):
        if not all(0 <= number <= 1 for number in numbers):
            raise InputError(f"dataset.{key}: {list(numbers)} given; pixels are 0 to 1 here, so divide by 255")
    return found


def check_counts(config: DatasetConfig, num_train: int, num_test: int, num_classes: int, where: Path | str) -> None:
    """Check the config's counts against the data's.

    Raises:
        InputError: the config asks for counts that the data does not have, or the data has fewer than two classes.

    """
    if config.num_classes is not None and config.num_classes != num_classes:
        raise InputError(
            f"dataset.num_classes: {config.num_classes} given, {where} has {num_classes} classes; leave it out"
        )
    if num_classes < 2:
        raise InputError(f"dataset.path: {where} has {num_classes} class; a classifier needs 2 or more")
    for key, given, there in (("num_train", config.num_train, num_train), ("num_test", config.num_test, num_test)):
        if given is not None and given > there:
            raise InputError(
                f"dataset.{key}: {given:,} given, {where} has {there:,}; give at most that, or leave it out"
            )


def unseen_classes(
    info: DataInfo, config: DatasetConfig, labels: Sequence[int], where: Path | str, own: Sequence[int] | None = None
) -> DataInfo:
    """The facts, with a note of the number of classes that have no validation image.

    ``labels`` are those of all training images, ``own`` those of the validation images, if none is held out.

    Raises:
        InputError: a class has no image left to train on.

    """
    if config.num_train is not None and config.num_train > len(labels):
        return info  # refused by check_counts
    learn, select = _orders(len(labels), None if own is None else len(own), config)
    taught, seen = {labels[i] for i in learn}, labels if own is None else own
    never = sorted(set(range(info.num_classes)) - taught)
    if never:
        name = plain(info.class_names[never[0]]) if info.class_names else never[0]
        if own is not None:
            raise InputError(
                f"dataset: class {name} of {where} has no image among the {len(learn):,} to learn from; give more images "
                "(num_train)"
            )
        raise InputError(
            f"dataset: class {name} of {where} has no image left to learn from, after {len(select)} of "
            f"{len(learn) + len(select)} are held out for validation; give more images (num_train) or a smaller val_fraction"
        )
    lacking = info.num_classes - len({seen[i] for i in select})
    if not lacking:
        return info
    return replace(info, notes=(*info.notes, f"{lacking} of {info.num_classes} classes have no validation image"))


def held_out_order(count: int, config: DatasetConfig) -> tuple[np.ndarray, np.ndarray]:
    """Indices of ``count`` images for training and for validation, by a fixed shuffle."""
    order = np.random.default_rng(0).permutation(count)[: config.num_train]
    learn, select = held_out(len(order), config.val_fraction)
    return order[learn.start : learn.stop], order[select.start :]


def _orders(num_train: int, num_val: int | None, config: DatasetConfig) -> tuple[np.ndarray, np.ndarray]:
    """Indices for training and for validation; the latter are of images of their own if there are ``num_val`` of these."""
    if num_val is None:
        return held_out_order(num_train, config)
    learn = np.random.default_rng(0).permutation(num_train)[: config.num_train]
    select = np.random.default_rng(0).permutation(num_val)[: _same_share(num_train, num_val, config)]
    return learn, np.sort(select)


def _same_share(num_train: int, num_val: int, config: DatasetConfig) -> int:
    """The number of validation images that is the same share of all as the config uses of the training images."""
    return max(1, round(num_val * min(1.0, (config.num_train or num_train) / max(1, num_train))))


class OpenedImages(Protocol):
    """A map-style dataset of (PIL image, label)."""

    transform: Callable[[Image], object] | None

    def __len__(self) -> int: ...


def file_splits(
    config: DatasetConfig, info: DataInfo, train: OpenedImages, test: OpenedImages, val: OpenedImages | None = None
) -> Splits:
    """Splits of map-style datasets of (PIL image, label) with an attribute ``transform``.

    Without ``val``, validation is held out of ``train``. Each dataset is opened once, since listing a folder of a million
    files takes minutes.
    """
    learn, select = _orders(len(train), None if val is None else len(val), config)

    def split(opened: OpenDataset, indices: np.ndarray, readers: Readers) -> LoaderSplit:
        places = tuple(int(i) for i in indices)
        return LoaderSplit(opened, places, config.num_workers, normalisation=info.normalisation, readers=readers)

    order = np.arange(len(test))
    if config.num_test is not None and config.num_test < len(test):
        order = np.sort(np.random.default_rng(0).permutation(len(test))[: config.num_test])
    learned: OpenDataset = partial(_seen_through, train, info)
    tested: OpenDataset = partial(_seen_through, test, info)
    if val is not None:
        learned, select = partial(_seen_in_turn, (train, val), info), len(train) + select
    readers = Readers()  # of the training and the validation images, which alternate
    return Splits(
        info, split(learned, learn, readers), split(learned, select, readers), split(tested, order, Readers())
    )


def _seen_through(part: OpenedImages, info: DataInfo, augment: str | None) -> Any:
    """The same open dataset with the transform for ``augment``."""
    dataset = copy.copy(part)
    dataset.transform = _transform(info, augment)
    return dataset


def _seen_in_turn(parts: Sequence[OpenedImages], info: DataInfo, augment: str | None) -> InTurn:
    """Several open datasets as one, so that the same processes read them."""
    return InTurn([_seen_through(part, info, augment) for part in parts])


class Numbered(Protocol):
    """What has images by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


class InTurn(torch.utils.data.Dataset[object]):
    """The images of several datasets, each numbered on from the one before."""

    def __init__(self, parts: Sequence[Numbered]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __getitem__(self, index: int) -> object:
        part, own = self._place(index)
        return part[own]

    def path(self, index: int) -> str:
        """The image's file, or its number where a dataset does not name its images."""
        part, own = self._place(index)
        return str(part.path(own)) if isinstance(part, NamesImages) else f"image {index}"

    def _place(self, index: int) -> tuple[Numbered, int]:
        """The dataset that has an image, and its index there."""
        for part in self._parts:
            if index < len(part):
                return part, index
            index -= len(part)
        raise IndexError(index)


def without_far_ends(image: Image) -> Image:
    """The middle of an image whose longer side is more than ``MAX_RATIO`` times its shorter side.

    The shorter side is resized to the size of the images, and the longer one with it, before the middle is cut out. A
    row of 60,000 pixels, a file of a few bytes, would take 16 GB.
    """
    width, height = image.size
    most = MAX_RATIO * min(width, height)
    if max(width, height) <= most:
        return image
    left, top = max(0, width - most) // 2, max(0, height - most) // 2
    return image.crop((left, top, left + min(width, most), top + min(height, most)))


def _transform(info: DataInfo, augment: str | None) -> Callable[[Image], Tensor]:
    """The transform of a PIL image of any mode to a tensor of uint8: timm's, without a crop if images are small."""
    height = info.image_shape[1]
    name, _, strength = (augment or "").partition("-m")
    magnitude = strength or str(DEFAULT_MAGNITUDE)
    transform = create_transform(
        input_size=info.image_shape,
        is_training=augment is not None,
        no_aug=augment == "none",
        normalize=False,  # a batch is normalised on its device
        mean=info.mean,
        std=info.std,
        interpolation=info.interpolation,
        crop_pct=info.crop_pct,
        auto_augment=f"rand-m{magnitude}-mstd0.5-inc1" if name == "timm" else None,
        scale=(0.08, 1.0) if height >= SMALL else (0.6, 1.0),
    )
    transform.transforms[:0] = [to_rgb, without_far_ends]
    safe: Callable[[Image], Tensor] = made_safe(transform)
    return safe
