"""Kill one of the processes that run a study, run the study again if it ended, and check what must hold afterwards.

usage: python benchmarks/kills.py [--list] [--record] OUT [SCENARIO ...]

A scenario is ``<nodes>-<what>``. ``--list`` prints all of them; all run unless some are named. On one node (with a Ray
of the run's own), the worker, the driver, the raylet or the head is killed, a signal is sent, or memory is used up
until Ray's memory monitor kills a worker; ``start`` kills the driver while its first worker starts, which must be
billed. On two nodes of a cluster on this machine, the scenarios are the same, except that ``raylet`` is that of the
other node and ``own-raylet`` that of the driver's node; ``join`` adds the second node later; ``tenant`` is another
program whose placement groups come and go; ``crew-node`` kills the whole second node at once while it has a job shared
by two workers.

It checks that a driver that cannot continue ends within 30 s (10 s after a signal) with one line and exit code 1; that
the same command then finishes; that every job has one ok outcome; that ``audit`` exits 0; that nothing is left running;
and that no placement group of a tenant is in the ledger. Prints a row of figures for each scenario, with the load of
the machine; ``--record`` appends them to benchmarks/results/kills.jsonl. Exits 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from ray_nodes import Cluster, NothingToKill, start

from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.backends.reaper import alive, descendants, started

RESULTS = Path(__file__).with_name("results") / "kills.jsonl"
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
CREW = "resources: {devices_per_job: 2, workers_per_job: 2}\n"
"""Added to the study of ``crew-node``: two workers of one node share each job where possible."""
SIGNALS = {"sigterm": signal.SIGTERM, "sigint": signal.SIGINT, "sighup": signal.SIGHUP}
SCENARIOS = (
    *(f"1-{what}" for what in ("worker", "driver", "start", "raylet", "head", *SIGNALS, "memory")),
    *(f"2-{what}" for what in ("worker", "driver", "raylet", "own-raylet", "head", "sigterm", "sigint", "join")),
    "2-tenant",
    "2-crew-node",
)
LIMIT_S = 600.0
LEFT_S = 15.0
"""How long the processes of a run may take to end after it."""
TENANT = """
import sys, time, ray
from ray.util import placement_group, remove_placement_group
ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
while True:
    group = placement_group([{"CPU": 1}])
    ray.get(group.ready())
    print(group.id.hex(), flush=True)
    time.sleep(2)
    remove_placement_group(group)
    time.sleep(2)
