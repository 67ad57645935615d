"""A folder of images, one sub-folder per class: ``PATH/train/<class>/…`` and ``PATH/val/<class>/…``, as in ImageNet.

``val`` is the test split here, read once per delivered network; validation is held out of ``train``. Instead of ``val``
the folder may be called ``valid``, ``validation`` or ``test``, if only one of them exists. Where there are several, the
options say which of them is the test split, and which, if any, has the validation images. The classes of all splits are
the folders of ``train``, in natural order.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from accounting.words.plain_text import plain
from harness.config.study import DatasetConfig
from harness.data.base import DataInfo, Splits
from harness.data.copies import PartImages, copies, trained_on
from harness.data.image_files import ImageFile, Part, not_read_notes, read_part
from harness.data.pixels import NotAnImage, read_rgb
from harness.data.transforms import check_counts, file_facts, file_splits, image_size, unseen_classes
from harness.errors import InputError
from harness.paths import is_there

TEST_FOLDERS = ("val", "valid", "validation", "test")
PARTS = ("train", *TEST_FOLDERS)
"""Folders in which each folder is a class."""
ASSUMED_TRAIN = 1_281_167
"""ImageNet's number, assumed when a study is planned without its data."""
ASSUMED_VAL = 50_000
"""Likewise, of validation images that have a folder of their own."""


@dataclass(frozen=True)
class Options:
    """The folders of validation and test images, such as ``val`` and ``test``; without ``val``, validation is held out."""

    val: str = ""
    test: str = ""

    def __post_init__(self) -> None:
        for key, name in (("val", self.val), ("test", self.test)):
            if name and name not in TEST_FOLDERS:
                raise ValueError(f"{key} is {name!r}; allowed: {', '.join(TEST_FOLDERS)}")
        if self.val and not self.test:
            raise ValueError("val needs test, too: without it, val/ is the test split")
        if self.val and self.val == self.test:
            raise ValueError(f"val and test are the same folder, {self.val}")


