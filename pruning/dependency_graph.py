"""Torch-Pruning's dependency graph with limits: it finds the same groups faster, and gives up after a stated time.

Torch-Pruning's own walk compares every new dependency with all earlier ones, and some networks (experts mixed for each
image, attention over windows) multiply indices without end. Here, dependencies already seen are looked up in a set, and
both time (``deadline.py``) and the number of indices are limited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from accounting.words.extras import install_extra
from pruning.deadline import Deadline, NotFollowed

MAX_INDICES = 1_000_000
"""Most indices that the channels of one layer may become elsewhere (flattened, unfolded, reshaped)."""


class Place(Protocol):
    """A layer, parameter or operation of the network, as Torch-Pruning represents it."""

    module: nn.Module
    pruning_dim: int


class Dependent(Protocol):
    """A removal that another one requires: where, and by which function."""

    target: Place
    handler: object


class Item(Protocol):
    """A dependency and the channels it removes: ``idxs`` of its target, which are ``root_idxs`` of the group's root."""

    dep: Dependent
    idxs: list[int]
    root_idxs: list[int]


class Coupled(Protocol):
    """Everything that is removed along with some channels of a layer."""

    def __iter__(self) -> Iterator[Item]: ...

    def __getitem__(self, place: int) -> Item: ...

    def prune(self) -> object:
        """Remove them."""
        ...


class Graph(Protocol):
    """Torch-Pruning's graph of dependencies."""

    _param_to_name: Mapping[object, str]

    def get_all_groups(self, *, root_module_types: list[type[nn.Module]]) -> Iterable[Coupled]:
        """One group for each layer whose channels can be removed."""
        ...

    def get_pruning_group(self, module: nn.Module, pruning_fn: object, idxs: Sequence[int]) -> Coupled:
        """What is removed along with these channels of a layer."""
        ...

    def is_out_channel_pruning_fn(self, fn: object) -> bool:
        """Whether a function removes output channels of a layer, rather than input channels."""
        ...


def torch_pruning() -> Any:
    """The Torch-Pruning module, imported on demand; if it is missing, the error says how to install it."""
    try:
        import torch_pruning as tp
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"structured pruning needs Torch-Pruning: {install_extra('structured')}") from None
    return tp


def build_graph(
    model: nn.Module, image: torch.Tensor, loose: Sequence[tuple[nn.Parameter, int]], deadline: Deadline
) -> Graph:
    """The graph of a model traced on an image; ``loose`` has parameters outside of layers with their channel dimension."""
    tp = torch_pruning()

    class Followed(tp.DependencyGraph):  # type: ignore[misc, name-defined]
        def get_pruning_group(self, module: nn.Module, pruning_fn: object, idxs: Sequence[int]) -> Coupled:
            return _group(tp, self, module, pruning_fn, idxs, deadline)

    with torch.enable_grad(), deadline.watching():
        trainable = [p.requires_grad for p in model.parameters()]
        model.requires_grad_(True)
        try:
            graph: Graph = Followed().build_dependency(
                model, example_inputs=image, unwrapped_parameters=list(loose), verbose=False
            )
            return graph
        finally:
            for parameter, value in zip(model.parameters(), trainable, strict=True):
                parameter.requires_grad_(value)


def _group(
    tp: Any, graph: Any, module: nn.Module, handler: object, channels: Sequence[int], deadline: Deadline
) -> Coupled:
    """All dependencies that removing ``channels`` of a layer triggers, merged where they have the same target.

    The walk is depth-first, like Torch-Pruning's, because the first of several meanings of an index wins.
    """
    from torch_pruning._helpers import GroupItem, _HybridIndex
    from torch_pruning.dependency import index_mapping
    from torch_pruning.dependency.dependency import Dependency
    from torch_pruning.dependency.group import Group

    if isinstance(module, tp.ops.TORCH_CONV) and module.groups == module.out_channels > 1:
        handler = tp.pruner.function.prune_depthwise_conv_out_channels
    index_mapping.update_index_mapping(graph)
    root = graph.module2node[module]
    start = Dependency(handler, handler, source=root, target=root), [_HybridIndex(idx=i, root_idx=i) for i in channels]
    found, ahead, visited = [start], [start], set()
    seen = {(root, handler, tuple(start[1]))}
    while ahead:
        dependency, indices = ahead.pop()
        visited.add(dependency.target)
        for following in dependency.target.dependencies:
            if not following.is_triggered_by(dependency.handler):
                continue
            deadline.check()
            reached = indices
            for mapping in following.index_mapping:
                if mapping is not None:
                    if len(reached) * int(getattr(mapping, "_stride", 1)) > MAX_INDICES:
                        raise NotFollowed(
                            f"Torch-Pruning makes more than {MAX_INDICES:,} indices of the channels of one layer "
                            f"({type(module).__name__}): it mixes or reshapes them too much; prune it by masks"
                        )
                    reached = mapping(reached)
            reaching = following.target, following.handler, tuple(reached)
            if not reached or (following.target in visited and reaching in seen):
                continue
            seen.add(reaching)
            found.append((following, reached))
            ahead.append((following, reached))
    merged: dict[object, tuple[Any, list[Any], dict[int, int]]] = {}
    for dependency, indices in found:
        key = dependency.target, dependency.handler
        if key not in merged:
            merged[key] = dependency, [*indices], {}
            continue
        deadline.check()
        _, first, held = merged[key]
        for index in [*first, *indices]:
            held.setdefault(index.idx, index.root_idx)
        first.clear()
    group = Group()
    group._DG = graph
    for dependency, first, held in merged.values():
        item = GroupItem(dependency, [index.idx for index in first] or list(held))
        item.root_idxs = [index.root_idx for index in first] or list(held.values())
        group.items.append(item)
    coupled: Coupled = group
    return coupled
