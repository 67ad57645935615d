"""The machine and the software versions of a session, for the record."""

from __future__ import annotations

import getpass
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from accounting.words.plain_text import plain
from harness.commit import commit
from harness.cores import num_cores
from harness.devices import cpu_name

PACKAGES = ("prune-or-search", "torch", "torchvision", "timm", "ray", "pandas", "matplotlib", "nvidia-ml-py", "numpy")


def account() -> str | None:
    """The user's account name; None if the system has none, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None


def environment(command: list[str]) -> dict[str, object]:
    """Facts about machine and versions, as a flat mapping that reports show."""
    facts: dict[str, object] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": cpu_name(),
        "num_cpus": num_cores(),
        "command": plain(" ".join(command)),
    }
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    if (found := commit()) is not None:
        facts["commit"] = found
    if torch.cuda.is_available():
        facts["gpu"] = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        facts["cuda"] = torch.version.cuda
    return facts
