"""How many CPU cores this process may use."""

from __future__ import annotations

import os


def num_cores() -> int:
    """The cores that this process is bound to, if the system says so; otherwise all cores of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
