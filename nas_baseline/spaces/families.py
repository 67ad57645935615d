"""Families of ready networks as data: ``fbnetv3_mini`` (28x28 images) and the published ``fbnetv3``."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import NotRequired, TypedDict

from accounting.ledger.specs import NetworkSpec
from nas_baseline.spaces.counting import spec_macs, spec_params

TIMM_WEIGHTS = {("fbnetv3", variant): f"fbnetv3_{variant}" for variant in "bdg"}
"""Family members that can load timm's published weights, since all tensors have the same shapes. timm's networks lack the
reduced depthwise padding, so some training helps after loading."""


class Variant(TypedDict):
    """The numbers of one network of a family, as its file has them."""

    image_size: int
    arch_def: list[list[str]]
    stem_size: int
    num_features: int
    dw_padding: NotRequired[dict[str, int]]
    width_divisor: NotRequired[int]
    published: NotRequired[dict[str, object] | None]


class Family(TypedDict):
    """A file in ``nas_baseline/data``: what its networks share, and the numbers of each variant."""

    family: str
    in_chans: int
    num_classes: int
    head_bias: bool
    variants: dict[str, Variant]


def list_families() -> list[str]:
    """The names of the families."""
    return sorted(_data())


def variants(family: str) -> list[str]:
    """The variants of a family, smallest first."""
    return list(_family(family)["variants"])


def network_spec(family: str, variant: str, in_chans: int | None = None, num_classes: int | None = None) -> NetworkSpec:
    """The network spec (JSON) of a family member; the family's own channels and classes unless given.

    Raises:
        ValueError: an unknown family or variant; the message has the allowed ones.

    """
    data = _family(family)
    numbers = _variant(family, variant)
    spec: NetworkSpec = {
        "builder": "mobilenetv3",
        "arch_def": [list(stage) for stage in numbers["arch_def"]],
        "stem_size": numbers["stem_size"],
        "num_features": numbers["num_features"],
        "head_bias": data["head_bias"],
        "drop_rate": 0.0,
        "drop_path_rate": 0.0,
        "in_chans": data["in_chans"] if in_chans is None else in_chans,
        "num_classes": data["num_classes"] if num_classes is None else num_classes,
    }
    if "dw_padding" in numbers:
        spec["dw_padding"] = numbers["dw_padding"]
    if "width_divisor" in numbers:
        spec["width_divisor"] = numbers["width_divisor"]
    return spec


def image_size(family: str, variant: str) -> int:
    """The side of the square images a variant was made for."""
    return int(_variant(family, variant)["image_size"])


def family_macs(
    family: str, variant: str, in_chans: int | None = None, num_classes: int | None = None, size: int | None = None
) -> int:
    """The MACs of a family member on images of ``size`` (its own unless given)."""
    spec = network_spec(family, variant, in_chans, num_classes)
    return spec_macs(spec, image_size(family, variant) if size is None else size)


def family_params(family: str, variant: str, in_chans: int | None = None, num_classes: int | None = None) -> int:
    """The convolution and linear weights of a family member."""
    return spec_params(network_spec(family, variant, in_chans, num_classes))


def published(family: str, variant: str) -> dict[str, object]:
    """What the authors published about a variant (top-1 as a fraction...); empty where nothing."""
    return dict(_variant(family, variant).get("published") or {})


@cache
def _data() -> dict[str, Family]:
    folder = resources.files("nas_baseline") / "data"
    names = ("fbnetv3_mini", "fbnetv3_archs")
    families: dict[str, Family] = {}
    for name in names:
        path = folder / f"{name}.json"
        if path.is_file():
            data: Family = json.loads(path.read_text(encoding="utf-8"))
            families[data["family"]] = data
    return families


def _family(family: str) -> Family:
    if family not in _data():
        raise ValueError(f"family '{family}' is not known; allowed: {', '.join(list_families())}")
    return _data()[family]


def _variant(family: str, variant: str) -> Variant:
    members = _family(family)["variants"]
    if variant not in members:
        raise ValueError(f"family '{family}' has no variant '{variant}'; allowed: {', '.join(members)}")
    return members[variant]
