"""What a node tells of its devices, in a process of its own there, which starts soonest where it imports no torch."""

from __future__ import annotations

from accounting.ledger.records import DeviceRecord
from harness.devices import cpu_device, local_capacity


def node_capacity(device: str, amount: float, node: str) -> list[DeviceRecord]:
    """The devices of the kind ``device`` on this machine, under the name that ``node`` has in the ledger.

    ``amount``: how many cores Ray was given; of GPUs, those that this process sees.
    """
    devices = local_capacity(device, amount)
    if device == "cpu":
        devices[0]["device"] = cpu_device(node)
    return [{**entry, "node": node} for entry in devices]
