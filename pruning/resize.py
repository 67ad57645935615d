"""Give a dense network the shapes of a physically pruned one, so that its weights can be loaded.

A structurally pruned network is stored as the name of its dense architecture and a state dict of smaller tensors; it is
restored with ``fit_to_state(timm.create_model(name), state)``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd


def fit_to_state(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Resize the model's layers to the state dict's shapes, in place, load the state dict, and return the model.

    Modules whose tensors are all missing from ``state`` are replaced by ``nn.Identity``: they are blocks that were
    removed whole.

    Raises:
        ValueError: the state dict has a tensor that the model does not have.

    """
    _drop_missing(model, state)
    places = model.state_dict(keep_vars=True)
    unknown = sorted(set(state) - set(places))
    if unknown:
        raise ValueError(f"no place in the model for {', '.join(unknown[:4])}")
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        own = {key: state[prefix + key] for key in (*module._parameters, *module._buffers) if prefix + key in state}
        changed = False
        for key, value in own.items():
            current = getattr(module, key)
            if current.shape != value.shape:
                changed = True
                resized = torch.empty(value.shape, dtype=current.dtype, device=current.device)
                setattr(module, key, nn.Parameter(resized) if key in module._parameters else resized)
        if changed:
            _set_sizes(module)
    for module in model.modules():
        _set_heads(module)
    model.load_state_dict(dict(state))
    return model


def fresh_like(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Resize a freshly initialised model to the state dict's shapes, in place, without its values; return the model.

    Resized layers are initialised again with PyTorch's default. Tensors of other modules keep the first entries of the
    model's own along each dimension.
    """
    fresh = model.state_dict()
    shapes = {name: value.shape for name, value in fresh.items()}
    own = {name: fresh[name][tuple(slice(n) for n in value.shape)].clone() for name, value in state.items()}
    smaller = fit_to_state(model, own)
    for name, module in smaller.named_modules():
        prefix = f"{name}." if name else ""
        changed = any(shapes.get(prefix + key) != p.shape for key, p in module.named_parameters(recurse=False))
        reset = getattr(module, "reset_parameters", None)
        if changed and callable(reset):
            reset()
    return smaller


def _set_sizes(module: nn.Module) -> None:
    """Set a layer's size attributes to match its weight."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        return
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, _ConvNd) and not module.transposed:
        is_depthwise = 1 < module.groups == module.in_channels
        multiplier = module.out_channels // module.in_channels
        module.out_channels = weight.shape[0]
        module.groups = weight.shape[0] // multiplier if is_depthwise else module.groups
        module.in_channels = weight.shape[1] * module.groups
    elif isinstance(module, _NormBase):
        module.num_features = weight.shape[0]
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(weight.shape)
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = weight.shape[0]


def _set_heads(module: nn.Module) -> None:
    """Set the number of heads of timm's attention to match its weights; the width of a head does not change."""
    qkv, head_dim, width = (getattr(module, name, None) for name in ("qkv", "head_dim", "attn_dim"))
    if (
        isinstance(qkv, nn.Linear)
        and isinstance(head_dim, int)
        and isinstance(width, int)
        and qkv.out_features < 3 * width
    ):
        for name, value in (("attn_dim", qkv.out_features // 3), ("num_heads", qkv.out_features // 3 // head_dim)):
            setattr(module, name, value)


def _drop_missing(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Replace every outermost module that has tensors but none in the state dict."""
    modules = dict(model.named_modules())
    gone: list[str] = []
    for name, module in modules.items():
        is_inside = any(name.startswith(f"{outer}.") for outer in gone)
        if name and not is_inside and module.state_dict() and not any(key.startswith(f"{name}.") for key in state):
            gone.append(name)
            parent, _, leaf = name.rpartition(".")
            modules[parent]._modules[leaf] = nn.Identity()
