"""Removing channels that a pruned network no longer needs, without changing its outputs.

A channel is dead if nothing reads it (the weights of every consumer are zero for it), or if it is silent (every layer
that makes it gives exactly 0, batch norm included). Removing it makes the network smaller and leaves its outputs the
same up to rounding (sums lose terms that are exactly zero), which is checked. Channels that are normalised together
with others (layer norm, group norm) stay, because their removal would change the outputs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from accounting.macs.count import count_macs
from pruning.channels import ChannelGroup, Deadline, blank_image, find_groups, following
from pruning.layers import find_layers, output_layers


@dataclass(frozen=True, eq=False)
class DeadRemoval:
    """The smaller network and what was removed from it.

    Attributes:
        model: a new, smaller module in evaluation mode.
        removed: number of channels removed, by the name of the first layer of their group.
        dense_macs_before: MACs counting all weights, before removal; ``dense_macs`` is after it.
        sparse_macs_before: MACs counting non-zero weights, before removal; ``sparse_macs`` is after it.
        largest_difference: largest absolute difference between the outputs before and after, on a random image.

    """

    model: nn.Module
    removed: dict[str, int]
    dense_macs_before: int
    dense_macs: int
    sparse_macs_before: int
    sparse_macs: int
    largest_difference: float


@torch.no_grad()
def remove_dead_channels(model: nn.Module, input_size: tuple[int, int, int], *, tolerance: float = 1e-4) -> DeadRemoval:
    """Remove dead channels until none is left; every group keeps at least one. The model itself is not changed.

    Raises:
        NotFollowed: Torch-Pruning does not understand the network.
        ValueError: the outputs would differ by more than ``tolerance`` times the largest output.
        ModuleNotFoundError: Torch-Pruning, the extra ``structured``, is not installed.

    """
    smaller = copy.deepcopy(model).eval()
    before = count_macs(smaller, input_size)
    ignored = output_layers(find_layers(smaller, input_size))
    image = torch.randn(1, *input_size, generator=torch.Generator().manual_seed(0)).to(blank_image(model, input_size))
    expected = smaller(image)
    removed: dict[str, int] = {}
    deadline = Deadline()
    while True:
        found = False
        with following():
            for group in find_groups(smaller, input_size, ignored, deadline)[0]:
                dead = torch.nonzero(dead_channels(group)).flatten().tolist()[: group.width - 1]
                if dead:
                    group.remove(dead)
                    removed[group.name] = removed.get(group.name, 0) + len(dead)
                    found = True
        if not found:
            break
    difference = float((smaller(image) - expected).abs().max())
    if not difference <= tolerance * float(expected.abs().max()):
        raise ValueError(f"removing dead channels would change the output by {difference:g}: left alone")
    after = count_macs(smaller, input_size)
    return DeadRemoval(smaller, removed, before.macs, after.macs, before.sparse_macs, after.sparse_macs, difference)


def dead_channels(group: ChannelGroup) -> Tensor:
    """Which channels of a group are dead; bool, shape (width,)."""
    norms = [member.module for member in group.members if not isinstance(member.module, _WEIGHTED)]
    if not all(isinstance(norm, _BatchNorm) for norm in norms):
        return torch.zeros(group.width, dtype=torch.bool)
    return _unread(group) | _silent(group)


_WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear)


def _unread(group: ChannelGroup) -> Tensor:
    """Channels for which the weights of every reader are zero."""
    readers = group.weights(is_output=False)
    if not readers:  # the channels are outputs of the network, or are read where the graph does not see it
        return torch.zeros(group.width, dtype=torch.bool)
    return ~_any_of(group, [(member.channels, (rows != 0).any(1)) for member, rows in readers])


def _silent(group: ChannelGroup) -> Tensor:
    """Channels that are exactly zero in the output of every layer that makes them."""
    loud = []
    for member, rows in group.weights(is_output=True):
        bias = member.module.bias
        loud.append((member.channels, (rows != 0).any(1)))
        if isinstance(bias, Tensor):
            loud.append((member.channels, bias.detach()[member.indices.to(bias.device)] != 0))
    for member in group.members:
        norm = member.module
        if isinstance(norm, _BatchNorm):
            if norm.running_mean is None or norm.running_var is None:
                return torch.zeros(group.width, dtype=torch.bool)
            of_zero = -norm.running_mean * (norm.running_var + norm.eps).rsqrt()
            if norm.affine:
                of_zero = of_zero * norm.weight + norm.bias
            loud.append((member.channels, of_zero.detach()[member.indices.to(of_zero.device)] != 0))
    return ~_any_of(group, loud)


def _any_of(group: ChannelGroup, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Channels for which any of the parts is true."""
    result = torch.zeros(group.width, dtype=torch.bool)
    for channels, is_so in parts:
        result[channels[is_so.cpu()]] = True
    return result
