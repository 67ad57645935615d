"""Images as JPEG bytes (or any other format) in one npz file with the keys ``{train,test}_{bytes,offsets,labels}``.

Image i is bytes[offsets[i]:offsets[i+1]]. ``classes`` may hold the class names. Each image is resized to the square of
``image_size`` (bicubic), without cropping. Images are decoded once per machine and user, into a cache keyed by content.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from harness.config.study import DatasetConfig
from harness.data.base import DataInfo, Splits, TensorSplit, held_out
from harness.data.cache import read_cached, write_cached
from harness.data.copies import PartImages, copies, digests_of
from harness.data.pixels import NotAnImage, opened, read_rgb
from harness.data.transforms import INTERPOLATION, check_counts, normalisation
from harness.errors import InputError, one_line
from harness.paths import is_there

PARTS = ("train", "test")
KEYS = tuple(f"{part}_{what}" for part in PARTS for what in ("bytes", "offsets", "labels"))
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
UNREADABLE = (
    ValueError, OSError, TypeError, EOFError, MemoryError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What ``np.load`` raises for a file that is damaged, encrypted or something else."""
FULL_DECODE_IMAGES = 20_000
"""``check`` decodes the images of parts with at most this many; for larger ones it reads only the headers."""


@dataclass(frozen=True)
class _Part:
    """``content`` (bytes), ``offsets`` (n + 1), ``labels`` (n)."""

    content: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray

    def image(self, index: int) -> bytes:
        return self.content[self.offsets[index] : self.offsets[index + 1]].tobytes()


