"""Watches a running study's placement groups and the cluster's nodes, and records what is held.

A group is ours if its Ray id ends with the id of our job (this driver's Ray job). Groups of other studies and tenants
on a shared cluster never enter the ledger, whenever they open. An allocation is named by its group and node, since a
group whose node dies is placed elsewhere under the same id.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypedDict

import ray
from ray import PlacementGroupID
from ray.util import placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from accounting.ledger.records import DeviceRecord, Kind
from accounting.ledger.store import LedgerWriter
from harness.backends.background import TimeUp, run_beside
from harness.devices import cpu_device

log = logging.getLogger(__name__)

POLL_S = 0.25
"""Interval between two looks: the resolution of an allocation's begin and end."""
SILENT_S = 8.0
"""A cluster that has not answered for this long is lost."""
NODE_DEAD_S = 5.0
NODE_DIED = "node_died"

Capacity = list[DeviceRecord]


class Node(TypedDict):
    """A node as returned by ``ray.nodes``, with the fields used here."""

    NodeID: str
    NodeManagerHostname: str
    Alive: bool
    Resources: dict[str, float]


class PlacedGroup(TypedDict):
    """A placement group as returned by ``placement_group_table``, with the fields used here."""

    state: str
    bundles: dict[int, dict[str, float]]
    """Resources of each bundle, by index."""
    bundles_to_node_id: dict[int, str]


Nodes = dict[str, Node]
"""Nodes by name or id."""


def allocation_name(group: str, node: str) -> str:
    """The name of what a placement group holds on a node; both arguments are Ray's hexadecimal ids."""
    return f"{group}@{node[:8]}"


def node_name(node: Node) -> str:
    """Host and node id, since a host can have several Ray nodes, and a study several sessions."""
    return f"{node['NodeManagerHostname']}-{node['NodeID'][:6]}"


def _is_alive(nodes: Nodes, node: str) -> bool:
    return node in nodes and nodes[node]["Alive"]


