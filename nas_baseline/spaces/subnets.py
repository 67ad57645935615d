"""A search space made of one network's parts: how many channels each group keeps, and which blocks stay.

Members are sub-networks of a trained parent, and are scored with its weights, as in EagleEye (arXiv 2007.02491), Puzzle
(arXiv 2411.19146; Puzzletron in NVIDIA's Model Optimizer) and FastNAS (also there). The space is defined by
:class:`accounting.ledger.parts.Parts`, found by the code that can cut the network; nothing is built here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from accounting.ledger.parts import Member, Parts, macs_of
from accounting.words.quantities import macs_text
from nas_baseline.spaces.base import Arch, Dimension, DiscreteSpace, Floats, Ints, as_archs, as_indices

TOLERANCE = 0.01
"""How far below a limit a filled member may end, as a share of it."""
SPREAD = 0.5
"""Range (0-1) over which a sample spreads the shares of its groups around the member's own share."""
LEAST_KEPT = 0.8
"""Probability that a sample keeps a block in the narrowest members; it is 1 in the widest."""


@dataclass(frozen=True)
class WidthRule:
    """Which widths a group may have: ``steps`` equal steps up to the whole one, in multiples of ``round_to``.

    At least a share of ``floor`` (0-1) stays, and at least ``round_to`` channels. The whole width is always one.
    """

    steps: int = 8
    round_to: int = 1
    floor: float = 0.1

    def __post_init__(self) -> None:
        if self.steps < 2 or self.round_to < 1 or not 0 <= self.floor < 1:
            raise ValueError(
                f"steps is {self.steps}, round_to is {self.round_to}, floor is {self.floor}; allowed: 2 or more, 1 or more, "
                "0 to 1"
            )

    def widths(self, width: int) -> tuple[int, ...]:
        """The widths of a group of ``width`` channels, rising."""
        least = max(self.round_to, math.ceil(math.ceil(self.floor * width) / self.round_to) * self.round_to)
        steps = (round(width * i / self.steps / self.round_to) * self.round_to for i in range(1, self.steps))
        return (*sorted({min(max(step, least), width) for step in steps} - {width}), width)

    def above(self, now: int, width: int) -> int:
        """The next width that a group may have above ``now``: one step of ``round_to``, or the whole."""
        return min(width, (now // self.round_to + 1) * self.round_to)


class SubnetSpace(DiscreteSpace):
    """The sub-networks of one network. Dimensions: the width of each group, then each block (0: left out, 1: stays).

    A group whose layers are all in a block that is left out has no effect; its canonical choice is the whole width.
    Likewise, a squeeze-excite block inside a block that is left out canonically stays.
    """

    def __init__(
        self, name: str, parts: Parts, rule: WidthRule = WidthRule(), kinds: Collection[str] = ("residual", "se")
    ) -> None:
        """``kinds`` of blocks may be left out; others stay."""
        self.parts, self.rule = parts, rule
        dimensions = [Dimension(group.name, rule.widths(group.width), ordered=True) for group in parts.groups]
        dimensions += [
            Dimension(f"{block.kind} {block.name}", (0, 1) if block.kind in kinds else (1,), ordered=True)
            for block in parts.blocks
        ]
        super().__init__(name, dimensions)
        self._num_groups = len(parts.groups)
        layers = range(len(parts.layers))
        self._per_pair = np.array(
            [[each.macs_per_pair, each.weights_per_pair] for each in parts.layers], dtype=np.int64
        )
        self._whole = np.array([[each.outputs, each.inputs] for each in parts.layers], dtype=np.int64)
        self._widths: Ints = np.array([group.width for group in parts.groups], dtype=np.int64)
        self._outputs = np.array([[dict(g.outputs).get(i, 0) for i in layers] for g in parts.groups], dtype=np.int64)
        self._inputs = np.array([[dict(g.inputs).get(i, 0) for i in layers] for g in parts.groups], dtype=np.int64)
        self._in_block = np.array([[i in b.layers for i in layers] for b in parts.blocks], dtype=np.int64)
        self._in_block = self._in_block.reshape(len(parts.blocks), len(parts.layers))
        used = (self._outputs + self._inputs) > 0
        self._idle = np.array(
            [[not (row & (inside == 0)).any() for row in used] for inside in self._in_block], dtype=bool
        )
        self._idle = self._idle.reshape(len(parts.blocks), self._num_groups)
        """[blocks, groups]: whether the group has no effect without the block."""
        self._inside = np.array(
            [[a.name != b.name and b.name.startswith(f"{a.name}.") for b in parts.blocks] for a in parts.blocks],
            dtype=bool,
        ).reshape(len(parts.blocks), len(parts.blocks))
        self._made_of = name, repr(parts), rule, frozenset(kinds)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, SubnetSpace) and other._made_of == self._made_of

    def __hash__(self) -> int:
        return hash(self._made_of)

    def member(self, arch: Arch) -> Member:
        """The widths of the groups, then 0 or 1 for each block."""
        return tuple(int(d.choices[i]) for d, i in zip(self.dimensions, arch, strict=True))

    def canonical_indices(self, indices: Ints) -> Ints:
        """The rows of the representatives."""
        out = indices.copy()
        blocks, groups = out[:, self._num_groups :], out[:, : self._num_groups]
        stays = self.num_choices[self._num_groups :] - 1
        without = ((blocks < stays) @ self._inside.astype(np.int64)) > 0
        blocks[:] = np.where(without, stays, blocks)
        idle = ((blocks < stays) @ self._idle.astype(np.int64)) > 0
        out[:, : self._num_groups] = np.where(idle, self.num_choices[: self._num_groups] - 1, groups)
        return out

    def sample_batch(self, rng: np.random.Generator, n: int) -> list[Arch]:
        """Draw ``n`` members as :meth:`from_unit` spreads them."""
        return self.from_unit(rng.random((n, len(self.dimensions))))

    def from_unit(self, points: Floats) -> list[Arch]:
        """Map points of the unit cube, shape [n, dimensions], to members of all sizes.

        The first coordinate is the member's own share, around which the shares of its groups are spread. Independent shares
        would give members of nearly the same MACs, most of them unbalanced.
        """
        level = points[:, :1]
        shares = np.clip(level + SPREAD * (points[:, : self._num_groups] - 0.5), 0.0, 1.0)
        counts = self.num_choices[: self._num_groups]
        groups = np.minimum((shares * counts).astype(np.int64), counts - 1)
        stay = points[:, self._num_groups :] <= LEAST_KEPT + (1 - LEAST_KEPT) * level
        blocks = np.minimum(stay.astype(np.int64), self.num_choices[self._num_groups :] - 1)
        return as_archs(self.canonical_indices(np.concatenate([groups, blocks], axis=1)))

    def macs_batch(self, archs: Sequence[Arch]) -> Ints:
        """MACs, shape [len(archs)]."""
        return self._counts(archs, 0)

    def params_batch(self, archs: Sequence[Arch]) -> Ints:
        """Weights, shape [len(archs)]."""
        return self._counts(archs, 1)

    def even(self, limit: int) -> Member:
        """The member with all blocks and the same share of every group, as wide as the limit lets it be.

        Raises:
            ValueError: the narrowest one is above the limit, or none is within 1 % below it.

        """
        arch = (*[0] * self._num_groups, *(int(n) - 1 for n in self.num_choices[self._num_groups :]))
        least = self.macs(arch)
        if least > limit:
            raise ValueError(
                f"the narrowest network with all of its blocks has {macs_text(least)} MACs, above "
                f"{macs_text(limit)}; allow narrower groups, by a lower channel_floor or more width_steps"
            )
        narrowest = np.array(self.member(arch)[: self._num_groups], dtype=np.int64)
        member = self._raised(self._widths, 1.0, narrowest, self.member(arch)[self._num_groups :], limit)
        if not self.is_near(member, limit):
            hint = " (smaller steps: a lower round_to)" if self.rule.round_to > 1 else ""
            raise ValueError(
                f"no widths end within 1 % below {macs_text(limit)} MACs: the nearest found has "
                f"{macs_text(macs_of(self.parts, member))}{hint}"
            )
        return member

    def filled(self, arch: Arch, limit: int) -> Member:
        """The member with its widths raised in proportion, in steps of ``round_to``, as far as the limit lets them.

        Then single steps follow, always in the group that has grown least. The result is within 1 % below the limit unless
        the steps, or blocks that are left out, do not allow it.

        Raises:
            ValueError: the member is already above the limit.

        """
        member = self.member(arch)
        if macs_of(self.parts, member) > limit:
            raise ValueError(
                f"a member of {macs_text(macs_of(self.parts, member))} MACs is above the limit of {macs_text(limit)}"
            )
        start = np.array(member[: self._num_groups], dtype=np.int64)
        most = float((self._widths / start).max())
        return self._raised(start, most, start, member[self._num_groups :], limit)

    def is_near(self, member: Member, limit: int) -> bool:
        """Whether a member is within 1 % below the limit."""
        return (1 - TOLERANCE) * limit <= macs_of(self.parts, member) <= limit

    def _raised(self, base: Ints, most: float, least: Ints, blocks: Member, limit: int) -> Member:
        """The member whose widths are ``base`` by one factor (0 to ``most``), at least ``least``; then single steps."""
        rule = self.rule

        def grown(factor: float) -> Member:
            steps = (base * factor).astype(np.int64) // rule.round_to * rule.round_to
            widths = np.where(base * factor >= self._widths, self._widths, np.clip(steps, least, self._widths))
            return (*widths.tolist(), *blocks)

        low, high = 0.0, most
        if macs_of(self.parts, grown(high)) <= limit:
            return grown(high)
        while high - low > 1e-4:
            middle = (low + high) / 2
            low, high = (middle, high) if macs_of(self.parts, grown(middle)) <= limit else (low, middle)
        found = list(grown(low))
        while True:
            for g in sorted(range(self._num_groups), key=lambda g: (found[g] / base[g], g)):
                before = found[g]
                found[g] = rule.above(before, int(self._widths[g]))
                if found[g] != before and macs_of(self.parts, found) <= limit:
                    break
                found[g] = before
            else:
                return tuple(found)

    def _extreme(self, sign: int) -> tuple[int, Arch]:
        """The smallest or largest member: every choice has fewer MACs than the next."""
        row = np.zeros_like(self.num_choices) if sign < 0 else self.num_choices - 1
        arch = self.canonical(as_archs(row[None])[0])
        return self.macs(arch), arch

    def _counts(self, archs: Sequence[Arch], which: int) -> Ints:
        indices = as_indices(archs)
        chosen = np.stack([np.array(d.choices)[indices[:, i]] for i, d in enumerate(self.dimensions)], axis=1)
        fewer = self._widths - chosen[:, : self._num_groups]
        outputs, inputs = self._whole[:, 0] - fewer @ self._outputs, self._whole[:, 1] - fewer @ self._inputs
        stays = ((1 - chosen[:, self._num_groups :]) @ self._in_block) == 0
        found: Ints = (self._per_pair[:, which] * outputs * inputs * stays).sum(1)
        return found
