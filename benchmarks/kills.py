"""Kills what runs a study, one thing at a time, runs it again where it ended, and checks what must hold afterwards.

usage: python benchmarks/kills.py OUT [SCENARIO ...]

A scenario is ``<nodes>-<what>``. On one node (a Ray of the run's own): 1-worker, 1-driver, 1-raylet, 1-head, 1-sigterm,
1-sigint, 1-sighup, 1-memory (Ray's memory monitor kills a worker, since another process takes the memory). On two nodes of a
cluster on this machine: 2-worker, 2-driver, 2-raylet (of the other node), 2-own-raylet (of the driver's node), 2-head,
2-sigterm, 2-sigint, 2-join (the second node comes later). All of them unless named.

Checked: a driver that cannot go on ends within 30 s (10 s after a signal) with one line and exit 1; the same command then
finishes; every job has one ok outcome; ``audit`` exits 0; nothing is left running. Appends a row for each to
benchmarks/results/kills.jsonl; exit 1 where a check fails.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.backends.reaper import alive, descendants, started

RESULTS = Path(os.environ.get("KILLS_RESULTS", Path(__file__).with_name("results") / "kills.jsonl"))
STUDY = """
name: kills
dataset: {name: fashion_mnist_mini, num_train: 400}
parent: {family: fbnetv3_mini, variant: l, pretrain: {epochs: 4}}
targets: [0.6M, 0.4M]
replicates: 1
recipe: {batch_size: 50, lr: 0.05}
routes:
  search: {strategy: {num_trials: 4}, candidate: {epochs: 3}, retrain: {epochs: 3}}
  prune: {finetune: {epochs: 4, lr: 0.05}}
"""
SIGNALS = {"sigterm": signal.SIGTERM, "sigint": signal.SIGINT, "sighup": signal.SIGHUP}
SCENARIOS = (
    *(f"1-{what}" for what in ("worker", "driver", "raylet", "head", *SIGNALS, "memory")),
    *(f"2-{what}" for what in ("worker", "driver", "raylet", "own-raylet", "head", "sigterm", "sigint", "join")),
)
LIMIT_S = 600.0


@dataclass
class Cluster:
    """Ray nodes on this machine, started by ``ray start``, each a process tree of its own."""

    folder: Path
    port: int
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def add(self) -> None:
        """Start a head, then further nodes."""
        place = f"/tmp/k{secrets.token_hex(3)}"
        words = ["--head", f"--port={self.port}", f"--temp-dir={place}"] if not self.nodes else []
        words += [] if words else [f"--address=127.0.0.1:{self.port}", f"--temp-dir={place}"]
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", *words]
        log = (self.folder / f"node{len(self.nodes)}.log").open("wb")
        self.nodes.append(
            subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=self.environment, start_new_session=True
            )
        )

    def end(self) -> None:
        """Kill all nodes and remove their folders."""
        pids = {p for node in self.nodes for p in descendants([node.pid], set())}
        for node in self.nodes:
            node.kill()
            node.wait()
        for pid, _ in alive(pids):
            os.kill(pid, signal.SIGKILL)
        for place in Path("/tmp").glob("k??????"):
            if place.stat().st_uid == os.getuid():
                shutil.rmtree(place, ignore_errors=True)


def title(pid: int) -> str:
    """The command line of a process, or what it calls itself."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def find(roots: list[int], what: str) -> list[int]:
    """Processes below the roots that are a ``worker`` at work, a ``raylet`` or the ``head``."""
    names = {"worker": "ray::ImplicitFunc", "raylet": "/raylet/raylet", "head": "/gcs/gcs_server"}
    return sorted(pid for pid, _ in descendants(roots, set()) if names[what] in title(pid).split("--")[0])


def records(out: Path) -> list[dict[str, object]]:
    """Those of the ledger so far."""
    return list(read_ledger(out / "ledger").records) if (out / "ledger").exists() else []


def wait_for_work(driver: subprocess.Popen[bytes], out: Path, num_done: int) -> None:
    """Until so many attempts have ended and another one works."""
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s and driver.poll() is None:
        seen = records(out)
        over = {r["attempt"] for r in seen if r["kind"] == Kind.ATTEMPT_ENDED}
        if len(over) >= num_done and any(r["kind"] == Kind.PROGRESS and r["attempt"] not in over for r in seen):
            return
        time.sleep(0.1)
    raise SystemExit(f"no work to kill in {out}: exit code {driver.poll()}")


def act(what: str, driver: subprocess.Popen[bytes], cluster: Cluster | None, hog_mb: int) -> None:
    """Do to the study what the scenario says."""
    nodes = [] if cluster is None else [node.pid for node in cluster.nodes]
    roots = [driver.pid, *nodes]
    if what in SIGNALS:
        driver.send_signal(SIGNALS[what])
    elif what == "driver":
        driver.kill()
    elif what == "join":
        assert cluster is not None
        cluster.add()
    elif what == "memory":
        code = f"import time; x = bytearray({hog_mb} << 20); x[::4096] = b'x' * len(x[::4096]); time.sleep(6)"
        subprocess.run([sys.executable, "-c", code], check=False)
    elif what == "raylet" and cluster is not None:
        os.kill(find([nodes[1]], "raylet")[0], signal.SIGKILL)
    elif what == "own-raylet":
        os.kill(find([nodes[0]], "raylet")[0], signal.SIGKILL)
    else:
        os.kill(find(roots, what)[0], signal.SIGKILL)


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory() -> tuple[float, int]:
    """The threshold for Ray's memory monitor, and how much more MB cross it."""
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(facts[name].split()[0]) / 1024 for name in ("MemTotal", "MemAvailable"))
    limit = Path("/sys/fs/cgroup/memory.max")
    used = total - available
    if limit.exists() and limit.read_text().strip() != "max":
        total = min(total, int(limit.read_text()) / 2**20)
        used = int(Path("/sys/fs/cgroup/memory.current").read_text()) / 2**20
    return (used + 3000) / total, 5000


