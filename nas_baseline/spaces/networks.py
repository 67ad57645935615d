"""Build a torch network from its JSON spec: the only place where specs become modules.

Builders: ``timm`` (``name``, ``kwargs``) and ``mobilenetv3`` (numbers, as timm's FBNetV3). Beyond
``docs/architecture.md`` a mobilenetv3 spec may have ``dw_padding`` ({"stage.block": padding of that depthwise
convolution}), ``width_divisor`` (widths are rounded to it; 8 unless given) and ``act`` (a timm activation name).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import timm
import torch
from timm.layers.create_act import get_act_layer
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.mobilenetv3 import MobileNetV3

from accounting.ledger.specs import NetworkSpec

KEYS: dict[str, frozenset[str]] = {
    "timm": frozenset({"builder", "name", "kwargs"}),
    "mobilenetv3": frozenset(
        {
            "builder", "arch_def", "stem_size", "num_features", "head_bias", "drop_rate", "drop_path_rate", "in_chans",
            "num_classes", "dw_padding", "width_divisor", "act",
        }
    ),
}  # fmt: skip


def build(spec: NetworkSpec) -> torch.nn.Module:
    """A freshly initialised network (torch's global generator draws the weights).

    Raises:
        ValueError: an unknown builder or key.

    """
    builder = spec.get("builder")
    if builder not in KEYS:
        raise ValueError(f"network builder {builder!r} is not known; allowed: {', '.join(sorted(KEYS))}")
    unknown = sorted(set(spec) - KEYS[builder])
    if unknown:
        allowed = ", ".join(sorted(KEYS[builder]))
        raise ValueError(f"network spec has unknown keys {', '.join(unknown)}; allowed for {builder}: {allowed}")
    if builder == "timm":
        network: torch.nn.Module = timm.create_model(spec["name"], **spec.get("kwargs", {}))
        return network
    return build_mobilenetv3(spec)


def build_mobilenetv3(spec: Mapping[str, Any]) -> torch.nn.Module:
    """Timm's MobileNetV3 with the numbers of a spec. Delivered networks have a copy of it."""
    divisor = int(spec.get("width_divisor", 8))
    network: torch.nn.Module = MobileNetV3(
        decode_arch_def(spec["arch_def"]),
        num_classes=spec["num_classes"],
        in_chans=spec["in_chans"],
        stem_size=spec["stem_size"],
        num_features=spec["num_features"],
        head_bias=spec.get("head_bias", True),
        act_layer=get_act_layer(spec.get("act", "hard_swish")),
        se_layer=partial(
            SqueezeExcite, gate_layer="hard_sigmoid", rd_round_fn=partial(round_channels, round_limit=0.95)
        ),
        se_from_exp=False,
        round_chs_fn=partial(round_channels, divisor=divisor, round_limit=0.95),
        drop_rate=spec.get("drop_rate", 0.0),
        drop_path_rate=spec.get("drop_path_rate", 0.0),
    )
    for place, padding in spec.get("dw_padding", {}).items():
        stage, block = (int(part) for part in place.split("."))
        convolution = network.blocks[stage][block].conv_dw  # type: ignore[index, union-attr]
        convolution.padding = (padding, padding)
    return network
