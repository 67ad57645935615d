"""The devices of a machine, and those that one attempt holds. Torch is imported only if GPUs are asked for."""

from __future__ import annotations

import platform
import socket
from dataclasses import dataclass

from accounting.ledger.records import DeviceRecord
from harness.errors import InputError


@dataclass(frozen=True)
class Held:
    """What an attempt holds: the torch device, a share of each metered device, and CPU threads per worker.

    ``allocation`` is the id of the Ray placement group, or None without Ray. If ``num_workers`` share a job on GPUs, each
    has its own GPU; the first worker's is ``torch_device``. ``node`` is the machine's name in the ledger, where its sampler
    looks for attempts.
    """

    torch_device: str
    devices: dict[str, float]
    num_threads: int
    allocation: str | None = None
    num_workers: int = 1
    node: str = ""


def choose_device(wanted: str, num_gpus: float) -> str:
    """``cpu`` or ``cuda``; ``InputError`` if CUDA is requested and there is none."""
    if wanted == "cuda" and not num_gpus:
        raise InputError("resources.device: cuda given, but there is no CUDA device here; write cpu or auto")
    return ("cuda" if num_gpus else "cpu") if wanted == "auto" else wanted


def cpu_device(node: str) -> str:
    """The name of a node's CPU cores, which are metered as one device with the number of cores given to Ray."""
    return f"{node}/cpu"


def cuda_device(index: int) -> str:
    """The full UUID of a visible CUDA device, as NVML writes it."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(index).uuid}"


def cuda_model(index: int) -> str:
    """The model of a visible CUDA device, as the driver names it."""
    import torch

    return str(torch.cuda.get_device_name(index))


def local_capacity(device: str, num_cpus: float) -> list[DeviceRecord]:
    """The devices of this machine, in the form of the ledger's ``session_opened``."""
    node = socket.gethostname()
    if device == "cpu":
        name = cpu_name()
        return [{"device": cpu_device(node), "device_kind": "cpu_core", "amount": num_cpus, "name": name, "node": node}]
    import torch

    return [
        {
            "device": cuda_device(i),
            "device_kind": "cuda",
            "amount": 1.0,
            "name": cuda_model(i),
            "node": node,
        }
        for i in range(torch.cuda.device_count())
    ]


def cpu_name() -> str:
    """The processor's model name, as the operating system reports it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