def run_scenario(scenario: str, folder: Path) -> dict[str, object]:
    """Run, kill, run again, check."""
    num_nodes, _, what = scenario.partition("-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(STUDY)
    out = folder / "out"
    environment = {**os.environ, "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    threshold, hog_mb = memory()
    if what == "memory":
        environment |= {"RAY_memory_usage_threshold": f"{threshold:.4f}", "RAY_memory_monitor_refresh_ms": "100"}
    cluster = None
    command = [sys.executable, "-m", "harness.cli", "run", str(folder / "study.yaml"), "--out", str(out)]
    if num_nodes == "2":
        cluster = Cluster(folder, free_port(), environment=environment)
        start(cluster, 1 if what == "join" else 2)
        command += ["--address", f"127.0.0.1:{cluster.port}"]
    log = folder / "log.txt"
    seen: set[tuple[int, str]] = set()
    try:
        with log.open("wb") as file:
            driver = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
            wait_for_work(driver, out, 2)
            seen |= descendants([driver.pid], set())
            begin_s = time.monotonic()
            act(what, driver, cluster, hog_mb)
            code = driver.wait(LIMIT_S)
            ended_s = time.monotonic() - begin_s
        time.sleep(3)
        left = [title(pid) for pid, _ in alive(seen)]
        lines = [
            line for line in log.read_text(errors="replace").splitlines() if "error" in line or "Traceback" in line
        ]
        runs = 1
        last = code
        while last != 0 and runs < 4:
            if cluster is not None and what in ("head", "own-raylet", "raylet"):
                cluster.end()
                cluster = Cluster(folder, free_port(), environment=environment)
                start(cluster, 2)
                command[-1] = f"127.0.0.1:{cluster.port}"
            with (folder / f"log{runs}.txt").open("wb") as file:
                last = subprocess.run(
                    command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False
                ).returncode
            runs += 1
    finally:
        if driver.poll() is None:
            driver.kill()
        if cluster is not None:
            cluster.end()
    return {
        "scenario": scenario,
        "first_exit_code": code,
        "first_ended_after_s": round(ended_s, 1),
        "first_said": lines,
        "num_runs": runs,
        "last_exit_code": last,
        "left_running": left,
        **check(out),
    }


def start(cluster: Cluster, num_nodes: int) -> None:
    """Start nodes, and wait until the head answers."""
    for _ in range(num_nodes):
        cluster.add()
        end_s = time.monotonic() + 90
        while "Ray runtime started" not in (cluster.folder / f"node{len(cluster.nodes) - 1}.log").read_text():
            if time.monotonic() > end_s:
                raise SystemExit("a node of the cluster did not start")
            time.sleep(0.2)


def check(out: Path) -> dict[str, object]:
    """What the ledger says in the end."""
    all_records = read_ledger(out / "ledger").records
    ok = Counter(
        str(r["attempt"]).rpartition("#")[0]
        for r in all_records
        if r["kind"] == Kind.ATTEMPT_ENDED and r["status"] == "ok"
    )
    jobs = {r["job"] for r in all_records if r["kind"] == Kind.ATTEMPT_STARTED}
    audit = subprocess.run(
        [sys.executable, "-m", "harness.cli", "audit", str(out)], capture_output=True, text=True, check=False
    )
    closed = [r["reason"] for r in all_records if r["kind"] == Kind.SESSION_CLOSED]
    return {
        "num_jobs": len(jobs),
        "jobs_with_one_outcome": sum(n == 1 for n in ok.values()),
        "num_attempts": sum(r["kind"] == Kind.ATTEMPT_STARTED for r in all_records),
        "sessions_closed": closed,
        "failed": sorted({r["reason"] for r in all_records if r["kind"] == Kind.ATTEMPT_ENDED and r["status"] != "ok"}),
        "audit_exit_code": audit.returncode,
        "audit_said": [line for line in audit.stdout.splitlines() if line.startswith(("error", "warning"))],
    }


def is_good(row: dict[str, object]) -> bool:
    """Whether everything that must hold does."""
    what = str(row["scenario"])[2:]
    goes_on = what in ("worker", "memory", "join") or row["scenario"] == "2-raylet"
    limit_s = LIMIT_S if goes_on else 10 if what in SIGNALS else 30
    return (
        row["first_exit_code"] == (0 if goes_on else -signal.SIGKILL if what == "driver" else 1)
        and float(str(row["first_ended_after_s"])) <= limit_s
        and len(row["first_said"]) == (0 if goes_on or what == "driver" else 1)  # type: ignore[arg-type]
        and row["last_exit_code"] == row["audit_exit_code"] == 0
        and row["jobs_with_one_outcome"] == row["num_jobs"]
        and not row["left_running"]
    )


def main() -> None:
    """Run the scenarios one after another."""
    folder, chosen = Path(sys.argv[1]).resolve(), sys.argv[2:] or SCENARIOS
    assert started(os.getpid()) is not None, "needs /proc"
    good = True
    for scenario in chosen:
        row: dict[str, object] = {
            "t": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **run_scenario(scenario, folder / scenario),
        }
        row |= {"good": is_good(row), "python": platform.python_version(), "machine": f"{os.cpu_count()} CPU cores"}
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row, indent=1))
        good &= bool(row["good"])
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