class Allocations:
    """Records allocations and capacity changes in the ledger."""

    def __init__(
        self,
        ledger: LedgerWriter,
        session: str,
        device: str,
        capacity: Capacity,
        ask: Callable[[Node], Capacity],
        gone: threading.Event,
    ) -> None:
        self._ledger, self._session, self._device = ledger, session, device
        self._capacity, self._ask, self._gone = capacity, ask, gone
        self._known = {entry["node"] for entry in capacity}
        """Names of the nodes whose devices are in the capacity."""
        self.ignored: set[str] = set()
        """Names of the nodes that the study does not use, since they have no device for it."""
        self._seen_t: dict[str, float] = {}
        """When each node was first seen, by name; a node reports its devices later than it accepts work."""
        context = ray.get_runtime_context()
        self._job, self._own_node = context.get_job_id(), context.get_node_id()
        self._changed_t = 0.0
        self._held: dict[str, str] = {}
        """Placement group → id of its node, for each allocation that is open."""
        self._names: list[str] | None = []
        """The names of these allocations, sorted; None if they have changed since the last look."""
        self._seen: set[str] = set()
        """Ids of the nodes in ``_seen_t``."""
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._over = False
        self._answered_s = time.monotonic()
        self._looked_t = time.time()
        """When the allocations held were last seen."""
        self._asked_t = self._looked_t
        """When the last look was asked for; what the next one finds changed has changed since."""
        self._own_dead_s: float | None = None
        self.on_nodes: Callable[[Nodes], None] = lambda nodes: None
        """Called with the nodes that are alive and used, after each look at them."""
        self.on_held: Callable[[float, Sequence[str]], None] = lambda t, allocations: None
        """Called with the time and the allocations held then, after each look at them."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Keep looking while the block runs; then close what is open."""
        threads = [
            threading.Thread(target=self._repeat, args=(look, wait_s), name=look.__name__, daemon=True)
            for look, wait_s in ((self._look, POLL_S), (self._look_at_nodes, 4 * POLL_S))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            if not self._gone.is_set():
                self._look_again(threads)
            self.close_all()

    def close_all(self) -> None:
        """Close all open allocations.

        If Ray is gone, nobody reports when its workers ended; their own records do. They are known to have lived when
        Ray last answered.
        """
        with self._lock:
            for group in sorted(self._held, key=self._name_of):
                if self._gone.is_set():
                    self._close(group, NODE_DIED, last_held_t=self._looked_t)
                else:
                    self._close(group, None)
            self._over = True

    def lost(self) -> str | None:
        """Why the cluster can no longer be used, as a clause, or None. Sets ``gone`` if the cluster is silent."""
        now_s = time.monotonic()
        if now_s - self._answered_s > SILENT_S:
            self._gone.set()
            return "the Ray cluster no longer answers"
        if self._own_dead_s is not None and now_s - self._own_dead_s > NODE_DEAD_S:
            return "Ray's raylet on this machine died"
        return None

    def release(self, limit_s: float) -> None:
        """Release what is held, with the workers in it; waits until it is gone, but no longer than ``limit_s``."""
        end_s = time.monotonic() + limit_s

        def remove() -> None:
            for group in self._groups():
                remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(group)))
            while self._groups() and time.monotonic() < end_s:
                time.sleep(0.1)

        try:
            run_beside(remove, "release of the devices", limit_s=limit_s)
        except (TimeUp, ray.exceptions.RayError, RuntimeError, OSError, ValueError):
            log.debug("the placement groups could not be removed", exc_info=True)

    def _look_again(self, threads: Sequence[threading.Thread]) -> None:
        for thread in threads:
            thread.join(2.0)
        try:
            run_beside(self._look, "last look", limit_s=2.0)
        except (TimeUp, ray.exceptions.RayError, RuntimeError, OSError):
            log.debug("no last look at the placement groups", exc_info=True)

    def _groups(self) -> list[str]:
        table = placement_group_table()
        return [group for group, entry in table.items() if self._is_ours(group) and entry["state"] != "REMOVED"]

    def _is_ours(self, group: str) -> bool:
        return group.endswith(self._job)

    def _repeat(self, look: Callable[[], None], wait_s: float) -> None:
        while not self._stop.wait(wait_s):
            try:
                look()
                self._answered_s = time.monotonic()
            except (ray.exceptions.RayError, RuntimeError, OSError):  # the next look will make up for it
                log.debug("the cluster could not be looked at", exc_info=True)

    def _nodes(self) -> Nodes:
        """All nodes that Ray knows, dead ones too, by id."""
        now_t = time.time()
        nodes = {node["NodeID"]: node for node in ray.nodes()}
        with self._lock:
            for name, node in nodes.items():
                if name not in self._seen and node["Alive"]:
                    self._seen.add(name)
                    self._seen_t.setdefault(node_name(node), now_t)
        return nodes

    def _look(self) -> None:
        asked_t = time.time()
        table: dict[str, PlacedGroup] = placement_group_table()
        nodes = (
            self._nodes()
        )  # after the groups: a node is seen dead before its groups are removed, so its death is known as the cause
        placed = {
            group: next(iter(entry["bundles_to_node_id"].values()))
            for group, entry in table.items()
            if entry["state"] == "CREATED" and self._is_ours(group)
        }
        with self._lock:
            if self._over:  # an answer that came late
                return
            changed = self._held.items() ^ placed.items()
            for group, node in sorted(changed & self._held.items()):
                self._close(group, None if _is_alive(nodes, node) else NODE_DIED)
            for group, node in placed.items() if changed else ():
                if group not in self._held and node in nodes:
                    self._open(allocation_name(group, node), self._devices(table[group], nodes), table[group])
                    self._held[group] = node  # only now, so that a later look writes what a full disk did not take
                    self._names = None
            if self._names is None:
                self._names = sorted(map(self._name_of, self._held))
            self._asked_t, self._looked_t = asked_t, time.time()
            self.on_held(self._looked_t, self._names)

    def _open(self, allocation: str, devices: dict[str, float], entry: PlacedGroup) -> None:
        opened = partial(
            self._ledger.append,
            Kind.ALLOCATION_OPENED,
            session=self._session,
            allocation=allocation,
            devices=devices,
            looked_t=self._asked_t,
        )
        if self._device == "cuda":
            opened(amounts={"cuda": sum(float(bundle.get("GPU", 0)) for bundle in entry["bundles"].values())})
        else:
            opened()

    def _name_of(self, group: str) -> str:
        return allocation_name(group, self._held[group])

    def _close(self, group: str, cause: str | None, last_held_t: float | None = None) -> None:
        """Close an allocation that is no longer held, or that was last seen held at the time given."""
        closed = partial(
            self._ledger.append,
            Kind.ALLOCATION_CLOSED,
            t=last_held_t,
            session=self._session,
            allocation=self._name_of(group),
        )
        if last_held_t is None:
            closed = partial(closed, looked_t=self._asked_t)
        if cause is None:
            closed()
        else:
            closed(cause=cause)
        del self._held[group]
        self._names = None

    def _devices(self, entry: PlacedGroup, nodes: Nodes) -> dict[str, float]:
        """What a placement group holds, by device. GPUs are named by the attempt itself, which sees their UUIDs."""
        if self._device == "cuda":
            return {}
        devices: dict[str, float] = {}
        for index, bundle in entry["bundles"].items():
            name = cpu_device(node_name(nodes[entry["bundles_to_node_id"][index]]))
            devices[name] = devices.get(name, 0.0) + float(bundle.get("CPU", 0))
        return devices

    def _look_at_nodes(self) -> None:
        nodes = self._nodes()
        alive = {node_name(node): node for node in nodes.values() if node["Alive"]}
        if _is_alive(nodes, self._own_node):
            self._own_dead_s = None
        elif self._own_dead_s is None:
            self._own_dead_s = time.monotonic()
        self.on_nodes({name: node for name, node in alive.items() if name not in self.ignored})
        resource = "CPU" if self._device == "cpu" else "GPU"
        usable = {name for name, node in alive.items() if node["Resources"].get(resource)} - self.ignored
        if usable == self._known:
            return
        if self._known - usable:
            self._change([entry for entry in self._capacity if entry["node"] in usable], time.time())
        for name in sorted(usable - self._known, key=lambda name: self._seen_t[name]):
            devices = self._ask(alive[name])
            if devices:
                self._change([*self._capacity, *devices], max(self._seen_t[name], self._changed_t))
            else:
                self.ignored.add(name)

    def _change(self, capacity: Capacity, since_t: float) -> None:
        """Record the devices from that time on."""
        if self._stop.is_set():
            return
        self._capacity, self._known = capacity, {entry["node"] for entry in capacity}
        self._changed_t = since_t
        self._ledger.append(Kind.CAPACITY_CHANGED, t=since_t, session=self._session, capacity=capacity)
