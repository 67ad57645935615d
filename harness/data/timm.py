"""Any dataset of ``timm.data.create_dataset``: ``timm_name: torch/cifar10``, ``hfds/…``, a folder.

Its split ``train`` is divided into train and validation; its split ``validation`` is the test split here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from harness.config.study import DatasetConfig
from harness.data.base import DataInfo, Splits
from harness.data.image_files import read_part
from harness.data.pixels import NotAnImage, read_rgb
from harness.data.transforms import check_counts, file_facts, file_splits, image_size, unseen_classes
from harness.errors import InputError, one_line
from harness.paths import is_there

ASSUMED_TRAIN = 50_000
"""CIFAR's number, assumed when a study is planned without its data."""
NUM_SAMPLED = 64
"""Number of evenly spaced images of each split that ``check`` reads."""

NOT_OPENED = (
    RuntimeError, OSError, ValueError, AssertionError, ImportError, AttributeError, TypeError, KeyError, EOFError,
)  # fmt: skip
"""What timm's readers raise for a name, folder or file that they cannot open."""


class Dataset:
    """See the module docstring; needs ``timm_name``, ``image_size``, and ``num_classes`` if the data has no names."""

    KEYS = (
        "timm_name", "path", "download", "image_size", "num_classes", "num_train", "num_test", "mean", "std",
        "val_fraction", "num_workers",
    )  # fmt: skip
    RANDAUGMENT = REPEATED = True

    def __init__(self, config: DatasetConfig) -> None:
        if config.timm_name is None:
            raise InputError("dataset.timm_name is missing; give a name of timm.data.create_dataset, as torch/cifar10")
        self._config = config

    def info(self) -> DataInfo:
        """Facts counted and checked if the data is there; otherwise from the config, or assumed with a note."""
        config = self._config
        return (
            self._checked
            if self._is_there
            else file_facts(config, num_train=ASSUMED_TRAIN, where=config.path or config.timm_name)
        )

    def check(self) -> None:
        """Open both splits (downloading if the config allows it), compare their classes, and read a sample of each."""
        config = self._config
        if (
            config.path is not None
            and not config.download
            and not is_there(Path(config.path).expanduser(), "dataset.path")
        ):
            raise InputError(f"dataset.path: no folder {config.path}; give the data's folder or set download: true")
        _ = self._checked

    @cached_property
    def _checked(self) -> DataInfo:
        config = self._config
        image_size(config)
        train, test = self._parts
        if train.class_names != test.class_names:
            odd = sorted(set(train.class_names) ^ set(test.class_names)) or ["the order of the classes"]
            raise InputError(
                f"dataset.timm_name: {config.timm_name} gives its two splits different classes ({odd[0]}); for a folder of "
                "images take dataset.name: image_folder"
            )
        facts = file_facts(config, num_train=len(train), num_test=len(test), class_names=train.class_names)
        check_counts(config, len(train), len(test), facts.num_classes, str(config.timm_name))
        for name, part in (("train", train), ("validation", test)):
            self._check_folder(name, part)
            self._check_labels(name, part, facts)
            self._check_sample(name, part, facts.num_classes)
        labels = train.known_labels()
        return facts if labels is None else unseen_classes(facts, config, labels, str(config.timm_name))

    def fingerprint(self) -> str:
        """A digest of the name, counts and classes, and of the sampled images of both splits."""
        digest = hashlib.sha256(str(self._config.timm_name).encode())
        for part in self._parts:
            digest.update(f"{len(part)} {part.class_names}".encode())
            for index in part.sample():
                item = part[index]
                if item is not None:
                    digest.update(f"{index} {item[1]} {item[0].size}".encode() + item[0].tobytes())
        return digest.hexdigest()

    def splits(self) -> Splits:
        """The splits, read through timm."""
        train, test = self._parts
        return file_splits(self._config, self.info(), train, test)

    @property
    def _is_there(self) -> bool:
        """Whether the data is open already or under ``path``; nothing is downloaded to find out."""
        if "_parts" in self.__dict__:
            return True
        path = self._config.path
        if path is None or not is_there(Path(path).expanduser(), "dataset.path"):
            return False
        if not self._config.download:
            return True
        try:
            self._opened(download=False)
        except InputError:
            return False
        return True

    @cached_property
    def _parts(self) -> tuple[Images, Images]:
        return self._opened(download=self._config.download)

    def _opened(self, *, download: bool) -> tuple[Images, Images]:
        from timm.data import create_dataset

        name, root = str(self._config.timm_name), self._config.path and str(Path(self._config.path).expanduser())
        try:
            train, test = (
                Images(create_dataset(name, root=root, split=split, download=download))
                for split in ("train", "validation")
            )
        except NOT_OPENED as error:
            raise InputError(f"dataset.timm_name: {name} cannot be opened: {one_line(error)}") from None
        return train, test

    def _check_folder(self, name: str, part: Images) -> None:
        """Check that timm reads a folder as it is: each class folder as one class, and no image missed."""
        root = part.folder
        if root is None:
            return
        files = read_part(root).files
        mine = {str(root / file.path): file.label for file in files}
        known = part.labels_by_file()
        if mine.keys() != known.keys() or len(set(zip(mine.values(), (known[p] for p in mine), strict=True))) != len(
            set(mine.values())
        ):
            raise InputError(
                f"dataset.timm_name: {self._config.timm_name} reads {len(known)} files of {root} ({name}), where "
                f"{len(mine)} are images of {len(set(mine.values()))} classes; image_folder reads them all"
            )

    def _check_labels(self, name: str, part: Images, facts: DataInfo) -> None:
        """If the data lists its labels, check that all are valid classes and that every class occurs."""
        labels = part.known_labels()
        if labels is None:
            return
        for label in sorted(set(labels)):
            self._check_label(name, label, facts.num_classes)
        lacking = sorted(set(range(facts.num_classes)) - set(labels))
        if lacking:
            known = facts.class_names[lacking[0]] if facts.class_names else lacking[0]
            raise InputError(
                f"dataset.timm_name: class {known} of {self._config.timm_name} has no image in {name}; a class must be in "
                "both splits"
            )

    def _check_sample(self, name: str, part: Images, num_classes: int) -> None:
        for index in part.sample():
            item = part[index]
            if item is None:
                raise InputError(
                    f"dataset.timm_name: {part.path(index)} of {self._config.timm_name} ({name}) cannot be decoded"
                )
            self._check_label(name, item[1], num_classes)

    def _check_label(self, name: str, label: int, num_classes: int) -> None:
        if not 0 <= label < num_classes:
            raise InputError(
                f"dataset.timm_name: {name} of {self._config.timm_name} has the label {label}; allowed are 0 to "
                f"{num_classes - 1}, since there are {num_classes} classes"
            )


