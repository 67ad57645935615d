"""The nodes of a cluster that a study uses, since their devices are of its kind and model, and those that it does not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import ray

from accounting.ledger.records import DeviceRecord
from harness.backends.allocations import Nodes, node_name
from harness.backends.room import fit
from harness.backends.tune_jobs import ray_resources
from harness.config.resources import JobShape
from harness.errors import InputError
from harness.gpu_models import models_in, of_models


@dataclass(frozen=True)
class UsedNodes:
    """The nodes that are alive when a run begins, by name; nodes may join and leave later."""

    device: str
    """``cpu`` or ``cuda``."""
    capacity: list[DeviceRecord]
    """The devices of the nodes that are used."""
    used: Nodes
    others: Nodes
    """Nodes that report devices, of another model."""
    models: tuple[str, ...] = ()
    """The GPU models that may be held, also on nodes that join later; none on CPUs."""

    @staticmethod
    def of(device: str, found: Sequence[DeviceRecord], models: Collection[str]) -> UsedNodes:
        """Those among the cluster's devices ``found`` that are of these ``models``, or of the only one if there are none.

        Raises:
            InputError: see :func:`harness.gpu_models.of_models`.

        """
        capacity = of_models(models, found)
        left_out = {entry["node"] for entry in found} - {entry["node"] for entry in capacity}
        alive = {node_name(node): node for node in ray.nodes() if node["Alive"]}
        return UsedNodes(
            device,
            capacity,
            {name: node for name, node in alive.items() if name not in left_out},
            {name: node for name, node in alive.items() if name in left_out},
            tuple(sorted(models)) or tuple(models_in(capacity)) if device == "cuda" else (),
        )

    def check_fit(self, shape: JobShape) -> None:
        """Check that one job of this shape fits on a node.

        Raises:
            InputError: it does not.

        """
        wanted = ray_resources(shape, self.device)
        if not fit([wanted], self.used):
            raise InputError(
                f"resources: one job wants {_short(wanted)} on one node, the cluster has "
                f"{_short(ray.cluster_resources())}; lower devices_per_job or cpus_per_job"
            )


def _short(resources: dict[str, float]) -> str:
    return " and ".join(f"{resources.get(k, 0):g} {k}" for k in ("CPU", "GPU") if k in resources)
