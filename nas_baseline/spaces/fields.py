"""The contents of a space's file as types, and checks of a file against them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import TypedDict, TypeGuard, cast

SPACE_KEYS = ("name", "image_size", "in_chans", "num_classes", "head_bias", "act", "width_divisor", "stem", "stages",
              "head", "recipe", "about")  # fmt: skip
HEAD_KEYS = ("expansion", "features")
STAGE_KEYS = ("type", "stride", "kernel", "kernel_rest", "expansion", "expansion_rest", "depth", "width", "se")
RECIPE_KEYS = (
    "optimizer", "lr", "weight_decay", "ema_decay", "dropout", "drop_path", "mixup_alpha", "label_smoothing",
)  # fmt: skip
ACTS = ("relu", "relu6", "hard_swish", "silu", "swish", "gelu", "mish", "elu", "leaky_relu")

Number = int | float
Spread = Number | list[Number] | dict[str, Number]
"""One value, a rising list, or ``{min, max, step}``."""


class StemFields(TypedDict):
    """The first convolution."""

    width: Spread


class HeadFields(TypedDict):
    """What follows the stages."""

    expansion: Number
    features: Spread


class StageFields(TypedDict, total=False):
    """A stage of blocks; each entry but ``type`` and ``stride`` is a dimension."""

    type: str
    stride: int
    kernel: Spread
    kernel_rest: Spread
    expansion: Spread
    expansion_rest: Spread
    depth: Spread
    width: Spread
    se: Spread


class RecipeFields(TypedDict, total=False):
    """How members are trained; ``optimizer`` is a name, a list of names, or names with a factor for the learning rate."""

    optimizer: str | list[str] | dict[str, Number]
    lr: Spread
    weight_decay: Spread
    ema_decay: Spread
    dropout: Spread
    drop_path: Spread
    mixup_alpha: Spread
    label_smoothing: Spread


class SpaceFields(TypedDict, total=False):
    """A whole space; ``about`` is for people."""

    name: str
    image_size: Spread
    in_chans: int
    num_classes: int
    head_bias: bool
    act: str
    width_divisor: int
    stem: StemFields
    stages: list[StageFields]
    head: HeadFields
    recipe: RecipeFields | None
    about: str


def checked_space(data: Mapping[str, object]) -> SpaceFields:
    """A space's sections, with dimensions not yet parsed; ``ValueError`` if they are invalid."""
    check_keys("the space", data, SPACE_KEYS)
    for key in ("name", "image_size", "in_chans", "num_classes", "stem", "stages", "head"):
        if key not in data:
            raise ValueError(f"the space lacks '{key}'")
    check_section("stem", data["stem"], ("width",), ("width",))
    expansion = check_section("head", data["head"], HEAD_KEYS, HEAD_KEYS)["expansion"]
    for key in ("in_chans", "num_classes", "width_divisor"):
        if type(number := data.get(key, 8)) is not int or number < 1:
            raise ValueError(f"{key} is {number!r}; a whole number of at least 1 is allowed")
    if not is_number(expansion) or expansion <= 0:
        raise ValueError(f"head.expansion is {expansion!r}; one number above 0 is allowed")
    if data.get("act", "relu") not in ACTS:
        raise ValueError(f"act is {data['act']!r}; allowed: {', '.join(ACTS)}")
    if not isinstance(data["stages"], list) or not data["stages"]:
        raise ValueError(f"stages is {data['stages']!r}; a list of at least one stage is allowed")
    return cast(SpaceFields, data)


def is_number(value: object) -> TypeGuard[Number]:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_section(where: str, section: object, needed: Sequence[str], allowed: Sequence[str]) -> Mapping[str, object]:
    """The section, if it has all required keys and no others than allowed; otherwise ``ValueError``."""
    if not isinstance(section, dict):
        raise ValueError(f"{where} is {section!r}; a mapping with {', '.join(needed)} is allowed")
    check_keys(where, section, allowed)
    for key in needed:
        if key not in section:
            raise ValueError(f"{where} lacks '{key}'")
    return section


def check_keys(where: str, data: Mapping[str, object], allowed: Sequence[str]) -> None:
    """``ValueError`` for a key that is not allowed, with the nearest one."""
    for key in data:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"{where}: '{key}' is not known{hint} Allowed: {', '.join(allowed)}")