class Images(torch.utils.data.Dataset[tuple[Any, int] | None]):
    """(image, label) by index of a timm dataset; an image that cannot be decoded is None, never its neighbour."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self._reader = getattr(data, "reader", None)
        # torchvision's folders list their files themselves, timm's do so in their reader
        self._listing = data if self._reader is None else self._reader
        samples = getattr(self._listing, "samples", None)
        self._has_files = isinstance(samples, list) and bool(samples) and Path(str(samples[0][0])).is_file()
        self.transform: Callable[[Image.Image], object] | None = None
        try:
            self._count = len(data)
        except TypeError:
            raise ValueError("it is read as a stream, without a number of images; use a dataset that has one") from None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Any, int] | None:
        try:
            image, label = self._read(index)
        except (NotAnImage, OSError):
            return None
        return (image if self.transform is None else self.transform(image)), int(label)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in order of the labels; empty if the data has none."""
        index = getattr(self._listing, "class_to_idx", None)
        if isinstance(index, dict) and sorted(index.values()) == list(range(len(index))):
            return tuple(str(name) for name in sorted(index, key=index.__getitem__))
        classes = getattr(self._data, "classes", None)
        return tuple(map(str, classes)) if isinstance(classes, (list, tuple)) else ()

    @property
    def folder(self) -> Path | None:
        """The class folder that it reads; None if it reads no such folder."""
        root = getattr(self._listing, "root", None)
        return Path(str(root)) if root is not None and self._has_files and Path(str(root)).is_dir() else None

    def labels_by_file(self) -> dict[str, int]:
        """The label of each file of a folder."""
        return {str(path): int(label) for path, label in self._listing.samples}

    def known_labels(self) -> list[int] | None:
        """The label of each image if the data lists them; None if that would need reading the images."""
        if self._has_files:
            return [int(label) for _, label in self._listing.samples]
        targets = getattr(self._data, "targets", None)
        return None if targets is None or len(targets) != len(self) else [int(label) for label in targets]

    def path(self, index: int) -> str:
        """A name for an image: its file if it has one."""
        return str(self._listing.samples[index][0]) if self._has_files else f"image {index}"

    def sample(self) -> list[int]:
        """Evenly spaced indices, including the first and the last."""
        return sorted({int(i) for i in np.linspace(0, len(self) - 1, min(NUM_SAMPLED, len(self)))})

    def _read(self, index: int) -> tuple[Image.Image, int]:
        """Read an image as timm does, but without replacing a damaged image by the next one."""
        if self._has_files:
            path, label = self._listing.samples[index]
            return read_rgb(Path(str(path))), int(label)
        if self._reader is None:
            image, label = self._data[index]
            return image, label
        file, label, *_ = self._reader[index]
        content = file if isinstance(file, bytes) else file.read()
        if hasattr(file, "close"):
            file.close()
        return read_rgb(content), -1 if label is None else label