class Dataset:
    """See the module docstring. Validation is the last ``val_fraction`` of the training images."""

    KEYS = ("path", "image_size", "num_classes", "num_train", "num_test", "mean", "std", "val_fraction")
    REPEATED = True

    def __init__(self, config: DatasetConfig) -> None:
        if config.path is None:
            raise InputError("dataset.path is missing; npz_jpeg needs the path of an npz file")
        self._config = config
        self._path = Path(config.path).expanduser()

    def info(self) -> DataInfo:
        """Facts of RGB images of ``image_size`` (default 32), by default with CIFAR-10's mean and std.

        Raises:
            InputError: the data is there but invalid.

        """
        config = self._config
        size = config.image_size or 32
        mean, std = normalisation(config, CIFAR10_MEAN, CIFAR10_STD)
        if not is_there(self._path, "dataset.path"):
            learn, select = held_out(config.num_train or 50_000, config.val_fraction)
            note = f"no data at {self._path}: 50,000 training images are assumed; give dataset.num_train"
            notes = () if config.num_train else (note,)
            facts = DataInfo((3, size, size), config.num_classes or 10, mean, std, len(learn), num_val=len(select))
            return replace(facts, interpolation=INTERPOLATION, notes=notes, resize="stretch")
        self._check_content()
        train, test = (self._parts[part].labels for part in PARTS)
        learn, select = held_out(len(train[: config.num_train]), config.val_fraction)
        return DataInfo(
            (3, size, size),
            self._num_classes,
            mean,
            std,
            len(learn),
            class_names=self._class_names,
            num_val=len(select),
            num_test=len(test[: config.num_test]),
            interpolation=INTERPOLATION,
            resize="stretch",
            notes=(*self._lacking(train[select.start : select.stop]), *self._copies),
        )

    def check(self) -> None:
        """Check that the file is there with its keys, and that labels, offsets and images are valid."""
        self._check_content()

    def fingerprint(self) -> str:
        """A digest of all bytes, offsets and labels, independent of the file's name and compression."""
        digest = hashlib.sha256()
        for part in PARTS:
            found = self._parts[part]
            for array in (found.content, found.offsets.astype(np.int64), found.labels.astype(np.int64)):
                digest.update(f"{len(array)} ".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def splits(self) -> Splits:
        """The three splits, decoded, in memory."""
        info = self.info()
        images, labels = self._decoded("train", self._config.num_train)
        learn, select = held_out(len(labels), self._config.val_fraction)
        test = TensorSplit(*self._decoded("test", self._config.num_test), info)

        def part(r: range) -> TensorSplit:
            return TensorSplit(images[r.start : r.stop], labels[r.start : r.stop], info)

        return Splits(info, part(learn), part(select), test)

    @cached_property
    def _parts(self) -> dict[str, _Part]:
        if not (is_there(self._path, "dataset.path") and self._path.is_file()):
            raise InputError(f"dataset.path: no file at {self._path}; give the npz file's path, or another dataset")
        try:
            with np.load(self._path, allow_pickle=False) as data:
                missing = [key for key in KEYS if key not in data]
                if missing:
                    raise InputError(
                        f"dataset.path: {self._path} lacks the keys {', '.join(missing)}; see docs/datasets.md"
                    )
                found = {part: self._part(part, *(data[f"{part}_{what}"] for what in ("bytes", "offsets", "labels")))
                         for part in PARTS}  # fmt: skip
        except InputError:
            raise
        except UNREADABLE as error:
            reason = "an array of Python objects" if "pickle" in str(error) else one_line(error)
            raise InputError(
                f"dataset.path: {self._path} is not an npz file ({reason}); see docs/datasets.md"
            ) from None
        return found

    def _part(self, name: str, content: np.ndarray, offsets: np.ndarray, labels: np.ndarray) -> _Part:
        def refuse(key: str, what: str) -> InputError:
            return InputError(f"dataset.path: {name}_{key} of {self._path} {what}; see docs/datasets.md")

        if content.dtype != np.uint8 or content.ndim != 1:
            raise refuse("bytes", f"is {content.ndim}-dimensional {content.dtype}, expected one row of uint8")
        for key, array in (("offsets", offsets), ("labels", labels)):
            if array.dtype.kind not in "iu" or array.ndim != 1:
                raise refuse(key, f"is {array.ndim}-dimensional {array.dtype}, expected one row of whole numbers")
        if len(labels) == 0:
            raise refuse("labels", "is empty")
        if len(offsets) != len(labels) + 1:
            raise refuse(
                "offsets", f"has {len(offsets)} entries for {len(labels)} labels, expected one more than labels"
            )
        ends = [int(end) for end in (offsets.min(), offsets.max())]  # before int64, in which a large uint64 is negative
        if ends[0] < 0 or ends[1] > len(content) or (np.diff(offsets.astype(np.int64)) <= 0).any():
            raise refuse("offsets", f"must rise from 0 or more to at most {len(content)}, the number of bytes")
        return _Part(content, offsets, labels)

    @cached_property
    def _class_names(self) -> tuple[str, ...]:
        def refuse(what: str) -> InputError:
            return InputError(f"dataset.path: classes of {self._path} {what}; save one name (text) per class")

        try:
            with np.load(self._path, allow_pickle=False) as data:
                found = data["classes"] if "classes" in data else np.array([], str)
        except UNREADABLE as error:
            raise refuse("is an array of Python objects" if "pickle" in str(error) else "cannot be read") from None
        if found.ndim != 1 or found.dtype.kind not in "US":
            raise refuse(f"is {found.ndim}-dimensional {found.dtype}")
        names = [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in found.tolist()]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise refuse(f"has the name {twice[0]!r} twice")
        return tuple(names)

    @property
    def _num_classes(self) -> int:
        """The number of class names, or else the config's number, or else the largest training label + 1."""
        return len(self._class_names) or self._config.num_classes or int(self._parts["train"].labels.max()) + 1

    def _check_content(self) -> None:
        parts = self._parts
        check_counts(self._config, len(parts["train"].labels), len(parts["test"].labels), self._num_classes, self._path)
        self._check_classes()
        key = f"npz-{self.fingerprint()[:32]}.checked"
        if read_cached(key) is None:
            for name, part in parts.items():
                self._check_images(name, part)
            write_cached(key, b"ok")

    def _check_classes(self) -> None:
        config, num_classes, train = self._config, self._num_classes, self._parts["train"].labels
        for name, part in self._parts.items():
            odd = part.labels[(part.labels < 0) | (part.labels >= num_classes)]
            if len(odd):
                raise InputError(
                    f"dataset.path: {name}_labels of {self._path} has the label {odd[0]}; allowed are 0 to "
                    f"{num_classes - 1}, since there are {num_classes} classes"
                )
        learn, select = held_out(len(train[: config.num_train]), config.val_fraction)
        self._check_no_class_lacks(train[: learn.stop], f"the first {learn.stop:,} training images; shuffle the file")
        self._check_no_class_lacks(self._parts["test"].labels[: config.num_test], "the test images")
        self._check_shuffled(train[: select.stop], len(select))

    def _check_no_class_lacks(self, labels: np.ndarray, where: str) -> None:
        there = np.unique(labels)
        if len(there) == self._num_classes:
            return
        lacking = next(k for k in range(self._num_classes) if k == len(there) or there[k] != k)
        name = f" ({self._class_names[lacking]})" if self._class_names else ""
        raise InputError(
            f"dataset.path: class {lacking}{name} of {self._num_classes} has no image among {where} (labels begin with 0; "
            f"{self._path})"
        )

    def _check_shuffled(self, labels: np.ndarray, num_val: int) -> None:
        """Check that the last images resemble the others; otherwise accuracy on them would select for a few classes."""
        found = np.unique(labels[-num_val:])
        if len(found) == self._num_classes:
            return
        steps = np.diff(labels.astype(np.int64))
        is_sorted = bool((steps >= 0).all() or (steps <= 0).all())
        if is_sorted or _log_chance(labels, found, num_val) < math.log(1e-6):
            raise InputError(
                f"dataset.path: the last {num_val:,} training images of {self._path}, held out for validation, are of "
                f"{len(found)} of {self._num_classes} classes; shuffle the file"
            )

    @cached_property
    def _copies(self) -> tuple[str, ...]:
        """Sentences about duplicates among the images that are used."""
        config = self._config
        return copies(self._images("train", config.num_train), self._images("test", config.num_test))

    def _images(self, name: str, count: int | None) -> PartImages:
        part = self._parts[name]
        labels = part.labels[:count].astype(np.int64)
        digests = digests_of(map(part.image, range(len(labels))))
        return PartImages(digests, labels, lambda index: f"image {index} of {name}_bytes")

    def _lacking(self, labels: np.ndarray) -> tuple[str, ...]:
        lacking = self._num_classes - len(np.unique(labels))
        return (f"{lacking} of {self._num_classes} classes have no validation image",) if lacking > 0 else ()

    def _check_images(self, name: str, part: _Part) -> None:
        look = read_rgb if len(part.labels) <= FULL_DECODE_IMAGES else opened
        for index in range(len(part.labels)):
            try:
                look(part.image(index)).close()
            except NotAnImage as error:
                raise InputError(f"dataset.path: image {index} of {name}_bytes in {self._path}: {error}") from None

    def _decoded(self, part: str, count: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        found, size = self._parts[part], self.info().image_shape[1]
        labels = found.labels[:count].astype(np.int64)
        content = hashlib.sha256(found.content[found.offsets[0] : found.offsets[len(labels)]].tobytes())
        content.update(np.ascontiguousarray(found.offsets[: len(labels) + 1].astype(np.int64)).data)
        key = f"{content.hexdigest()[:32]}-{size}.npy"
        cached = read_cached(key)
        if cached is not None:
            return torch.from_numpy(np.load(io.BytesIO(cached), allow_pickle=False)), torch.from_numpy(labels)
        pictures = np.empty((len(labels), 3, size, size), np.uint8)
        for i in range(len(labels)):
            pictures[i] = _decode(found.image(i), size)
        buffer = io.BytesIO()
        np.save(buffer, pictures)
        write_cached(key, buffer.getvalue())
        return torch.from_numpy(pictures), torch.from_numpy(labels)


def _log_chance(labels: np.ndarray, found: np.ndarray, count: int) -> float:
    """Natural logarithm of a bound on the chance that ``count`` random images have as few classes as ``found``."""
    shares = np.bincount(labels.astype(np.int64)) / len(labels)
    num_classes, few = len(shares), len(found)
    choices = math.lgamma(num_classes + 1) - math.lgamma(few + 1) - math.lgamma(num_classes - few + 1)
    return choices + count * math.log(np.sort(shares)[-few:].sum())


def _decode(encoded: bytes, size: int) -> np.ndarray:
    image = read_rgb(encoded)
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)
