"""Structured pruning: remove whole channels, for a physically smaller network at a MACs target."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from accounting.macs.count import count_macs
from accounting.words.quantities import macs_text
from pruning.channels import (
    ChannelGroup,
    Deadline,
    GroupKind,
    NotFinite,
    NotFollowed,
    blank_image,
    find_groups,
    following,
    macs_with,
)
from pruning.criterion import Criterion
from pruning.gradients import Batches
from pruning.layers import LayerFilter, find_layers, left_alone
from pruning.scores import CriterionFails, named, resolve, score_layers
from pruning.solve import UnreachableTarget

ChannelScope = Literal["uniform", "global", "isomorphic"]
"""The groups over which channels are ranked together."""
TOLERANCE = 0.01
"""How far below the target the result may end, as a share of the target."""


@dataclass(frozen=True, eq=False)
class StructuredResult:
    """A smaller network.

    Attributes:
        model: a new module in evaluation mode, with the weights of the kept channels.
        macs: MACs counted again on ``model``; between 99 and 100 % of the target.
        dense_macs: MACs of the network before pruning.
        target_macs: the MACs asked for.
        widths: width before and after of each group of channels, by the name of the group's first layer.
        left_out: reason why channels could not be pruned, by layer name.
        scope: ``uniform``, ``global`` or ``isomorphic``.
        removed_blocks: names of blocks that were removed whole (see :mod:`pruning.blocks`).

    """

    model: nn.Module
    macs: int
    dense_macs: int
    target_macs: int
    widths: dict[str, tuple[int, int]]
    left_out: dict[str, str]
    scope: str
    removed_blocks: tuple[str, ...] = ()


def prune_channels_to_macs(
    model: nn.Module,
    input_size: tuple[int, int, int],
    target_macs: int,
    *,
    criterion: str | Criterion = "magnitude",
    scope: ChannelScope = "uniform",
    round_to: int = 1,
    floor: float = 0.1,
    keep: LayerFilter | None = None,
    seed: int = 0,
    batches: Batches | None = None,
) -> StructuredResult:
    """Remove the weakest channels until the network has at most ``target_macs``, and at least 99 % of them.

    Channels that depend on each other (residual sums, depthwise, squeeze-excite) are removed together. A channel's
    score is the mean square of the scores of all its weights in the group; with ``magnitude``, this is DepGraph's group
    norm (arXiv 2301.12900). The heads of timm's attention form such a group too: each head is removed whole. The model
    is not changed; if it already meets the target, the result is a copy of it.

    Args:
        model: any network that PyTorch's autograd can trace, with parameters on the CPU.
        input_size: channels, height, width of an image.
        target_macs: MACs of the smaller network.
        criterion: a name in ``pruning/criteria``, or an object like those there.
        scope: ``uniform`` removes the same share of every group. ``global`` ranks the channels of all groups together,
            each score relative to its group's mean. ``isomorphic`` ranks together the groups with the same types of
            layers, and removes the same share of each such kind (Fang et al. 2024, arXiv 2407.04616, section 3).
        round_to: kept widths are multiples of this, such as 8; a full width that is not a multiple may also stay.
        floor: least share (0-1) of its channels that each group keeps; at least ``round_to`` channels stay.
        keep: layers whose output channels stay; those of the classifier always do.
        seed: seed for random criteria.
        batches: (images, labels), for criteria that need gradients.

    Raises:
        UnreachableTarget: no widths end within 1 % below the target.
        NotFollowed: Torch-Pruning does not understand the network.
        ValueError: argument out of range, unknown criterion, or missing batches.
        ModuleNotFoundError: Torch-Pruning, the extra ``structured``, is not installed.

    """
    if scope not in get_args(ChannelScope):
        raise ValueError(f"unknown scope {scope!r}; allowed: {', '.join(get_args(ChannelScope))}")
    if round_to < 1 or not 0.0 <= floor <= 1.0:
        raise ValueError(f"round_to is {round_to}, floor is {floor}; allowed: 1 or more, 0 to 1")
    rule, label = resolve(criterion)
    smaller = copy.deepcopy(model).eval()
    output_shape = _output_shape(smaller, input_size)
    report = count_macs(smaller, input_size)
    if report.macs <= target_macs:
        return StructuredResult(smaller, report.macs, report.macs, target_macs, {}, {}, scope)
    layers = find_layers(smaller, input_size)
    deadline = Deadline()
    with following():
        groups, left_out = find_groups(smaller, input_size, left_alone(layers, keep), deadline)
    with deadline.paused():  # gradients of a large network may take long, whatever its channels
        own = [layer for layer in layers if layer.weight is not None]
        found = list(score_layers(smaller, own, rule, label, seed, batches))
    weight_scores = dict(zip((layer.name for layer in own), found, strict=True))

    def macs_of(removed: list[int]) -> int:
        deadline.check()
        return macs_with(report, groups, removed)

    with following():
        scores = [_group_scores(group, weight_scores, label) for group in groups]
        units = _removal_order(groups, scores, scope, round_to, floor)
        num_removed = _solve(units, groups, macs_of, target_macs, round_to)
        _remove_weakest(groups, scores, num_removed, deadline)
        is_sound = _output_shape(smaller, input_size) == output_shape
        macs = count_macs(smaller, input_size).macs
    if not (is_sound and (1 - TOLERANCE) * target_macs <= macs <= target_macs):
        raise UnreachableTarget(
            f"removing channels ended at {macs_text(macs)} MACs instead of {macs_text(target_macs)}: the "
            "network's channels depend on each other in a way that was not foreseen"
        )
    widths = {group.name: (group.width, group.width - gone) for group, gone in zip(groups, num_removed, strict=True)}
    return StructuredResult(smaller, macs, report.macs, target_macs, widths, left_out, scope)


def _group_scores(group: ChannelGroup, weight_scores: Mapping[str, Tensor], label: str) -> Tensor:
    try:
        return group.scores(weight_scores)
    except NotFinite as error:
        raise CriterionFails(f"{named(label)}: {error}") from error


@dataclass(frozen=True)
class _Unit:
    """Some channels of one group that are removed at once; ``key`` orders all units, weakest first."""

    key: float
    group: int
    num_channels: int


def _removal_order(
    groups: Sequence[ChannelGroup], scores: Sequence[Tensor], scope: ChannelScope, round_to: int, floor: float
) -> list[_Unit]:
    """All units that may be removed, in order of removal; the kept widths of a group are multiples of its step."""
    units = []
    for i, (group, score) in enumerate(zip(groups, scores, strict=True)):
        step, least = group.step(round_to), group.least_width(round_to, floor)
        ranked, width = torch.sort(score, stable=True).values, len(score)
        gone = 0
        while True:
            # The first unit brings the width down to a multiple; later ones keep it a multiple.
            size = (width - gone) % step or step
            if width - gone - size < least:
                break
            share = (gone + size) / width
            key = share if scope == "uniform" else float(ranked[gone : gone + size].mean())
            gone += size
            units.append(_Unit(key, i, size))
    units.sort(key=lambda unit: (unit.key, unit.group))
    return _alike(units, groups) if scope == "isomorphic" else units


def _alike(units: Sequence[_Unit], groups: Sequence[ChannelGroup]) -> list[_Unit]:
    """The units reordered so that at any point the same share of every kind of group is gone, weakest first in each."""
    kinds = [group.kind for group in groups]
    widths: Counter[GroupKind] = Counter()
    for kind, group in zip(kinds, groups, strict=True):
        widths[kind] += group.width
    gone: Counter[GroupKind] = Counter()
    ordered = []
    for unit in units:  # weakest first
        kind = kinds[unit.group]
        gone[kind] += unit.num_channels
        ordered.append(replace(unit, key=gone[kind] / widths[kind]))
    return sorted(ordered, key=lambda unit: unit.key)  # stable, so that a group's own order stays


def _solve(
    units: Sequence[_Unit],
    groups: Sequence[ChannelGroup],
    macs_of: Callable[[list[int]], int],
    target: int,
    round_to: int,
) -> list[int]:
    """Channels to remove per group: the shortest run of units that reaches the target, minus those that can stay."""

    def removed_by(num: int) -> list[int]:
        removed = [0] * len(groups)
        for unit in units[:num]:
            removed[unit.group] += unit.num_channels
        return removed

    smallest = macs_of(removed_by(len(units)))
    if target < smallest:
        raise UnreachableTarget(
            f"cannot remove channels down to {macs_text(target)} MACs: the smallest reachable is {macs_text(smallest)}"
        )
    low, high = 0, len(units)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if macs_of(removed_by(middle)) <= target else (middle + 1, high)
    removed = removed_by(low)
    # The run of units may overshoot: put back the strongest units that fit, in each group from the strongest on.
    reached, blocked = macs_of(removed), set()
    for unit in reversed(units[:low]):
        if unit.group in blocked:
            continue
        removed[unit.group] -= unit.num_channels
        if (macs := macs_of(removed)) <= target:
            reached = macs
        else:
            removed[unit.group] += unit.num_channels
            blocked.add(unit.group)
    if reached < (1 - TOLERANCE) * target:
        hint = " (smaller steps: a lower round_to)" if round_to > 1 else ""
        raise UnreachableTarget(
            f"no widths end within 1 % below {macs_text(target)} MACs: the nearest found is {macs_text(reached)}{hint}"
        )
    return removed


def _remove_weakest(
    groups: Sequence[ChannelGroup], scores: Sequence[Tensor], num_removed: Sequence[int], deadline: Deadline
) -> None:
    """Remove so many channels from each group, those with its lowest scores."""
    for group, score, removed in zip(groups, scores, num_removed, strict=True):
        weakest = torch.sort(score, stable=True).indices[:removed].tolist()
        group.remove(sorted(weakest))
        deadline.check()


@torch.no_grad()
def _output_shape(model: nn.Module, input_size: tuple[int, int, int]) -> torch.Size:
    output = model(blank_image(model, input_size))
    if not isinstance(output, Tensor):
        raise NotFollowed(
            f"structured pruning takes networks that give one tensor, this one gives a {type(output).__name__}"
        )
    return output.shape