"""
HOG = """
import sys, time
held = []
for _ in range(int(sys.argv[1]) // 250):
    held.append(b"x" * (250 << 20))
    time.sleep(0.1)
time.sleep(60)
"""


def title(pid: int) -> str:
    """The command line of a process, or the title it gives itself; empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def find(roots: list[int], what: str) -> list[int]:
    """The processes of one kind below the roots: ``worker`` (at work), ``peer`` of one, ``raylet`` or ``head``."""
    names = {
        "worker": "ray::ImplicitFunc",
        "raylet": "/raylet/raylet",
        "head": "/gcs/gcs_server",
        "peer": "harness.work.peer",
    }
    return sorted(pid for pid, _ in descendants(roots, set()) if names[what] in title(pid).split("--")[0])


def wait_for_peer(driver: subprocess.Popen[bytes], cluster: Cluster, out: Path) -> None:
    """Wait until a job shared by two workers is running on the second node and has completed an epoch there."""
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s and driver.poll() is None:
        seen = records(out)
        over = {r["attempt"] for r in seen if r["kind"] == Kind.ATTEMPT_ENDED}
        ended = {r["attempt"] for r in seen if r["kind"] == Kind.PROGRESS} - over
        there = find([cluster.nodes[1].pid], "worker")
        mine = {r["pid"]: r["segment"] for r in seen if r["kind"] == Kind.SEGMENT_OPENED}
        segments = {mine[pid] for pid in there if pid in mine}
        begun = {r["attempt"] for r in seen if r["kind"] == Kind.ATTEMPT_STARTED and r["segment"] in segments}
        if find([cluster.nodes[1].pid], "peer") and begun & ended:
            return
        time.sleep(0.1)
    raise NothingToKill(f"no shared job to kill in {out}: exit code {driver.poll()}")


def records(out: Path) -> list[dict[str, object]]:
    """The records in the ledger so far."""
    return list(read_ledger(out / "ledger").records) if (out / "ledger").exists() else []


def wait_for_work(driver: subprocess.Popen[bytes], out: Path, num_done: int) -> None:
    """Wait until ``num_done`` attempts have ended and another one has completed an epoch."""
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s and driver.poll() is None:
        seen = records(out)
        over = {r["attempt"] for r in seen if r["kind"] == Kind.ATTEMPT_ENDED}
        if len(over) >= num_done and any(r["kind"] == Kind.PROGRESS and r["attempt"] not in over for r in seen):
            return
        time.sleep(0.1)
    raise NothingToKill(f"no work to kill in {out}: exit code {driver.poll()}")


def wait_for_start(driver: subprocess.Popen[bytes], out: Path) -> None:
    """Wait until a device has been held for two seconds without any attempt having begun."""
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s and driver.poll() is None:
        seen = records(out)
        if any(r["kind"] == Kind.ATTEMPT_STARTED for r in seen):
            break
        if any(r["kind"] == Kind.ALLOCATION_OPENED and float(str(r["t"])) < time.time() - 2 for r in seen):
            return
        time.sleep(0.05)
    raise NothingToKill(f"no start-up to kill in {out}: exit code {driver.poll()}")


def act(what: str, driver: subprocess.Popen[bytes], cluster: Cluster | None) -> None:
    """Disturb the study as the scenario says."""
    nodes = [] if cluster is None else [node.pid for node in cluster.nodes]
    roots = [driver.pid, *nodes]
    if what in SIGNALS:
        driver.send_signal(SIGNALS[what])
    elif what in ("driver", "start"):
        driver.kill()
    elif what == "crew-node":
        assert cluster is not None
        cluster.kill(1)
    elif what == "join":
        assert cluster is not None
        cluster.add()
    elif what == "memory":
        take_memory(roots)
    elif what == "tenant":
        time.sleep(4)  # at least one of its groups comes or goes
    elif what == "raylet" and cluster is not None:
        os.kill(find([nodes[1]], "raylet")[0], signal.SIGKILL)
    elif what == "own-raylet":
        os.kill(find([nodes[0]], "raylet")[0], signal.SIGKILL)
    else:
        os.kill(find(roots, what)[0], signal.SIGKILL)


def heed_signals() -> None:
    """Reset SIGINT and SIGHUP to their default actions; a background shell or nohup makes a process ignore them."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def memory_mb() -> tuple[float, float]:
    """Total and available memory of the machine in MB."""
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(facts[name].split()[0]) / 1024 for name in ("MemTotal", "MemAvailable"))
    return total, available


def take_memory(roots: list[int]) -> None:
    """Fill the memory until one of the workers below the roots is killed, for at most 60 s."""
    workers = [(pid, started(pid)) for pid in find(roots, "worker")]
    hog = subprocess.Popen([sys.executable, "-c", HOG, str(min(9000, int(memory_mb()[1]) - 2000))])
    end_s = time.monotonic() + 60
    while all(started(pid) == begin for pid, begin in workers) and time.monotonic() < end_s:
        time.sleep(0.02)
    hog.kill()
    hog.wait()


def run_scenario(scenario: str, folder: Path) -> dict[str, object]:
    """Run the study, disturb it, run it again until it finishes (at most four runs), and return what was found."""
    num_nodes, _, what = scenario.partition("-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(STUDY + (CREW if what == "crew-node" else ""))
    out, load = folder / "out", os.getloadavg()[0]
    environment = {**os.environ, "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    if what == "memory":
        total, available = memory_mb()
        threshold = f"{1 - (available - 6000) / total:.4f}"  # leaves 6,000 MB for this test and for other programs
        environment |= {"RAY_memory_usage_threshold": threshold, "RAY_memory_monitor_refresh_ms": "100"}
    command = [sys.executable, "-m", "harness.cli", "run", str(folder / "study.yaml"), "--out", str(out)]
    cluster, tenant, driver = None, None, None
    try:
        if num_nodes == "2":
            cluster = start(folder, environment, 1 if what == "join" else 2, 2 if what == "crew-node" else 1)
            command += ["--address", cluster.address]
        if what == "tenant" and cluster is not None:
            cluster.add()
            tenant = subprocess.Popen(
                [sys.executable, "-c", TENANT, cluster.address],
                stdout=(folder / "tenant.txt").open("wb"),
                env=environment,
            )
        with (folder / "log.txt").open("wb") as file:
            driver = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=environment, preexec_fn=heed_signals
            )
        if what == "start":
            wait_for_start(driver, out)
        elif what == "crew-node" and cluster is not None:
            wait_for_peer(driver, cluster, out)
        else:
            wait_for_work(driver, out, 2)
        seen = descendants([driver.pid], set())
        if cluster is not None:
            seen |= {(pid, str(started(pid))) for pid in find([node.pid for node in cluster.nodes], "worker")}
        begin_s = time.monotonic()
        act(what, driver, cluster)
        code = driver.wait(LIMIT_S)
        ended_s = time.monotonic() - begin_s
        left = left_of(seen)
        runs, last = 1, code
        while last != 0 and runs < 4:
            if cluster is not None and what in ("head", "own-raylet", "raylet"):
                cluster.end()
                cluster = start(folder, environment, 2)
                command[-1] = cluster.address
            with (folder / f"log{runs}.txt").open("wb") as file:
                last = subprocess.run(
                    command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False
                ).returncode
            runs += 1
    finally:
        for process in (driver, tenant):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        if cluster is not None:
            cluster.end()
    lines = (folder / "log.txt").read_text(errors="replace").splitlines()
    return {
        "load_1min": round(load, 1),
        "first_exit_code": code,
        "first_ended_after_s": round(ended_s, 1),
        "first_said": [
            line.replace(str(folder.parent), "OUT") for line in lines if line.startswith(("error", "Traceback"))
        ],
        "lost": [str(record["reason"]) for record in records(out) if record["kind"] == Kind.ATTEMPT_LOST],
        "num_runs": runs,
        "last_exit_code": last,
        "left_running": left,
        **tenants(folder, out),
        **check(out),
    }


def left_of(seen: set[tuple[int, str]]) -> list[str]:
    """Command lines of the processes that are still alive after ``LEFT_S``."""
    end_s = time.monotonic() + LEFT_S
    while (found := [title(pid) for pid, _ in alive(seen)]) and time.monotonic() < end_s:
        time.sleep(0.2)
    return found


def tenants(folder: Path, out: Path) -> dict[str, object]:
    """How many placement groups the other program had, and how many of them are in the ledger."""
    file = folder / "tenant.txt"
    if not file.exists():
        return {}
    groups = set(file.read_text().split())
    opened = [str(r["allocation"]).partition("@")[0] for r in records(out) if r["kind"] == Kind.ALLOCATION_OPENED]
    return {"tenant_groups": len(groups), "tenant_groups_in_ledger": sum(group in groups for group in opened)}


def check(out: Path) -> dict[str, object]:
    """What the ledger and its audit say in the end."""
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
        "start_ups_s": [round(start.allocated_s, 1) for start in derive(all_records).startups],
        "most_workers": max(
            (r.get("num_workers", 1) for r in all_records if r["kind"] == Kind.ATTEMPT_STARTED), default=0
        ),
        "num_attempts": sum(r["kind"] == Kind.ATTEMPT_STARTED for r in all_records),
        "sessions_closed": closed,
        "failed": sorted({r["reason"] for r in all_records if r["kind"] == Kind.ATTEMPT_ENDED and r["status"] != "ok"}),
        "audit_exit_code": audit.returncode,
        "audit_said": [line for line in audit.stdout.splitlines() if line.startswith(("error", "warning"))],
    }


def is_good(row: dict[str, object]) -> bool:
    """Whether the row meets everything that its scenario requires."""
    what = str(row["scenario"])[2:]
    goes_on = what in ("worker", "memory", "join", "tenant") or row["scenario"] in ("2-raylet", "2-crew-node")
    is_killed = what in ("driver", "start")
    limit_s = LIMIT_S if goes_on else 10 if what in SIGNALS else 30
    return (
        row["first_exit_code"] == (0 if goes_on else -signal.SIGKILL if is_killed else 1)
        and float(str(row["first_ended_after_s"])) <= limit_s
        and len(row["first_said"]) == (0 if goes_on or is_killed else 1)  # type: ignore[arg-type]
        and row["last_exit_code"] == row["audit_exit_code"] == 0
        and row["jobs_with_one_outcome"] == row["num_jobs"]
        and not row["left_running"]
        and (what != "tenant" or (int(str(row["tenant_groups"])) > 1 and row["tenant_groups_in_ledger"] == 0))
        and (what != "start" or sum(row["start_ups_s"]) >= 1)  # type: ignore[call-overload]
        and (what != "crew-node" or row["most_workers"] == 2)
        and (what not in ("worker", "memory", "crew-node") or len(row["lost"]) > 0)  # type: ignore[arg-type]
    )


def main() -> None:
    """Run the scenarios one after another."""
    parser = argparse.ArgumentParser(description="kills what runs a study, and checks what must hold afterwards")
    parser.add_argument("--list", action="store_true", help="print the scenarios")
    parser.add_argument("--record", action="store_true", help=f"append the rows to {RESULTS.name}")
    parser.add_argument("out", nargs="?", type=Path, help="folder to work in")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="those to run; all, unless some are named")
    given = parser.parse_args()
    if given.list:
        print("\n".join(SCENARIOS))
        return
    if given.out is None:
        parser.error("name a folder to work in")
    if unknown := sorted({*given.scenarios} - {*SCENARIOS}):
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    assert started(os.getpid()) is not None, "needs /proc"
    good = True
    for scenario in given.scenarios or SCENARIOS:
        facts = {"t": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "scenario": scenario}
        facts |= {"python": platform.python_version(), "machine": f"{os.cpu_count()} CPU cores"}
        try:
            row = {**facts, **run_scenario(scenario, given.out.resolve() / scenario)}
            row["good"] = is_good(row)
        except NothingToKill as error:
            row = {**facts, "good": False, "not_tried": str(error)}
        if given.record:
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        print(json.dumps(row, indent=1), flush=True)
        good &= bool(row["good"])
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
