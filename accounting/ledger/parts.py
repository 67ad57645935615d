"""The parts of a network that can be chosen (channels by group, whole blocks), and their cost, as plain values.

A *member* is a network with some of its channels and blocks: a tuple of ints, the width of each group, then 1 or 0 for
each block that stays or is left out. A job's spec stores members as such tuples. MACs are multiply-accumulates per
image in convolution and linear layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Member = tuple[int, ...]


@dataclass(frozen=True)
class PartLayer:
    """A convolution or linear layer, with the MACs and weights of each pair of an output and an input channel."""

    name: str
    macs_per_pair: int
    weights_per_pair: int
    outputs: int
    inputs: int


@dataclass(frozen=True)
class PartGroup:
    """A group of channels, with (layer index, ``outputs`` or ``inputs`` of that layer per channel of the group)."""

    name: str
    width: int
    outputs: tuple[tuple[int, int], ...]
    inputs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PartBlock:
    """A block that can be left out whole: ``residual`` or ``se``, and the layers (by index) that go with it."""

    name: str
    kind: str
    layers: tuple[int, ...]


@dataclass(frozen=True)
class Parts:
    """All parts of a network that can be chosen. A member has a width for each group and 0 or 1 for each block.

    ``macs`` counts the whole network; ``left_out`` names layers whose channels stay, with the reason.
    """

    layers: tuple[PartLayer, ...]
    groups: tuple[PartGroup, ...]
    blocks: tuple[PartBlock, ...]
    macs: int
    left_out: dict[str, str]


def macs_of(parts: Parts, member: Sequence[int]) -> int:
    """The MACs of a member, computed without building it."""
    outputs, inputs = [layer.outputs for layer in parts.layers], [layer.inputs for layer in parts.layers]
    for group, width in zip(parts.groups, member, strict=False):
        for place, each in group.outputs:
            outputs[place] -= each * (group.width - width)
        for place, each in group.inputs:
            inputs[place] -= each * (group.width - width)
    gone = {
        place
        for block, stays in zip(parts.blocks, member[len(parts.groups) :], strict=True)
        if not stays
        for place in block.layers
    }
    return sum(
        layer.macs_per_pair * outputs[place] * inputs[place]
        for place, layer in enumerate(parts.layers)
        if place not in gone
    )
