"""Ray nodes on this machine for a benchmark: a separate cluster, in which each node is a separate process tree."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.backends.reaper import alive, descendants


class NothingToKill(Exception):
    """The study did not get as far as the scenario needs."""


@dataclass
class Cluster:
    """Ray nodes on this machine, started by ``ray start``, each a separate process tree."""

    folder: Path
    port: int
    environment: dict[str, str]
    num_cpus: int = 1
    """CPUs per node."""
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    places: list[Path] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Address of the head."""
        return f"127.0.0.1:{self.port}"

    def add(self) -> None:
        """Start another node; the first one is the head."""
        place = Path(f"/tmp/k{secrets.token_hex(3)}")  # short, because Ray's sockets are in it
        self.places.append(place)
        words = ["--head", f"--port={self.port}", f"--temp-dir={place}"] if not self.nodes else []
        words += [] if words else [f"--address={self.address}", f"--temp-dir={place}"]
        command = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--block",
            f"--num-cpus={self.num_cpus}",
            *words,
        ]
        log = (self.folder / f"node{len(self.nodes)}.log").open("wb")
        self.nodes.append(
            subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=self.environment, start_new_session=True
            )
        )

    def kill(self, number: int) -> None:
        """Kill all processes of one node at once, as if its machine had failed."""
        for pid, _ in alive(descendants([self.nodes[number].pid], set())):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.nodes[number].kill()
        self.nodes[number].wait()

    def end(self) -> None:
        """Kill all nodes and remove their folders."""
        pids = {p for node in self.nodes for p in descendants([node.pid], set())}
        for node in self.nodes:
            node.kill()
            node.wait()
        for pid, _ in alive(pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for place in self.places:
            shutil.rmtree(place, ignore_errors=True)


def start(folder: Path, environment: dict[str, str], num_nodes: int, num_cpus: int = 1) -> Cluster:
    """Start a cluster, and wait until each node reports that it is running."""
    cluster = Cluster(folder, free_port(), environment, num_cpus)
    for number in range(num_nodes):
        cluster.add()
        end_s = time.monotonic() + 180
        while "Ray runtime started" not in (folder / f"node{number}.log").read_text():
            if time.monotonic() > end_s:
                cluster.end()
                raise NothingToKill("a node of the cluster did not start")
            time.sleep(0.2)
    return cluster


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
