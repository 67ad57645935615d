"""What a node reports of its devices, from a process of its own there; it imports no torch, so that it starts fast."""

from __future__ import annotations

from accounting.ledger.records import DeviceRecord
from harness.devices import cpu_device, local_capacity


def node_capacity(device: str, amount: float, node: str) -> list[DeviceRecord]:
    """The devices of kind ``device`` on this machine, under ``node``, its name in the ledger.

    ``amount``: the number of cores that Ray was given. The GPUs are those that this process sees.
    """
    devices = local_capacity(device, amount)
    if device == "cpu":
        devices[0]["device"] = cpu_device(node)
    return [{**entry, "node": node} for entry in devices]
