"""Tables of results, with the machine and versions of each measurement; rows are added, never overwritten."""

from __future__ import annotations

import csv
import datetime
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.latency.timer import device_name


def machine(device: str, packages: Sequence[str]) -> dict[str, str]:
    """The columns that begin every row: time (UTC), name of the device, and versions."""
    facts = {
        "timestamp": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": device_name(device),
        "python": platform.python_version(),
    }
    for package in packages:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def append(path: Path, rows: Sequence[dict]) -> None:
    """Append rows to a table, which is created if it does not exist; exits if it has other columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(rows[0])
    is_new = not path.exists()
    if not is_new:
        with path.open(newline="", encoding="utf-8") as file:
            found = next(csv.reader(file))
        if found != columns:
            raise SystemExit(f"{path} has other columns than this script writes; move it away")
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        if is_new:
            writer.writeheader()
        writer.writerows(rows)
