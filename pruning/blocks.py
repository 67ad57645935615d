"""Removing whole blocks: residual blocks, and squeeze-excite blocks, which the paper prunes by more than 99 %."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from accounting.macs.count import count_macs
from pruning.channels import blank_image
from pruning.layers import LayerFilter, find_layers
from pruning.structured import StructuredResult, prune_channels_to_macs

BlockKind = Literal["residual", "se"]


def se_blocks(model: nn.Module) -> list[str]:
    """Names of the squeeze-excite modules: those that timm calls ``se`` and that have weights."""
    return [
        name
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in {"se", "se_module"} and any(True for _ in module.parameters())
    ]


def residual_blocks(model: nn.Module, input_size: tuple[int, int, int]) -> list[str]:
    """Names of the outermost blocks that add to their input, and so can be left out: the input then passes unchanged.

    A residual block is a module that timm marks as one (``has_skip``, or else a ``drop_path``, ``drop_path1`` or
    ``shortcut`` and no ``downsample`` that does anything) and whose output has the shape of its input.
    """
    candidates = {name: module for name, module in model.named_modules() if name and _adds_to_its_input(module)}
    outermost = [name for name in candidates if not any(name.startswith(f"{other}.") for other in candidates)]
    same: list[str] = []
    handles = []
    for name in outermost:

        def note(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            if isinstance(output, Tensor) and inputs and inputs[0].shape == output.shape:
                same.append(name)

        handles.append(candidates[name].register_forward_hook(note))
    try:
        _run(model, input_size)
    finally:
        for handle in handles:
            handle.remove()
    return same


def remove_blocks(model: nn.Module, names: Iterable[str]) -> nn.Module:
    """Return a copy of the model in which these modules are replaced by ``nn.Identity``.

    Raises:
        ValueError: the model has no module of that name.

    """
    smaller = copy.deepcopy(model)
    known = dict(smaller.named_modules())
    for name in names:
        if name not in known or not name:
            raise ValueError(f"the model has no block {name!r}")
        parent, _, leaf = name.rpartition(".")
        known[parent]._modules[leaf] = nn.Identity()
    return smaller


def prune_blocks_to_macs(
    model: nn.Module,
    input_size: tuple[int, int, int],
    target_macs: int,
    *,
    kind: BlockKind = "residual",
    scope: Literal["uniform", "global"] = "uniform",
    round_to: int = 1,
    floor: float = 0.1,
    keep: LayerFilter | None = None,
    may_lack: bool = False,
) -> StructuredResult:
    """Remove the weakest blocks as far as the target allows, then channels for the rest.

    A block is removed only if the network then still has at least the target's MACs, so that the result ends within 1 %
    below it. Blocks are ordered by the mean absolute scale of their last normalisation (or their last weight, if they
    have none): how much the branch adds to its input. A block stays if ``keep`` names one of its layers. A network without
    blocks loses channels alone if it ``may_lack`` them, as after an earlier round. The model is not changed; if it already
    meets the target, the result is a copy of it.

    Raises:
        UnreachableTarget: no widths of the remaining network end within 1 % below the target.
        NotFollowed: Torch-Pruning does not understand the network.
        ValueError: the kind is unknown, or the network has no block of that kind and may not lack one.

    """
    if kind not in ("residual", "se"):
        raise ValueError(f"unknown kind {kind!r}; allowed: residual, se")
    names = se_blocks(model) if kind == "se" else residual_blocks(model, input_size)
    if not names and not may_lack:
        raise ValueError(
            f"the network has no {'squeeze-excite' if kind == 'se' else 'residual'} blocks that can be left out"
        )
    stay = [layer.name for layer in find_layers(model, input_size) if keep is not None and keep(layer)]
    names = [name for name in names if not any(layer.startswith(f"{name}.") for layer in stay)]
    modules = dict(model.named_modules())
    dense_macs = count_macs(model, input_size).macs
    removed: list[str] = []
    for name in sorted(names, key=lambda name: _branch_scale(modules[name])):
        without = count_macs(remove_blocks(model, [*removed, name]), input_size).macs
        if without >= target_macs:
            removed.append(name)
    smaller = remove_blocks(model, removed).eval()
    result = prune_channels_to_macs(
        smaller, input_size, target_macs, scope=scope, round_to=round_to, floor=floor, keep=keep
    )
    return dataclasses.replace(result, dense_macs=dense_macs, removed_blocks=tuple(removed))


def _adds_to_its_input(module: nn.Module) -> bool:
    if hasattr(module, "has_skip"):
        return bool(module.has_skip)
    if not isinstance(getattr(module, "downsample", None), nn.Identity | None):
        return False
    return any(hasattr(module, mark) for mark in ("drop_path", "drop_path1", "shortcut"))


def _branch_scale(module: nn.Module) -> float:
    """Mean absolute value of the scale of a block's last normalisation, or else of its last weight tensor."""
    norms = (m.weight for m in module.modules() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm)))
    scales = [weight for weight in norms if isinstance(weight, Tensor)]
    weights = scales or [p for p in module.parameters() if p.dim() > 1]
    return float(weights[-1].detach().abs().mean())


def _run(model: nn.Module, input_size: tuple[int, int, int]) -> None:
    was_training = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            model(blank_image(model, input_size))
    finally:
        for module, training in was_training:
            module.training = training