class Dataset:
    """See the module docstring; needs ``path`` and ``image_size``. ``num_classes`` is counted if the data is there."""

    KEYS: tuple[str, ...] = (
        "path",
        "image_size",
        "num_classes",
        "num_train",
        "num_test",
        "mean",
        "std",
        "val_fraction",
        "num_workers",
    )
    RANDAUGMENT = REPEATED = True

    def __init__(self, config: DatasetConfig) -> None:
        if config.path is None:
            raise InputError("dataset.path is missing; image_folder needs the folder that holds train/ and val/")
        self._config, self._options = config, Options(**config.options)  # type: ignore[arg-type]  # types are checked
        self._root = Path(config.path).expanduser()
        if self._options.val:
            if "val_fraction" in config.model_fields_set:
                raise InputError(
                    f"dataset.val_fraction has no effect: {self._options.val}/ has the validation images; leave it out"
                )
            self.KEYS = tuple(key for key in self.KEYS if key != "val_fraction")

    def info(self) -> DataInfo:
        """Facts, counted and checked if the data is there; else by the config's ``num_train``, or ImageNet's number.

        Raises:
            InputError: the data is there but invalid.

        """
        if not self._is_there and not self._is_elsewhere:
            raise self._no_part()
        if not self._is_there:
            num_val = ASSUMED_VAL if self._options.val else None
            return file_facts(self._config, num_train=ASSUMED_TRAIN, num_val=num_val, where=self._root)
        image_size(self._config)
        self._check_parts()
        (train, test), val = self._parts, self._val
        facts = file_facts(
            self._config,
            num_train=len(train.files),
            num_val=None if val is None else len(val.files),
            num_test=len(test.files),
            class_names=train.classes,
            notes=(*self._ignored_folders(), *not_read_notes(self._all_parts), *self._copies()),
        )
        own = None if val is None else self._labels(val)
        return unseen_classes(facts, self._config, self._labels(train), self._root, own)

    def check(self) -> None:
        """Check that the parts are there with the same classes, images in each class, and the config's counts."""
        if not self._is_there:
            raise self._no_part()
        self.info()

    def fingerprint(self) -> str:
        """A digest of the files' contents and relative paths, independent of the folder's location."""
        return hashlib.sha256(" ".join(part.fingerprint for part in self._all_parts).encode()).hexdigest()

    def splits(self) -> Splits:
        """The images that :meth:`check` verified."""
        opened = [ImageFiles(part.root, part.files, self._labels(part)) for part in self._all_parts]
        return file_splits(self._config, self.info(), *opened)

    @property
    def _is_there(self) -> bool:
        train = self._root / "train"
        named = [self._root / name for name in (self._options.val, self._options.test) if name]
        return (
            is_there(train, "dataset.path")
            and train.is_dir()
            and self._test_folder is not None
            and all(folder.is_dir() for folder in named)
        )

    @property
    def _is_elsewhere(self) -> bool:
        """Whether the path does not exist or is an empty folder, on which the data is yet to be mounted."""
        return not self._root.exists() or (self._root.is_dir() and not any(self._root.iterdir()))

    def _no_part(self) -> InputError:
        """An error that says what is missing and what is there instead."""
        if self._root.is_file():
            return InputError(
                f"dataset.path: {self._root} is a file; image_folder needs the folder with train/ and val/"
            )
        named = filter(None, (self._options.val, self._options.test))
        needed = ["train", *(named if self._options.test else ["val"])]
        lacking = self._root / next((name for name in needed if not (self._root / name).is_dir()), "val")
        there = sorted(folder.name for folder in self._root.iterdir() if folder.is_dir()) if self._root.is_dir() else []
        shown = (
            f"; it holds {', '.join(map(plain, there[:4]))}{' and others' if len(there) > 4 else ''}" if there else ""
        )
        return InputError(
            f"dataset.path: no folder {lacking}; image_folder needs {' and '.join(f'{name}/' for name in needed)} under its "
            f"path{shown}"
        )

    @cached_property
    def _test_folder(self) -> Path | None:
        """The one that the options name; else ``val`` if it exists, else the only one of the other names."""
        if self._options.test:
            return self._root / self._options.test
        found = [self._root / name for name in TEST_FOLDERS if (self._root / name).is_dir()]
        if (self._root / "val").is_dir():
            return self._root / "val"
        if len(found) > 1:
            names = " and ".join(folder.name for folder in found)
            way = f"name the one to test on, as dataset.options: {{test: {found[-1].name}}}"
            raise InputError(f"dataset.path: {self._root} has {names}; {way}")
        return found[0] if found else None

    @cached_property
    def _parts(self) -> tuple[Part, Part]:
        return self._read(self._root / "train"), self._read(self._test_folder or self._root / "val")

    @cached_property
    def _val(self) -> Part | None:
        """The validation images, if they have a folder of their own."""
        return self._read(self._root / self._options.val) if self._options.val else None

    @property
    def _all_parts(self) -> list[Part]:
        return [*self._parts, *([] if self._val is None else [self._val])]

    def _read(self, folder: Path) -> Part:
        try:
            return read_part(folder)
        except OSError as error:
            raise InputError(
                f"dataset.path: {error.filename or self._root} cannot be listed: {error.strerror}"
            ) from None

    def _labels(self, part: Part) -> list[int]:
        """The class of each image: the position of its folder among those of ``train``."""
        index = {name: place for place, name in enumerate(self._parts[0].classes)}
        return [index[file.label] for file in part.files]

    def _copies(self) -> tuple[str, ...]:
        """Sentences about duplicate images."""
        (train, test), val = self._parts, self._val
        is_whole = all(part.is_whole for part in self._all_parts)
        found = copies(self._images(train), self._images(test), is_whole=is_whole)
        if val is not None:
            found += trained_on(self._images(train), self._images(val), "validation", is_whole=is_whole)
        return found

    def _images(self, part: Part) -> PartImages:
        def name(index: int) -> str:
            return plain(f"{part.root.name}/{part.files[index].path}")

        return PartImages(part.digests, np.array(self._labels(part), np.int64), name)

    def _ignored_folders(self) -> tuple[str, ...]:
        """A sentence about folders next to the test split that could be mistaken for it."""
        used = {part.root.name for part in self._all_parts}
        found = [name for name in TEST_FOLDERS if (self._root / name).is_dir() and name not in used]
        if not found:
            return ()
        named, test = " and ".join(f"{name}/" for name in found), self._parts[1].root.name
        own, change = self._options.val, ""
        validation = f"{own}/ has the validation images" if own else "validation is held out of train/"
        if not own and {"val", "test"} <= {test, *found}:
            change = "; dataset.options: {val: val, test: test} makes each the split of its name"
        return (f"{named} next to {test}/ is ignored: {test}/ is the test split, and {validation}{change}",)

    def _check_parts(self) -> None:
        train, test = self._parts
        for other in self._all_parts[1:]:
            self._check_folders(train, other)
        check_counts(self._config, len(train.files), len(test.files), len(train.classes), self._root)
        self._check_pictures()

    def _check_folders(self, train: Part, test: Part) -> None:
        for part in (train, test):
            if not part.classes:
                raise InputError(f"dataset.path: {part.root} has no class folders; put the images of each class in one")
            if len(set(part.classes)) < len(part.classes):
                twice = next(name for name in part.classes if part.classes.count(name) > 1)
                raise InputError(
                    f"dataset.path: two folders in {part.root} are spelt {plain(twice)} but for their accents' encoding; "
                    "merge them"
                )
        odd = sorted(set(train.classes) ^ set(test.classes))
        if odd:
            has, lacks = (train, test) if odd[0] in train.classes else (test, train)
            near = difflib.get_close_matches(odd[0], [name for name in odd if name in lacks.classes], 1, 0.5)
            alike = f" ({has.root.name}/ has {odd[0]!a}, {lacks.root.name}/ has {near[0]!a})" if near else ""
            raise InputError(
                f"dataset.path: class {plain(odd[0])} is in only one of {train.root.name}/ and {test.root.name}/ under "
                f"{self._root}{alike}"
            )

    def _check_pictures(self) -> None:
        for part in self._all_parts:
            empty = sorted(set(part.classes) - {file.label for file in part.files})
            if empty:
                why = f" ({not_read_notes([part])[0]})" if part.not_read else ""
                raise InputError(
                    f"dataset.path: class {plain(empty[0])} has no readable image in {part.root}{why}; add some, or "
                    "remove the class from all parts"
                )


class ImageFiles(torch.utils.data.Dataset[tuple[object, int] | None]):
    """(image, class) by index, with a settable ``transform``; None for a file that can no longer be read.

    No other image takes its place: whoever makes batches leaves it out.
    """

    def __init__(self, root: Path, files: tuple[ImageFile, ...], labels: list[int]) -> None:
        self._root, self._files, self.labels = root, files, labels
        self.transform: Callable[[Image.Image], object] | None = None

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[object, int] | None:
        image = self._read(index)
        if image is None:
            return None
        return (image if self.transform is None else self.transform(image)), self.labels[index]

    @property
    def reader(self) -> ImageFiles:
        """Itself, since timm's datasets have their ``samples`` there."""
        return self

    @property
    def samples(self) -> list[tuple[str, int]]:
        """(path, class) of every image."""
        return [(str(self.path(index)), label) for index, label in enumerate(self.labels)]

    def path(self, index: int) -> Path:
        """The file of an image."""
        return self._root / self._files[index].path

    def _read(self, index: int) -> Image.Image | None:
        try:
            return read_rgb(self.path(index).read_bytes(), self._files[index].path)
        except (NotAnImage, OSError):
            return None
