"""Builds modules from network specs (plain JSON), and saves and loads their weights and masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from accounting.ledger.specs import NetworkSpec
from harness.config.study import ParentConfig
from harness.data.base import DataInfo
from harness.errors import InputError
from harness.models.checkpoint_file import STATE_KEYS, checkpoint_path, checkpoint_sha256, load_checkpoint
from harness.models.checkpoint_fit import fit_checkpoint
from harness.models.hub import hub_in_one_try
from harness.paths import replacing
from nas_baseline.spaces.declared import StageSpace
from nas_baseline.spaces.families import TIMM_WEIGHTS, network_spec
from nas_baseline.spaces.networks import build
from nas_baseline.supernet.supernet import Supernet

__all__ = [
    "STATE_KEYS", "build_network", "checkpoint_path", "checkpoint_sha256", "fit_checkpoint", "load_checkpoint",
    "load_tensors", "parent_spec", "pretrained_spec", "save_tensors", "with_regularisation",
    "without_pretrained",
]  # fmt: skip


def parent_spec(parent: ParentConfig, info: DataInfo) -> NetworkSpec:
    """The network spec of a study's parent; ``InputError`` lists known names if its name is unknown."""
    in_chans, num_classes = info.image_shape[0], info.task.num_outputs
    if parent.timm is not None:
        if parent.timm.split(".")[0] not in timm.list_models():
            near = ", ".join(timm.list_models(f"*{parent.timm.split('_')[0]}*")[:6])
            raise InputError(
                f"parent.timm: timm has no network {parent.timm!r}" + (f"; near it: {near}" if near else "")
            )
        kwargs = {"in_chans": in_chans, "num_classes": num_classes}
        return {"builder": "timm", "name": parent.timm, "kwargs": kwargs}
    try:
        spec = network_spec(str(parent.family), str(parent.variant), in_chans, num_classes)
    except (KeyError, ValueError) as error:
        raise InputError(f"parent: {error.args[0]}") from None
    if parent.pretrained and (parent.family, parent.variant) not in TIMM_WEIGHTS:
        have = ", ".join(f"{family} {variant}" for family, variant in TIMM_WEIGHTS)
        raise InputError(
            f"parent.pretrained: no published weights for {parent.family} {parent.variant}; there are some for {have}, "
            "and for timm networks (timm:)"
        )
    return spec


def pretrained_spec(parent: ParentConfig, spec: NetworkSpec) -> NetworkSpec:
    """The parent's spec, with its published weights if the config asks for them."""
    if not parent.pretrained:
        return spec
    if parent.timm is not None:
        return {**spec, "kwargs": {**spec["kwargs"], "pretrained": True}}
    return {**spec, "pretrained": TIMM_WEIGHTS[str(parent.family), str(parent.variant)]}


def with_regularisation(spec: NetworkSpec, recipe: Mapping[str, float]) -> NetworkSpec:
    """The spec with the recipe's dropout and stochastic depth, which are part of a timm network."""
    rates = NetworkSpec()
    if recipe.get("drop_rate"):
        rates["drop_rate"] = recipe["drop_rate"]
    if recipe.get("drop_path_rate"):
        rates["drop_path_rate"] = recipe["drop_path_rate"]
    if spec["builder"] == "timm":
        return {**spec, "kwargs": {**spec["kwargs"], **rates}}
    return {**spec, **rates} if spec["builder"] == "mobilenetv3" else spec


def without_pretrained(spec: NetworkSpec) -> NetworkSpec:
    """The spec of a family's network without its published weights."""
    plain = spec.copy()
    plain.pop("pretrained", None)
    return plain


def build_network(spec: NetworkSpec) -> nn.Module:
    """The module of a spec, freshly initialised or, if the spec says so, with timm's pretrained weights.

    In addition to the builders of :mod:`nas_baseline.spaces.networks`, a spec may be ``{"builder": "supernet", "space":
    …}``. The spec of a family's network may have ``pretrained``, the name of the timm network whose weights it takes.
    """
    if spec["builder"] == "supernet":
        return Supernet(StageSpace(spec["space"]))
    weights = spec.get("pretrained")
    if weights is None and not spec.get("kwargs", {}).get("pretrained"):
        return build(spec)
    with hub_in_one_try():
        if weights is None:
            return build(spec)
        published = timm.create_model(
            weights, pretrained=True, in_chans=spec["in_chans"], num_classes=spec["num_classes"]
        )
    model = build(without_pretrained(spec))
    model.load_state_dict(published.state_dict())
    return model


def save_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, completely or not at all; tensors that share memory are written separately."""
    own: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        own[name] = value.clone() if value.untyped_storage().data_ptr() in seen else value
        seen.add(own[name].untyped_storage().data_ptr())
    with replacing(path) as temporary:
        save_file(own, temporary, metadata)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file."""
    return load_file(path)
