"""Networks: from a spec (plain JSON) to a module, its weights and masks in and out of files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.models import adapt_input_conv
from torch import nn

from harness.config import ParentConfig
from harness.data.base import DataInfo
from harness.errors import InputError, one_line
from harness.paths import replacing
from nas_baseline.families import TIMM_WEIGHTS, network_spec
from nas_baseline.networks import build
from nas_baseline.stages import StageSpace
from nas_baseline.supernet import Supernet

STATE_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
"""Where checkpoints keep a network's weights beside other things, the preferred first."""


def parent_spec(parent: ParentConfig, info: DataInfo) -> dict[str, Any]:
    """The network spec of a study's parent; ``InputError`` lists what there is where the name is unknown."""
    in_chans, num_classes = info.image_shape[0], info.num_classes
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


def pretrained_spec(parent: ParentConfig, spec: dict[str, Any]) -> dict[str, Any]:
    """The parent's spec, with its published weights where the config asks for them."""
    if not parent.pretrained:
        return spec
    if parent.timm is not None:
        return {**spec, "kwargs": {**spec["kwargs"], "pretrained": True}}
    return {**spec, "pretrained": TIMM_WEIGHTS[str(parent.family), str(parent.variant)]}


def with_regularisation(spec: dict[str, Any], recipe: dict[str, Any]) -> dict[str, Any]:
    """The spec with the recipe's dropout and stochastic depth, which are part of a timm network."""
    rates = {name: recipe[name] for name in ("drop_rate", "drop_path_rate") if recipe.get(name)}
    if spec["builder"] == "timm":
        return {**spec, "kwargs": {**spec["kwargs"], **rates}}
    return {**spec, **rates} if spec["builder"] == "mobilenetv3" else spec


def build_network(spec: dict[str, Any]) -> nn.Module:
    """The module of a spec, freshly initialised (or with timm's pretrained weights, where the spec says so).

    Beside the builders of :mod:`nas_baseline.networks` a spec may be ``{"builder": "supernet", "space": …}``, and one of
    a family may have ``pretrained``, the timm network whose weights it takes.
    """
    if spec["builder"] == "supernet":
        return Supernet(StageSpace(spec["space"]))
    weights = spec.get("pretrained")
    if weights is None:
        return build(spec)
    model = build({key: value for key, value in spec.items() if key != "pretrained"})
    published = timm.create_model(weights, pretrained=True, in_chans=spec["in_chans"], num_classes=spec["num_classes"])
    model.load_state_dict(published.state_dict())
    return model


def save_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all; tensors that share memory are written once each."""
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


def checkpoint_path(given: str) -> Path:
    """The file of ``parent.checkpoint``: a path, or ``package:NAME/path`` for a file inside an installed package."""
    if not given.startswith("package:"):
        return Path(given).expanduser().resolve()
    package, _, inside = given.removeprefix("package:").partition("/")
    try:
        return Path(str(resources.files(package))) / inside
    except (ModuleNotFoundError, ValueError, TypeError):
        raise InputError(f"parent.checkpoint: {given}: no package {package!r} is installed; pip install it") from None


def load_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """A state dict from a user's file, safetensors or ``torch.save``; ``InputError`` if it is neither."""
    if not path.is_file():
        raise InputError(f"parent.checkpoint: no file at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError, KeyError) as error:
        raise InputError(f"parent.checkpoint: {path} is no checkpoint of weights ({one_line(error, 120)})") from None
    except Exception as error:  # pickle.UnpicklingError and what a hostile or torn pickle raises
        raise InputError(f"parent.checkpoint: {path} is no checkpoint of weights ({type(error).__name__})") from None
    if isinstance(state, dict):  # as timm does, the averaged weights first
        state = next((state[key] for key in STATE_KEYS if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"parent.checkpoint: {path} holds no state dict of tensors; save model.state_dict()")
    return {name.removeprefix("module."): value for name, value in state.items()}


def fit_checkpoint(model: nn.Module, state: dict[str, torch.Tensor], path: Path) -> list[str]:
    """Load a user's weights: by name, or else in order where every shape agrees.

    A classifier of another size is left as it was; the names of its tensors are given back. A first convolution for
    colour images is made one for the parent's channels as timm does (sums for one, repeats for more). ``InputError`` says
    how many tensors do not fit.
    """
    own = model.state_dict()
    own_order = [name for name in own if not name.endswith("num_batches_tracked")]
    given = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    if set(own_order) != set(given) and len(own_order) == len(given):
        given = dict(zip(own_order, given.values(), strict=True))
    known: Any = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ("classifier", "fc", "head.fc")
    classifiers = (known,) if isinstance(known, str) else tuple(known)
    head = [name for name in own_order if name.rpartition(".")[0] in classifiers]
    first = own_order[0]
    if first in given and own[first].dim() == 4 and given[first].shape[1:2] == (3,) != own[first].shape[1:2]:
        given[first] = adapt_input_conv(own[first].shape[1], given[first])
    fits = {name: v for name, v in given.items() if name in own and own[name].shape == v.shape}
    wrong = [name for name in own_order if name not in fits and name not in head]
    if wrong:
        raise InputError(
            f"parent.checkpoint: {path} does not fit the parent: {len(wrong)} of {len(own_order)} tensors are missing "
            f"or of another shape, the first {wrong[0]}"
        )
    model.load_state_dict(fits, strict=False)
    return [name for name in own_order if name not in fits]
