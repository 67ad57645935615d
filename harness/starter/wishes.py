"""What a user asks of a starter study: which images, which parent, and which share of its MACs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accounting.words.quantities import parse_macs, parse_percent
from harness.config.paths import beside
from harness.config.study import ParentConfig
from harness.errors import InputError

QUESTIONS = {
    "images": "folder of your images (with train/<class>/ and val/<class>/)",
    "parent": "network to prune (timm:resnet18, or family:variant such as fbnetv3:g)",
    "macs": "target, in MACs or as a share of the parent's (several with commas)",
}
DEFAULTS = {"macs": "50%"}
"""Answers offered on a terminal, and used without one."""


@dataclass(frozen=True)
class Wishes:
    """The folder of images, the parent, and each target: in MACs (an integer) or percent of the parent's (a float)."""

    images: Path
    parent: ParentConfig
    targets: tuple[int | float, ...]


def parse_wishes(given: dict[str, str | None]) -> Wishes:
    """The wishes from text by the keys of ``QUESTIONS``.

    Raises:
        InputError: some are missing, all of which it names, or one is invalid.

    """
    words = {key: given.get(key) or DEFAULTS.get(key) for key in QUESTIONS}
    missing = [f"--{key}" for key, text in words.items() if text is None]
    if missing:
        raise InputError(f"init: {' and '.join(missing)} missing; give it, or answer the questions on a terminal")
    try:
        images = beside(Path("study.yaml"), str(words["images"]))
    except InputError as error:
        raise InputError(f"--images: {error}") from None
    if not images.is_dir():
        raise InputError(f"--images: {images} is not a folder; give the one that holds train/ and val/")
    return Wishes(images, parse_parent(str(words["parent"])), parse_targets(str(words["macs"])))


def parse_parent(text: str) -> ParentConfig:
    """The parent from text such as ``timm:resnet18`` or ``fbnetv3:g``; ``InputError`` for any other form."""
    family, colon, name = text.strip().partition(":")
    if not colon or not family or not name:
        raise InputError(f"--parent {text}: give timm:NAME, as timm:resnet18, or FAMILY:VARIANT, as fbnetv3:g")
    return ParentConfig(timm=name) if family == "timm" else ParentConfig(family=family, variant=name)


def parse_targets(text: str) -> tuple[int | float, ...]:
    """The targets from text: ``50%, 0.5M`` → 50.0 percent and 500,000 MACs."""
    return tuple(_target(part) for part in text.split(","))


def _target(text: str) -> int | float:
    try:
        percent = parse_percent(text)
    except ValueError as error:
        raise InputError(f"--macs: {error}") from None
    try:
        return parse_macs(text) if percent is None else percent
    except ValueError as error:
        raise InputError(f"--macs: {error}, or a share of the parent's, such as 50%") from None
