"""Images as JPEG bytes in one npz file with the keys ``{train,test}_{bytes,offsets,labels}``.

Image i is bytes[offsets[i]:offsets[i+1]]. Decoded once per machine into a cache in the temporary folder, keyed by the
file's name, size and time.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from harness.config import DatasetConfig
from harness.data.base import DataInfo, Splits, TensorSplit, held_out
from harness.errors import InputError
from harness.paths import replacing

KEYS = tuple(f"{part}_{what}" for part in ("train", "test") for what in ("bytes", "offsets", "labels"))
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Dataset:
    """See the module's text. Validation is the last ``val_fraction`` of the training images."""

    def __init__(self, config: DatasetConfig) -> None:
        if config.path is None:
            raise InputError("dataset.path is missing; npz_jpeg needs the path of an npz file")
        self._config = config
        self._path = Path(config.path).expanduser()

    def info(self) -> DataInfo:
        """32×32 RGB with CIFAR-10's mean and std, unless the config says otherwise."""
        size = self._config.image_size or 32
        num_classes = self._config.num_classes or 10
        count = self._config.num_train or (self._num_images() if self._path.exists() else 50_000)
        mean, std = tuple(self._config.mean or CIFAR10_MEAN), tuple(self._config.std or CIFAR10_STD)
        if len(mean) != 3 or len(std) != 3:
            raise InputError(f"dataset: mean and std have one number a channel, 3; given {len(mean)} and {len(std)}")
        return DataInfo((3, size, size), num_classes, mean, std, len(held_out(count, self._fraction)[0]))

    def check(self) -> None:
        """The file must be there, with its keys."""
        if not self._path.is_file():
            raise InputError(f"dataset.path: no file at {self._path}; give the npz file's path, or another dataset")
        try:
            with np.load(self._path) as data:
                missing = [key for key in KEYS if key not in data]
        except (ValueError, OSError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(f"dataset.path: {self._path} is no npz file ({error}); see docs/datasets.md") from None
        if missing:
            raise InputError(f"dataset.path: {self._path} lacks the keys {', '.join(missing)}; see docs/datasets.md")

    def splits(self) -> Splits:
        """The three splits, decoded, in memory."""
        info = self.info()
        images, labels = self._decoded("train", self._config.num_train)
        learn, select = held_out(len(labels), self._fraction)
        test = TensorSplit(*self._decoded("test", self._config.num_test), info)

        def part(r: range) -> TensorSplit:
            return TensorSplit(images[r.start : r.stop], labels[r.start : r.stop], info)

        return Splits(info, part(learn), part(select), test)

    @property
    def _fraction(self) -> float:
        return self._config.val_fraction

    def _num_images(self) -> int:
        self.check()
        with np.load(self._path) as data:
            return len(data["train_labels"])

    def _decoded(self, part: str, count: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        size = self.info().image_shape[1]
        with np.load(self._path) as data:
            labels = data[f"{part}_labels"][:count].astype(np.int64)
            cache = self._cache(f"{part}-{len(labels)}-{size}")
            if not cache.exists():
                raw, offsets = data[f"{part}_bytes"].tobytes(), data[f"{part}_offsets"]
                pictures = np.empty((len(labels), 3, size, size), np.uint8)
                for i in range(len(labels)):
                    pictures[i] = _decode(raw[offsets[i] : offsets[i + 1]], size)
                with replacing(cache) as temporary, temporary.open("wb") as file:
                    np.save(file, pictures)
        return torch.from_numpy(np.load(cache)), torch.from_numpy(labels)

    def _cache(self, what: str) -> Path:
        stat = self._path.stat()
        key = hashlib.sha256(f"{self._path.resolve()} {stat.st_size} {stat.st_mtime_ns} {what}".encode()).hexdigest()[
            :16
        ]
        return Path(tempfile.gettempdir()) / "prune-or-search" / f"{key}.npy"


def _decode(jpeg: bytes, size: int) -> np.ndarray:
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)
