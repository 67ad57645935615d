"""Groups of channels that can only be removed together, found with Torch-Pruning's dependency graph.

Fang et al. 2023, arXiv 2301.12900. Torch-Pruning is the optional extra ``structured``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from accounting.macs.count import MacsReport
from accounting.words.plain_text import one_line
from pruning.deadline import Deadline, NotFollowed
from pruning.dependency_graph import Coupled, Graph, Item, build_graph, torch_pruning
from pruning.heads import find_attentions, layers_of, places_of, remove_heads
from pruning.scores import CriterionFails
from pruning.solve import UnreachableTarget

__all__ = [
    "ChannelGroup", "Deadline", "Loose", "Member", "NotFollowed", "blank_image", "find_groups", "following", "macs_with",
    "torch_pruning",
]  # fmt: skip


class NotFinite(ValueError):
    """Channel scores that are not finite, so they cannot be ordered."""


@contextmanager
def following() -> Iterator[None]:
    """Turn what a dependency graph raises on a network that it does not understand into :class:`NotFollowed`.

    Any exception is turned, because it can fail in any way on a network that its authors did not foresee.
    """
    try:
        yield
    except (NotFollowed, NotFinite, CriterionFails, UnreachableTarget, ModuleNotFoundError):
        raise
    except Exception as error:
        reason = one_line(error, 160)
        raise NotFollowed(f"Torch-Pruning cannot follow the network's channels: {reason}") from error


@dataclass(frozen=True, eq=False)
class Member:
    """A layer in a group: its ``indices`` (of its outputs or inputs) belong to the group's ``channels``.

    Both are int64 tensors of the same length. ``module`` is a convolution, linear or normalisation layer.
    """

    name: str
    module: nn.Module
    is_output: bool
    channels: Tensor
    indices: Tensor


@dataclass(frozen=True, eq=False)
class Loose:
    """A parameter in a group that is not part of a layer, such as a layer scale or a position embedding.

    Its ``indices`` along ``dim`` belong to the group's ``channels``, as in :class:`Member`.
    """

    name: str
    dim: int
    channels: Tensor
    indices: Tensor


GroupKind = tuple[tuple[tuple[str, bool], ...], int, bool]
"""(sorted pairs of a layer's type and whether it makes the channels, number of loose parameters, are they heads)."""


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels shared by several layers: removing one removes it from each of them.

    Attributes:
        name: name of the first layer (in the order of the network) that makes the channels.
        width: number of channels.
        members: the layers.
        remove: removes channels from the network by index, in place. Other groups stay valid.
        loose: parameters outside of layers that are removed along with the channels.
        head_dim: channels per head in a group of attention heads, where each head is one channel of the group; else 1.

    """

    name: str
    width: int
    members: tuple[Member, ...]
    remove: Callable[[Sequence[int]], None]
    loose: tuple[Loose, ...] = ()
    head_dim: int = 1

    @property
    def kind(self) -> GroupKind:
        """What similar groups have in common: the types of the layers that make and that read their channels."""
        layers = [(type(member.module).__name__, member.is_output) for member in self.members]
        return tuple(sorted(layers)), len(self.loose), self.head_dim > 1

    def step(self, round_to: int) -> int:
        """The group's widths must be multiples of this for the layers' widths to be multiples of ``round_to``."""
        return round_to // math.gcd(round_to, self.head_dim)

    def least_width(self, round_to: int, floor: float) -> int:
        """The least number of channels to keep: the share ``floor``, rounded up to a multiple of the group's step."""
        step = self.step(round_to)
        return max(step, math.ceil(math.ceil(floor * self.width) / step) * step)

    def weights(self, *, is_output: bool, instead: Mapping[str, Tensor] | None = None) -> list[tuple[Member, Tensor]]:
        """The convolution and linear members that make the channels (``is_output``) or read them, with their weights.

        Each weight is detached, with its rows in the order of the member's ``indices``: shape (indices, others).
        ``instead`` has tensors to use in place of the weights, in the weights' shapes, by member name.
        """
        rows = []
        for member in self.members:
            if member.is_output == is_output and isinstance(member.module, (_ConvNd, nn.Linear)):
                weight = (instead or {}).get(member.name, member.module.weight.detach())
                along = weight if is_output else weight.transpose(0, 1)
                rows.append((member, along.flatten(1)[member.indices.to(weight.device)]))
        return rows

    def scores(self, weight_scores: Mapping[str, Tensor]) -> Tensor:
        """Mean squared score of each channel's weights, divided by the group's mean; float32, shape (width,).

        ``weight_scores`` are a criterion's scores in the weights' shapes, by layer name.
        """
        squares, num_weights = torch.zeros(self.width, dtype=torch.float64), 0
        for is_output in (True, False):
            for member, rows in self.weights(is_output=is_output, instead=weight_scores):
                squares.index_add_(0, member.channels, rows.double().square().sum(1).cpu())
                num_weights += rows.numel() // self.width
        scores = squares / max(1, num_weights)
        if not scores.isfinite().all():
            raise NotFinite(f"scores of the channels of {self.name!r} are not finite")
        return (scores / scores.mean().clamp_min(1e-300)).float()


def find_groups(
    model: nn.Module, input_size: tuple[int, int, int], ignored: Sequence[str], deadline: Deadline | None = None
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """The groups that can be pruned, and for the others the reason why not, by layer name.

    ``ignored`` names layers whose output channels stay (at least the classifier). Following the network, and later
    removing channels of its groups, must finish within the deadline (by default one that begins now).

    Raises:
        NotFollowed: the time is up, or Torch-Pruning does not understand the network.
        ModuleNotFoundError: Torch-Pruning is not installed.

    """
    model.eval()
    names = {module: name for name, module in model.named_modules()}
    # A layer-scale parameter (ConvNeXt) has its channels in dimension 0; Torch-Pruning guesses the last.
    loose = {
        parameter: 0
        for module in model.modules()
        for parameter in module.parameters(recurse=False)
        if not isinstance(module, _SIZED) and parameter.dim() == 1
    }
    deadline = deadline or Deadline()
    graph = build_graph(model, blank_image(model, input_size), list(loose.items()), deadline)
    places = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    shared = {name for m, name in names.items() if any(places[id(p)] > 1 for p in m.parameters(recurse=False))}
    groups, left_out = [], {}
    heads = [_heads(name, attention) for name, attention in find_attentions(model)]
    whole = {member.name for group in heads for member in group.members}
    for found in graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]):
        deadline.check()
        reason = _obstacle(graph, found, names, set(ignored), shared)
        group = _group(graph, found, names)
        if group.name in whole and not any(m.name not in whole and m.is_output for m in group.members):
            continue  # channels within heads: heads are removed whole or not at all
        if not reason:
            groups.append(group)
        elif group.name not in ignored:
            left_out[group.name] = reason
    for group in heads:
        if tied := next((member.name for member in group.members if member.name in shared), None):
            left_out[group.name] = f"goes with the shared weight of {tied}"
        elif group.name not in ignored:
            groups.append(group)
    return groups, left_out


