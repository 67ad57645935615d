"""Whether jobs fit on the nodes of a cluster together."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from harness.backends.allocations import Nodes

Held = tuple[tuple[str, float], ...]
"""What a job holds, by Ray's resource names, sorted."""


def fit(jobs: Sequence[Mapping[str, float]], nodes: Nodes) -> bool:
    """Whether jobs that hold these resources fit on the nodes together, each on one node, placing the largest first."""
    return Room(nodes).fits(Counter(map(held_key, jobs)))


class Room:
    """The nodes' resources, and how many jobs of a kind they have room for, which is counted once."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self._num: dict[Held, int] = {}

    def fits(self, alike: Mapping[Held, int]) -> bool:
        """Whether so many jobs that hold the same fit together, each on one node, placing the largest first.

        Jobs that hold the same are placed together, as many per node as there is room for. If all hold the same, no node
        is looked at again.
        """
        there = {held: count for held, count in alike.items() if count > 0}
        if len(there) != 1:
            return _placed(there, self.nodes)
        ((held, count),) = there.items()
        if held not in self._num:
            rooms = [_room(held, node["Resources"]) for node in self.nodes.values()]
            self._num[held] = sys.maxsize if None in rooms else sum(room or 0 for room in rooms)
        return count <= self._num[held]


def held_key(held: Mapping[str, float]) -> Held:
    """The same as a key."""
    return tuple(sorted(held.items()))


def _room(held: Held, free: Mapping[str, float]) -> int | None:
    """How many jobs that hold this fit into what is free on a node; None if they hold nothing."""
    return min((_times(free.get(name, 0.0), amount) for name, amount in held if amount > 0), default=None)


def _placed(alike: Mapping[Held, int], nodes: Nodes) -> bool:
    free = [{**node["Resources"]} for node in nodes.values()]
    for held in sorted(alike, key=lambda held: sorted(amount for _, amount in held), reverse=True):
        left = alike[held]
        for node in free:
            if left == 0:
                break
            room = _room(held, node)
            placed = left if room is None else min(left, room)
            for name, amount in held:
                node[name] = node.get(name, 0.0) - placed * amount
            left -= placed
        if left:
            return False
    return True


def _times(there: float, amount: float) -> int:
    """How many times an amount fits into what is there, apart from rounding."""
    return max(0, int((there + 1e-9) / amount))
