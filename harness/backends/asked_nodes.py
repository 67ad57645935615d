"""The devices of a cluster, as its nodes report them when a run begins or a node joins."""

from __future__ import annotations

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from accounting.ledger.records import DeviceRecord
from harness.backends.allocations import Node, node_name
from harness.backends.node_capacity import node_capacity
from harness.backends.tune_jobs import reason_of
from harness.devices import choose_device
from harness.errors import StudyFailed

NODE_ASKED = 3
"""How often a node is asked if its process dies before it answers."""
NODE_ANSWERS_S = 600.0
"""How long a node may take to report its devices; a process starts there, perhaps on a busy machine."""


def capacity_of_cluster(wanted: str) -> tuple[str, list[DeviceRecord]]:
    """The device kind a study runs on, and the cluster's devices of that kind, as the ledger records them."""
    device = choose_device(wanted, ray.cluster_resources().get("GPU", 0))
    resource = "CPU" if device == "cpu" else "GPU"
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(resource, 0)]
    return device, [entry for node in nodes for entry in devices_of(device, node)]


def devices_of(device: str, node: Node) -> list[DeviceRecord]:
    """The devices of one node, as the node itself reports them.

    The task is not retried by Ray, which would restart it silently and without end if its memory monitor kills each
    process.
    """
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(node_capacity).options(num_cpus=0, num_gpus=0, max_retries=0, scheduling_strategy=strategy)
    amount = node["Resources"]["CPU" if device == "cpu" else "GPU"]
    name, reason = node_name(node), ""
    for _ in range(NODE_ASKED):
        try:
            found: list[DeviceRecord] = ray.get(task.remote(device, amount, name), timeout=NODE_ANSWERS_S)
        except ray.exceptions.GetTimeoutError:
            raise StudyFailed(
                f"node {name} has not reported its devices within {NODE_ANSWERS_S:g} s; run the same command again"
            ) from None
        except ray.exceptions.RayError as error:
            reason = reason_of(error)
        else:
            return found
    raise StudyFailed(
        f"node {name} cannot report its devices, asked {NODE_ASKED} times: {reason}; mend that, and run the same command "
        "again"
    )
