"""A simulation of what the watcher of placement groups sees of Ray: nodes, placement groups and a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from harness.backends import allocations as watching

RAY_JOB = "01000000"


@contextmanager
def simulated_ray(
    nodes: Callable[[], Mapping[str, Any]],
    groups: Callable[[], Mapping[str, Any]],
    clock: Callable[[], float],
    own_node: Callable[[], str] = lambda: "",
) -> Iterator[ExitStack]:
    """Let the watcher see this simulation within the block; the yielded stack takes further clean-up for its end.

    ``nodes`` and ``groups`` give what ``ray.nodes()`` and ``placement_group_table()`` return, by id; ``clock`` gives
    seconds, and ``own_node`` the node of the driver.
    """
    context = SimpleNamespace(get_job_id=lambda: RAY_JOB, get_node_id=own_node)
    with ExitStack() as stack:
        for owner, name, value in (
            (watching.ray, "nodes", lambda: list(nodes().values())),
            (watching.ray, "get_runtime_context", lambda: context),
            (watching, "placement_group_table", groups),
            (watching.time, "time", clock),
            (watching.time, "monotonic", clock),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        yield stack