def blank_image(model: nn.Module, input_size: tuple[int, int, int]) -> Tensor:
    """A batch of one image of zeros, with the model's device and dtype."""
    parameter = next(model.parameters())
    return torch.zeros(1, *input_size, device=parameter.device, dtype=parameter.dtype)


def macs_with(report: MacsReport, groups: Sequence[ChannelGroup], num_removed: Sequence[int]) -> int:
    """MACs of one image if ``num_removed`` channels of each group were removed; nothing is removed."""
    fewer: Counter[tuple[str, bool]] = Counter()
    for group, removed in zip(groups, num_removed, strict=True):
        for member in group.members:
            fewer[member.name, member.is_output] += len(member.indices) // group.width * removed
    total = 0
    for layer in report.layers:
        outputs, inputs, *kernel = layer.weight_shape
        inputs -= fewer[layer.name, False] if layer.groups == 1 else 0
        total += layer.positions * (outputs - fewer[layer.name, True]) * inputs * math.prod(kernel)
    return total


_SIZED = (_ConvNd, nn.Linear, nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def _obstacle(
    graph: Graph, found: Coupled, names: Mapping[nn.Module, str], ignored: set[str], shared: set[str]
) -> str | None:
    """Why a group cannot be pruned, or None."""
    for item in found:
        module = item.dep.target.module
        name = names.get(module, "")
        is_output = graph.is_out_channel_pruning_fn(item.dep.handler)
        if is_output and name in ignored:
            return f"goes with {name}, which is left alone"
        if name in shared:
            return f"goes with the shared weight of {name}"
        if isinstance(module, _ConvNd) and module.transposed:
            return f"goes with the transposed convolution {name}"
        if isinstance(module, _ConvNd) and module.groups > 1 and not _is_depthwise(module):
            return f"goes with the grouped convolution {name}"
        if isinstance(module, nn.GroupNorm) and module.num_groups > 1:
            return f"goes with the group norm {name}"
        if isinstance(module, _SIZED) and item.idxs and max(item.idxs) >= _num_channels(module, is_output):
            return f"goes with channels that {name} does not have"
        if len(item.idxs) % len(found[0].idxs):
            return f"goes with a part of the channels of {name or 'a tensor operation'} only"
    return None


def _group(graph: Graph, found: Coupled, names: Mapping[nn.Module, str]) -> ChannelGroup:
    root, handler, width = found[0].dep.target.module, found[0].dep.handler, len(found[0].idxs)

    def remove(channels: Sequence[int]) -> None:
        if channels:
            graph.get_pruning_group(root, handler, list(channels)).prune()

    makers = {names[item.dep.target.module] for item in found if _makes_channels(graph, item)}
    first = next((known for known in names.values() if known in makers), names[root])
    members = tuple(
        Member(
            name=names[item.dep.target.module],
            module=item.dep.target.module,
            is_output=graph.is_out_channel_pruning_fn(item.dep.handler),
            channels=torch.tensor(item.root_idxs),
            indices=torch.tensor(item.idxs),
        )
        for item in found
        if isinstance(item.dep.target.module, _SIZED)
    )
    loose = tuple(
        Loose(graph._param_to_name[item.dep.target.module], int(item.dep.target.pruning_dim),
              torch.tensor(item.root_idxs), torch.tensor(item.idxs))
        for item in found
        if isinstance(item.dep.target.module, nn.Parameter)
    )  # fmt: skip
    return ChannelGroup(first, width, members, remove, loose)


def _heads(name: str, attention: Attention) -> ChannelGroup:
    """The heads of one attention module as a group, named after the layer that makes them."""
    members = tuple(
        Member(f"{name}.{own}", layer, is_output, *places_of(attention, times))
        for own, layer, is_output, times in layers_of(attention)
    )

    def remove(heads: Sequence[int]) -> None:
        if heads:
            remove_heads(attention, heads)

    return ChannelGroup(members[0].name, attention.num_heads, members, remove, head_dim=attention.head_dim)


def _num_channels(module: nn.Module, is_output: bool) -> int:
    """The number of output or input channels of a layer."""
    weight = module.weight if isinstance(module.weight, Tensor) else None
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return module.num_features
    if isinstance(module, nn.GroupNorm):
        return module.num_channels
    if isinstance(module, nn.LayerNorm) or weight is None:
        return math.prod(getattr(module, "normalized_shape", (10**9,)))
    if isinstance(module, _ConvNd):
        return module.out_channels if is_output else module.in_channels
    return weight.shape[0 if is_output else 1]


def _is_depthwise(module: _ConvNd) -> bool:
    return module.groups == module.in_channels == module.out_channels


def _makes_channels(graph: Graph, item: Item) -> bool:
    is_layer = isinstance(item.dep.target.module, (_ConvNd, nn.Linear))
    return is_layer and bool(graph.is_out_channel_pruning_fn(item.dep.handler))
