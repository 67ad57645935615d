"""A dataset of your own, made on the spot: a config names it as ``dataset: {name: stripes, options: {num_images: 120}}``."""

import hashlib
from dataclasses import dataclass

import torch

from harness.data.base import DataInfo, Splits, TensorSplit


@dataclass(frozen=True)
class Options:
    """Keys of ``dataset.options``, each with a default."""

    num_images: int = 200
    brightness: float = 1.0


class Dataset:
    """Noise with one bright stripe; its height is the class."""

    KEYS = ()
    """Further keys of ``dataset:`` that it uses, such as ``path``."""

    def __init__(self, config):
        self.options = Options(**config.options)

    def info(self):
        """Shape, number of classes, mean, standard deviation and numbers of images."""
        n = self.options.num_images
        return DataInfo((1, 28, 28), 4, (0.5,), (0.25,), n, num_val=80, num_test=80)

    def check(self):
        """Nothing can be missing; files on a disk would be checked here."""

    def fingerprint(self):
        """Digest of the content: a study is not continued with other data."""
        return hashlib.sha256(repr(self.options).encode()).hexdigest()

    def splits(self):
        """The three splits, in memory."""
        info, parts = self.info(), {}
        for seed, (name, n) in enumerate({"train": info.num_train, "val": 80, "test": 80}.items()):
            labels = torch.arange(n) % 4
            images = torch.randint(0, 60, (n, 1, 28, 28), generator=torch.Generator().manual_seed(seed))
            for i, label in enumerate(labels.tolist()):
                images[i, 0, 7 * label : 7 * label + 7] += int(150 * self.options.brightness)
            parts[name] = TensorSplit(images.clamp(0, 255).to(torch.uint8), labels.long(), info)
        return Splits(info, **parts)
