"""A folder of images, one sub-folder a class: ``PATH/train/<class>/…`` and ``PATH/val/<class>/…`` (as ImageNet's).

``val`` is the test split here, read once per delivered network; validation is held out of ``train``.
"""

from __future__ import annotations

from pathlib import Path

from harness.config import DatasetConfig
from harness.data.base import DataInfo, Splits
from harness.data.transforms import file_info, file_splits
from harness.errors import InputError


class Dataset:
    """See the module's text; needs ``path``, ``image_size`` and ``num_classes``."""

    def __init__(self, config: DatasetConfig) -> None:
        if config.path is None:
            raise InputError("dataset.path is missing; image_folder needs the folder that holds train/ and val/")
        self._config = config
        self._root = Path(config.path).expanduser()

    def info(self) -> DataInfo:
        """ImageNet's mean and std; ``num_train`` from the config, or ImageNet's 1,281,167."""
        return file_info(self._config, default_num_train=1_281_167)

    def check(self) -> None:
        """Both parts must be there, with as many classes as the config says."""
        found: dict[str, set[str]] = {}
        for part in ("train", "val"):
            folder = self._root / part
            if not folder.is_dir():
                raise InputError(f"dataset.path: no folder {folder}; image_folder needs train/ and val/ under its path")
            found[part] = {entry.name for entry in folder.iterdir() if entry.is_dir()}
            if len(found[part]) != self._config.num_classes:
                raise InputError(
                    f"dataset.num_classes: {self._config.num_classes} given, {folder} has {len(found[part])} classes"
                )
        if found["train"] != found["val"]:
            odd = sorted(found["train"] ^ found["val"])[0]
            raise InputError(f"dataset.path: class {odd} is in only one of train/ and val/ under {self._root}")

    def splits(self) -> Splits:
        """Read by timm's ImageDataset."""
        from timm.data import ImageDataset

        def opener(part: str):
            return lambda transform: ImageDataset(str(self._root / part), transform=transform)

        return file_splits(self._config, self.info(), opener("train"), opener("val"))
