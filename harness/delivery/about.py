"""The content of a delivered ``architecture.json``: the network's spec, its image format, and its training data."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict

from accounting.ledger.specs import NetworkSpec
from harness.config.study import DatasetConfig
from harness.data.base import DataInfo
from harness.data.registry import open_dataset
from harness.training.loop import EVAL_BATCH_SIZE

ARCHITECTURE_FILE = "architecture.json"
KEYS = (
    "network", "image_shape", "mean", "std", "resize", "resize_px", "crop_pct", "interpolation", "class_names", "data",
    "eval_batch_size", "made_with",
)  # fmt: skip
NOT_OF_IMAGES = ("network", "eval_batch_size", "made_with")
"""Keys that are not about images or data."""


class AboutData(TypedDict):
    """The data that a network has been trained on."""

    name: str
    path: str | None
    fingerprint: str


class About(TypedDict, total=False):
    """The content of ``architecture.json`` (docs/delivered_networks.md); older versions wrote fewer keys."""

    network: NetworkSpec
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str
    resize_px: int | None
    decoded_px: tuple[int, int]
    crop_pct: float
    interpolation: str
    class_names: tuple[str, ...]
    data: AboutData
    eval_batch_size: int
    made_with: dict[str, str]
    """Versions of packages."""


def about(spec: NetworkSpec, info: DataInfo, dataset: DatasetConfig) -> About:
    """The content of ``architecture.json``: all ``KEYS`` (docs/delivered_networks.md). The data must be available.

    ``decoded_px`` is present only if the network's images have another size than the dataset's.
    """
    sized: About = {} if info.decoded_px is None else {"decoded_px": info.decoded_px}
    return {
        "network": spec,
        "image_shape": info.image_shape,
        "mean": info.mean,
        "std": info.std,
        "resize": info.resize,
        "resize_px": info.resize_px if info.resize == "shorter_side" else None,
        **sized,
        "crop_pct": info.crop_pct,
        "interpolation": info.interpolation,
        "class_names": info.task.output_names,
        "data": {
            "name": dataset.name,
            "path": dataset.path,
            "fingerprint": open_dataset(dataset).fingerprint(),
        },
        "eval_batch_size": EVAL_BATCH_SIZE,
        "made_with": {name: version(name) for name in ("torch", "timm")},
    }


def read_about(folder: Path) -> About:
    """The content of a folder's ``architecture.json``; empty if the file is missing or unreadable."""
    try:
        found: About = json.loads((folder / ARCHITECTURE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return About()
    return found if isinstance(found, dict) else About()


def about_images(found: About) -> dict[str, str]:
    """Its entries about images and data, each value as JSON: the metadata of an ONNX file."""
    return {key: json.dumps(value) for key, value in found.items() if key not in NOT_OF_IMAGES}
