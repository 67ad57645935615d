"""One sampler for each node that runs attempts; the driver starts, watches and ends them.

A sampler (:mod:`harness.backends.node_sampler`) is an actor that is pinned to its node and holds none of its resources.
It is started once an attempt has registered there. So no job waits for one at its start, and a node that the study does
not use has none. Ray restarts it if its process is killed. An attempt that no sampler names beats by itself
(:mod:`accounting.ledger.heartbeat`), so a sampler that fails causes one warning and ends nothing.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import cast

import ray
from ray.actor import ActorHandle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from accounting.ledger.presence import presence_of
from accounting.study.folder import StudyFolder
from harness.backends.allocations import Node, Nodes
from harness.backends.background import TimeUp, run_beside
from harness.backends.node_sampler import NodeSampler
from harness.backends.tune_jobs import reason_of
from harness.devices import cpu_device

log = logging.getLogger(__name__)

END_S = 2.0
"""How long samplers may take to record what they have seen when a session ends."""
RAY_FAILED = (ray.exceptions.RayError, RuntimeError, OSError, ValueError)


@dataclass(frozen=True)
class _Started:
    """``run`` is the call that lasts as long as the sampler, across all of its processes."""

    actor: ActorHandle[NodeSampler]
    run: ray.ObjectRef[None]


class Samplers:
    """The samplers of one session. ``gone`` is set once Ray must not be asked for anything more."""

    def __init__(self, paths: StudyFolder, session: str, gone: threading.Event) -> None:
        self._paths, self._session, self._gone = paths, session, gone
        self._lock = threading.Lock()
        self._is_over = False
        self._of: dict[str, _Started] = {}
        """Samplers by node name."""
        self._failed: set[str] = set()
        """Nodes whose sampler is not started again."""

    def follow(self, nodes: Nodes) -> None:
        """Start missing samplers on these nodes (by name; alive and used), and report why each ended sampler ended."""
        with self._lock:
            if self._is_over:
                return
            for name, node in nodes.items():
                if name not in self._of and name not in self._failed and self._is_used(name):
                    self._start(name, node)
            for name in self._ended():
                self._forget(name, nodes)

    def end(self) -> None:
        """Let the samplers record what they have seen, and end them; if Ray does not answer, they are left to it."""
        if self._gone.is_set():
            return
        try:
            run_beside(self._end_all, "end of the samplers", limit_s=END_S + 1)
        except (TimeUp, *RAY_FAILED):
            log.debug("the samplers could not be ended", exc_info=True)

    def _is_used(self, name: str) -> bool:
        return presence_of(self._paths.beats, self._session, name).was_entered()

    def _start(self, name: str, node: Node) -> None:
        try:
            sampler = ray.remote(NodeSampler).options(
                num_cpus=0,
                num_gpus=0,
                max_restarts=-1,
                max_task_retries=-1,
                max_concurrency=2,  # ``run`` and ``end``
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            )
            place = str(self._paths.root), self._session, name, cpu_device(name)
            actor = cast("ActorHandle[NodeSampler]", sampler.remote(*place))
            self._of[name] = _Started(actor, actor.run.remote())
        except RAY_FAILED as error:
            self._warn(name, error)

    def _ended(self) -> list[str]:
        """Nodes whose sampler ended without being asked to."""
        if not self._of:
            return []
        over, _ = ray.wait([each.run for each in self._of.values()], num_returns=len(self._of), timeout=0)
        return [name for name, each in self._of.items() if each.run in over]

    def _forget(self, name: str, nodes: Nodes) -> None:
        """Forget an ended sampler; if it failed, warn, unless its node is gone too."""
        run = self._of.pop(name).run
        try:
            ray.get(run)
        except RAY_FAILED as error:
            if name in nodes:
                self._warn(name, error)

    def _warn(self, name: str, error: Exception) -> None:
        self._failed.add(name)
        log.warning(
            "node %s has no sampler (%s): attempts there say themselves that they are alive, and energy is what they read",
            name, reason_of(error),
        )  # fmt: skip

    def _end_all(self) -> None:
        with self._lock:
            self._is_over = True
            for each in self._of.values():
                each.actor.end.remote()
            if self._of:
                ray.wait([each.run for each in self._of.values()], num_returns=len(self._of), timeout=END_S)
            for each in self._of.values():
                if ray.is_initialized():  # any call after Ray has ended would start another Ray
                    ray.kill(each.actor)
