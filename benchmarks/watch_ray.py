"""What a study holds, seen from outside: Ray's table of placement groups and the processes in /proc, every 50 ms.

usage: RAY_AUTH_MODE=token RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 python watch_ray.py PID FILE

PID is a study's driver with a Ray of its own. This process finds that Ray below the driver in /proc (its address in the
raylet's command line, its token in the raylet's environment) and asks its head. It is no driver and holds nothing. It
writes FILE once the driver has ended. It is an independent witness: it imports nothing of this project.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ray._private.state import GlobalState
from ray._raylet import GcsClientOptions  # type: ignore[attr-defined]  # compiled, without types

LOOK_S = 0.05
TITLE_S = 0.01
"""Interval between two looks at the titles of the workers already found, which change between two attempts."""
WORKER = "ray::"
HERTZ = os.sysconf("SC_CLK_TCK")


def stat_of(pid: int) -> tuple[int, int] | None:
    """The parent of a process and its start (clock ticks since the machine was started); None if it is gone."""
    with suppress(OSError, ValueError, IndexError):
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        if words[0] not in "ZX":
            return int(words[1]), int(words[19])
    return None


def command_of(pid: int) -> str:
    """The command line of a process, or the title it gave itself; empty if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def token_of(pid: int) -> str:
    """The token in the environment of one of Ray's processes."""
    words = dict(word.partition(b"=")[::2] for word in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    return words.get(b"RAY_AUTH_TOKEN", b"").decode()


class Groups:
    """Looks at the table of placement groups, in a thread of its own since a dead head leaves a question unanswered."""

    def __init__(self) -> None:
        self.changes: list[dict[str, Any]] = []
        """Each change of a group's state: known to lie between ``after_t`` and ``by_t``; None if it was there at once."""
        self.looks: list[tuple[float, float]] = []
        """When each question was asked and answered."""

    def watch(self, address: str) -> None:
        """Look until this process ends."""
        table = GlobalState()
        table._initialize_global_state(GcsClientOptions.create(address, None, True, False))
        threading.Thread(target=self._repeat, args=(table,), daemon=True).start()

    def _repeat(self, table: GlobalState) -> None:
        states: dict[str, str] = {}
        while True:
            asked_t = time.time()
            try:
                groups = table.placement_group_table()
            except Exception as error:  # of Ray's many: the head is gone
                print(f"watch_ray: {error!r}"[:200], file=sys.stderr, flush=True)
                return
            answered_t = time.time()
            for group, entry in groups.items():
                if states.get(group) != entry["state"]:
                    states[group] = entry["state"]
                    self.changes.append(
                        {
                            "group": group,
                            "state": entry["state"],
                            "after_t": self.looks[-1][0] if self.looks else None,
                            "by_t": answered_t,
                            "node": next(iter(entry["bundles_to_node_id"].values()), ""),
                            "bundles": list(entry["bundles"].values()),
                        }
                    )
            self.looks.append((asked_t, answered_t))
            time.sleep(max(0.0, LOOK_S - (time.time() - asked_t)))


class Processes:
    """The processes below a driver: which there are, and what those that are Ray's workers call themselves."""

    def __init__(self, driver: int) -> None:
        self._started = {driver: (stat_of(driver) or (0, 0))[1]}
        self._strangers: set[int] = set()
        self._boot_t = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self.workers: dict[tuple[int, int], dict[str, Any]] = {}

    def look(self) -> set[int]:
        """Find new processes below the driver; returns those that are alive."""
        there = {int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()}
        self._strangers &= there
        new = {pid: stat[0] for pid in there - self._strangers - self._started.keys() if (stat := stat_of(pid))}
        for pid in sorted(new):
            parent = pid
            while parent in new:
                parent = new[parent]
            if parent in self._started:
                self._started[pid] = (stat_of(pid) or (0, 0))[1]
            else:
                self._strangers.add(pid)
        for pid, start in list(self._started.items()):
            stat = stat_of(pid) if pid in there else None
            if stat is None or stat[1] != start:
                del self._started[pid]
        return set(self._started)

    def note_titles(self, pids: set[int]) -> None:
        """Note that these processes are alive, and their titles, if they are workers."""
        for pid in pids:
            now_t, title = time.time(), command_of(pid)
            if title.startswith(WORKER) and pid in self._started:
                start = self._started[pid]
                begin = {"pid": pid, "start_t": self._boot_t + start / HERTZ, "first_t": now_t, "titles": []}
                seen = self.workers.setdefault((pid, start), begin)
                seen["last_t"] = now_t
                if not seen["titles"] or seen["titles"][-1][1] != title:
                    seen["titles"].append((now_t, title))

    def at_work(self) -> set[int]:
        """The workers that are still there."""
        return {pid for pid, start in self.workers if self._started.get(pid) == start}


def ray_of(pids: set[int]) -> tuple[str, str] | None:
    """The address of the head and the token of the Ray whose raylet is among the processes."""
    for pid in pids:
        command = command_of(pid)
        found = re.search(r"--gcs-address=(\S+)", command)
        if found and "/raylet/raylet" in command.split(" ")[0]:
            return found[1], token_of(pid)
    return None


def main() -> None:
    """Watch until the driver has ended."""
    driver, file = int(sys.argv[1]), Path(sys.argv[2])
    groups, processes, ray = Groups(), Processes(driver), None
    looks: list[float] = []
    while driver in (alive := processes.look()):
        looks.append(time.time())
        processes.note_titles(alive)
        if ray is None and (ray := ray_of(alive)) is not None:
            os.environ["RAY_AUTH_TOKEN"] = ray[1]
            groups.watch(ray[0])
        while time.time() < looks[-1] + LOOK_S:
            time.sleep(TITLE_S)
            processes.note_titles(processes.at_work())
    for _ in range(int(5 / LOOK_S)):  # what a killed driver leaves behind for a moment
        processes.note_titles(processes.look())
        time.sleep(LOOK_S)
    content = {
        "address": ray and ray[0], "changes": groups.changes, "group_looks": groups.looks, "looks": looks,
        "workers": list(processes.workers.values()),
    }  # fmt: skip
    file.write_text(json.dumps(content), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # the thread may wait for a dead head


if __name__ == "__main__":
    main()
