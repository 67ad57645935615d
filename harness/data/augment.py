"""timm's random augmentations, made safe for the installed Pillow.

posterize in RandAugment and AutoAugment may be asked to keep 0 bits. Pillow 13 rejects that (it allows 1 to 8); older
versions gave a black image. Here at least 1 bit is kept.
"""

from __future__ import annotations

from typing import TypeVar

from PIL import Image, ImageOps
from timm.data import auto_augment

T = TypeVar("T")


def posterize(image: Image.Image, bits_to_keep: int, **_: object) -> Image.Image:
    """Keep the highest 1 to 8 bits of each channel."""
    return image if bits_to_keep >= 8 else ImageOps.posterize(image, max(1, int(bits_to_keep)))


def made_safe(transform: T) -> T:
    """The same transform (a composition of any depth), with every posterize replaced by :func:`posterize`."""
    for op in _operations(transform):
        if op.aug_fn is auto_augment.posterize:
            op.aug_fn = posterize
    return transform


def _operations(part: object) -> list[auto_augment.AugmentOp]:
    """Every ``AugmentOp`` inside a transform."""
    if isinstance(part, auto_augment.AugmentOp):
        return [part]
    inside: list[auto_augment.AugmentOp] = []
    for name in ("transforms", "ops", "policy"):
        found = getattr(part, name, None)
        if isinstance(found, (list, tuple)):
            inside += found
    if isinstance(part, (list, tuple)):
        inside += part
    return [op for each in inside for op in _operations(each)]
