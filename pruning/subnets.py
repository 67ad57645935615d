"""The sub-networks of a trained network: fewer channels in some groups, some blocks left out, the weights inherited.

EagleEye (arXiv 2007.02491, section 3), Puzzle (arXiv 2411.19146; Puzzletron in NVIDIA's Model Optimizer) and FastNAS
(also there) search such networks: parts of the parent that keep its weights, so that a candidate needs no training
before it is measured. Channels are removed in the groups of Torch-Pruning's dependency graph (arXiv 2301.12900), as in
:mod:`pruning.structured`. A group keeps the channels with the largest group norm: the mean square (L2 magnitude) of all
weights that make or read a channel. The order is the same for all widths, so a narrower member's channels are a subset
of a wider one's. Blocks are those of :mod:`pruning.blocks`.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from accounting.ledger.parts import PartBlock, PartGroup, PartLayer, Parts, macs_of
from accounting.macs.count import MacsReport, count_macs
from pruning.blocks import residual_blocks, se_blocks
from pruning.channels import ChannelGroup, Deadline, NotFollowed, blank_image, find_groups, following
from pruning.criteria import load_criterion
from pruning.layers import find_layers, output_layers
from pruning.resize import fit_to_state
from pruning.scores import score_layers


class Subnets:
    """The sub-networks of one network, on the CPU; the network itself is not changed.

    A member is a tuple of ints: the width of each of ``parts.groups``, then for each of ``parts.blocks`` 1 if it stays,
    or else 0.

    Raises:
        NotFollowed: Torch-Pruning does not understand the network, or none of its channels can be chosen.
        ModuleNotFoundError: Torch-Pruning, the extra ``structured``, is not installed.

    """

    def __init__(self, model: nn.Module, input_size: tuple[int, int, int]) -> None:
        self._model = copy.deepcopy(model).eval()
        self._input_size = input_size
        self._deadline = Deadline()
        report = count_macs(self._model, input_size)
        layers = find_layers(self._model, input_size)
        with following():
            self._groups, left_out = find_groups(self._model, input_size, output_layers(layers), self._deadline)
        if not self._groups:
            reason = next(iter(left_out.values()), "it has no groups of channels")
            raise NotFollowed(f"no channels of the network can be chosen: {reason}")
        own = [layer for layer in layers if layer.weight is not None]
        found = score_layers(self._model, own, load_criterion("magnitude"), "magnitude", 0, None)
        scores = dict(zip((layer.name for layer in own), found, strict=True))
        with following():
            self._weakest_first = [
                torch.sort(group.scores(scores), stable=True).indices.tolist() for group in self._groups
            ]
        self._slices = [list(_slices(group)) for group in self._groups]
        self.parts = _parts(report, self._groups, self._model, input_size, left_out)

    def state(self, member: Sequence[int]) -> dict[str, Tensor]:
        """The state dict of a member: the parent's tensors without the channels and blocks that the member lacks.

        Raises:
            ValueError: the member is one of another network, or has a width outside of its group's.

        """
        widths, stay = self._split(member)
        gone = tuple(f"{block.name}." for block, kept in zip(self.parts.blocks, stay, strict=True) if not kept)
        state = {
            name: tensor for name, tensor in self._model.state_dict().items() if not name.startswith(gone or ("\0",))
        }
        removed: dict[tuple[str, int], list[Tensor]] = {}
        for slices, order, width in zip(self._slices, self._weakest_first, widths, strict=True):
            weakest = torch.tensor(order[: len(order) - width], dtype=torch.int64)
            for name, dim, channels, indices in slices if len(weakest) else ():
                removed.setdefault((name, dim), []).append(indices[torch.isin(channels, weakest)])
        for (name, dim), taken in removed.items():
            if name in state:
                keep = torch.ones(state[name].shape[dim], dtype=torch.bool)
                keep[torch.cat(taken)] = False
                state[name] = state[name].index_select(dim, keep.nonzero().flatten())
        return {name: tensor.clone() for name, tensor in state.items()}

    def module(self, member: Sequence[int]) -> nn.Module:
        """The member as a new module in evaluation mode."""
        return fit_to_state(copy.deepcopy(self._model), self.state(member)).eval()

    def check(self) -> None:
        """Compare the cut at half of all widths with Torch-Pruning's own, and its MACs with a count of the result.

        Raises:
            NotFollowed: they differ, so the members of this network cannot be trusted.

        """
        halves = [max(1, group.width // 2) for group in self._groups]
        whole = [1] * len(self.parts.blocks)
        with following():
            theirs = copy.deepcopy(self._model)
            layers = output_layers(find_layers(theirs, self._input_size))
            for group, order, width in zip(
                find_groups(theirs, self._input_size, layers, self._deadline)[0],
                self._weakest_first,
                halves,
                strict=True,
            ):
                group.remove(sorted(order[: group.width - width]))
                self._deadline.check()
            ours, wanted = self.state([*halves, *whole]), theirs.state_dict()
            if ours.keys() != wanted.keys() or any(not torch.equal(ours[name], wanted[name]) for name in wanted):
                raise NotFollowed("channels of the network depend on each other in a way that was not foreseen")
            for stay in (1, 0):
                member = [*halves, *[stay] * len(self.parts.blocks)]
                model = self.module(member)
                with torch.no_grad():
                    shape = model(blank_image(model, self._input_size)).shape
                    if shape != self._model(blank_image(self._model, self._input_size)).shape:
                        raise NotFollowed("a part of the network gives outputs of another shape")
                if count_macs(model, self._input_size).macs != macs_of(self.parts, member):
                    raise NotFollowed("the MACs of parts of the network are not those that their layers add up to")

    def _split(self, member: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        num_groups, num_blocks = len(self.parts.groups), len(self.parts.blocks)
        if len(member) != num_groups + num_blocks:
            raise ValueError(
                f"a member of this network is {num_groups} widths and {num_blocks} blocks, not {len(member)} numbers"
            )
        for group, width in zip(self.parts.groups, member, strict=False):
            if not 1 <= width <= group.width:
                raise ValueError(f"group {group.name!r} has widths of 1 to {group.width}, not {width}")
        return member[:num_groups], member[num_groups:]


def _parts(
    report: MacsReport,
    groups: Sequence[ChannelGroup],
    model: nn.Module,
    input_size: tuple[int, int, int],
    left_out: dict[str, str],
) -> Parts:
    layers, dense = [], set()
    for layer in report.layers:
        outputs, inputs, *kernel = layer.weight_shape
        size = 1
        for side in kernel:
            size *= side
        layers.append(PartLayer(layer.name, layer.positions * size, size, outputs, inputs))
        if layer.groups == 1:
            dense.add(layer.name)
    places = {layer.name: place for place, layer in enumerate(layers)}
    blocks = [
        PartBlock(name, kind, tuple(place for layer, place in places.items() if layer.startswith(f"{name}.")))
        for kind, names in (("residual", residual_blocks(model, input_size)), ("se", se_blocks(model)))
        for name in names
    ]
    return Parts(
        tuple(layers),
        tuple(
            PartGroup(
                group.name,
                group.width,
                _per_channel(group, places, is_output=True),
                _per_channel(group, {name: place for name, place in places.items() if name in dense}, is_output=False),
            )
            for group in groups
        ),
        tuple(block for block in blocks if block.layers),
        report.macs,
        left_out,
    )


def _per_channel(group: ChannelGroup, places: dict[str, int], *, is_output: bool) -> tuple[tuple[int, int], ...]:
    """(layer, its channels per channel of the group); a depthwise layer reads one channel, whatever the group's width."""
    found: Counter[int] = Counter()
    for member in group.members:
        if member.is_output == is_output and member.name in places:
            found[places[member.name]] += len(member.indices) // group.width
    return tuple(sorted(found.items()))


def _slices(group: ChannelGroup) -> Iterator[tuple[str, int, Tensor, Tensor]]:
    """Yield (tensor of the state dict, dimension, channels of the group, their indices along that dimension)."""
    for loose in group.loose:
        yield loose.name, loose.dim, loose.channels, loose.indices
    for member in group.members:
        module = member.module
        is_sliced_at_0 = member.is_output or isinstance(module, (_NormBase, nn.LayerNorm, nn.GroupNorm))
        is_depthwise = isinstance(module, _ConvNd) and module.groups > 1
        tensors = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        for name, tensor in tensors.items():
            if is_sliced_at_0 or is_depthwise:
                if tensor.dim() > 0:
                    yield f"{member.name}.{name}", 0, member.channels, member.indices
            elif name == "weight":
                yield f"{member.name}.{name}", 1, member.channels, member.indices
