"""A study on a simulated cluster: the real scheduler, searcher, watcher, ledger and readers, on a simulated clock.

    python -m benchmarks.simulate_cluster --jobs 10000 --gpus 1000 --nodes 128 [--row]

A cost model says how long jobs take (lognormal around the planned seconds); nodes die and come back, and workers fail.
Real are the scheduler with a budget and its forecast, the searcher that Ray Tune asks, the watcher of placement groups,
the ledger that all of them write, and ``audit`` and ``answer`` on it afterwards, each in a process of its own.
Simulated are Ray and training; there are no heartbeats. Nothing waits for the disk (no fsync), and an hour of the
cluster takes no time.

A row has *orchestration*, the processor time per job (scheduler, searcher, watcher and the driver's records; that of
the workers' records is separate); the peak memory of the process; how long the cluster took against a lower bound (all
work on all devices without a gap, or the longest chain of jobs); and its share of idle device time against that of the
bound. ``--row`` appends it to benchmarks/results/simulate_cluster.jsonl; ``simulate_figure.py`` draws those rows.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import ray

from accounting.ledger.records import DeviceRecord, Kind, Phase, Status
from accounting.ledger.store import LedgerWriter
from accounting.study.folder import StudyFolder
from benchmarks.ledgers import STUDY_YAML, TARGETS
from benchmarks.simulated_jobs import EPOCHS, PLANNED_S, Cluster, accuracy_of, outcome_of, planned, price_s, routes_of
from benchmarks.simulated_ray import RAY_JOB, simulated_ray
from harness.backends import allocations as watching
from harness.backends.allocations import Allocations, node_name
from harness.backends.tune_jobs import JobSearcher
from harness.config.resources import JobShape
from harness.config.routes import BudgetConfig, with_keys
from harness.jobs.job import Job, Outcome
from harness.jobs.spec import from_json
from harness.scheduling.forecast import Forecast
from harness.scheduling.scheduler import Scheduler, open_scheduler

RESULTS = Path(__file__).with_name("results") / "simulate_cluster.jsonl"
SESSION = "20260101T000000Z-sim001"
BEGIN_T = 1_767_225_600.0
MODEL = "Simulated GPU"
SPREAD = 0.4
"""Standard deviation of the logarithm of a job's actual over planned seconds."""
START_S = 8.0
"""Seconds from the creation of a placement group to the attempt's first record."""
POLL_S = 0.25
"""Seconds between the watcher's looks; here it looks only once after each change that it could see."""


@dataclass
class Worker:
    """A process in a placement group, with one attempt."""

    group: str
    node: str
    gpu: str
    trial: str
    born_t: float
    job: Job
    attempt: str = ""
    ledger: LedgerWriter | None = None
    is_alive: bool = True


@dataclass
class Simulation:
    """One session of one study."""

    paths: StudyFolder
    cluster: Cluster
    t: float = BEGIN_T
    cpu_s: Counter[str] = field(default_factory=Counter)
    held_s: float = 0.0
    kept_s: float = 0.0
    """Device-seconds of the attempts that produced an outcome."""
    counts: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Simulate the session from its first job to its end."""
        with simulated_ray(lambda: self.nodes, lambda: self.groups, lambda: self.t) as stack:
            stack.enter_context(mock.patch.object(os, "fsync", lambda fd: None))
            self._session()

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        begin = time.process_time()
        try:
            yield
        finally:
            self.cpu_s[what] += time.process_time() - begin

    def _session(self) -> None:
        cluster = self.cluster
        self.rng, self.ids = random.Random(cluster.seed), itertools.count()
        self.nodes: dict[str, Any] = {}
        self.free: dict[str, list[str]] = {}
        self.groups: dict[str, Any] = {}
        self.events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.workers: dict[str, Worker] = {}
        self.is_look_due = False
        for n in range(cluster.nodes):
            self._add_node(cluster.gpus // cluster.nodes + (n < cluster.gpus % cluster.nodes))
        with LedgerWriter(self.paths.ledger, SESSION, "driver", clock=lambda: self.t) as self.ledger:
            self.capacity = [entry for node in self.nodes.values() for entry in self._told(node)]
            self.ledger.append(
                Kind.SESSION_OPENED, session=SESSION, study="simulated", capacity=self.capacity, environment={}
            )
            with self._timed("orchestration"):
                self._open()
            for node in list(self.nodes):
                self._live(node)
            self._fill()
            while self.events and not (self.scheduler.finished and not self.workers):
                self.t, _, action, args = heapq.heappop(self.events)
                action(*args)
            self.end_t = self.t
            self.watch._look()
            self.watch.close_all()
            self.ledger.append(Kind.SESSION_CLOSED, session=SESSION, reason="done")

    def _open(self) -> None:
        routes = routes_of(self.cluster)
        self.plans = {job.name: seconds for job, seconds in planned(routes)}
        self.chain_s = max(
            sum(PLANNED_S[phase] for phase in chain)
            for chain in ((Phase.PRETRAIN, Phase.FINETUNE), (Phase.SEARCH, Phase.RETRAIN))
        )
        budget_h = 1.2 * sum(self.plans.values()) / self.cluster.replicates / 3600
        self.scheduler: Scheduler = open_scheduler(
            routes, with_keys(BudgetConfig)(search=f"{budget_h:.3f} h"), self.paths, self.ledger, SESSION,
            forecast=Forecast(planned(routes_of(self.cluster)), price_s),
        )  # fmt: skip
        begin_s = time.process_time()
        # Includes the time that reading takes, so that the ledger is not read more often than on a real clock.
        self.scheduler._spending._clock = lambda: self.t + time.process_time() - begin_s  # type: ignore[attr-defined]

        def lost(job: str, reason: str) -> None:
            self.ledger.append(Kind.ATTEMPT_LOST, session=SESSION, job=job, reason=reason)

        nodes = {node_name(node): node for node in self.nodes.values()}
        self.searcher = JobSearcher(self.scheduler, {}, 10, lambda job: JobShape(1, 0, 1), "cuda", nodes, lost)  # type: ignore[typeddict-item]
        self.watch = Allocations(self.ledger, SESSION, "cuda", self.capacity, self._told, threading.Event())
        self.watch.on_nodes = lambda alive: setattr(self.searcher, "nodes", alive)

    # The cluster

    def _at(self, delay_s: float, action: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self.events, (self.t + delay_s, next(self.ids), action, args))

    def _add_node(self, num_gpus: int) -> str:
        name = f"{next(self.ids):06x}" + "0" * 50
        self.nodes[name] = {
            "NodeID": name, "NodeManagerHostname": "vm", "Alive": True, "Resources": {"CPU": 1e6, "GPU": float(num_gpus)}
        }  # fmt: skip
        self.free[name] = [f"GPU-{name[:6]}-{n}" for n in range(num_gpus)]
        return name

    def _told(self, node: Any) -> list[DeviceRecord]:
        num = int(node["Resources"]["GPU"])
        return [
            {"device": f"GPU-{node['NodeID'][:6]}-{n}", "device_kind": "cuda", "amount": 1.0, "name": MODEL,
             "node": node_name(node)}
            for n in range(num)
        ]  # fmt: skip

    def _live(self, node: str) -> None:
        self._at(self.rng.expovariate(1 / (3600 * self.cluster.node_hours)), self._die, node)

    def _look_soon(self) -> None:
        if not self.is_look_due:
            self.is_look_due = True
            self._at(POLL_S - (self.t % POLL_S), self._look)

    def _look(self) -> None:
        self.is_look_due = False
        with self._timed("orchestration"):
            self.watch._look()

    def _fill(self) -> None:
        """Give work to free devices, as Ray Tune does."""
        for node in [name for name, gpus in self.free.items() if gpus and self.nodes[name]["Alive"]]:
            while self.free[node]:
                with self._timed("orchestration"):
                    found = self.searcher.suggest(trial := f"t{next(self.ids)}")
                if not isinstance(found, dict):
                    return
                worker = Worker(
                    f"{next(self.ids):08x}" + RAY_JOB, node, self.free[node].pop(), trial, self.t,
                    from_json(json.loads(found["job"])),
                )  # fmt: skip
                self.workers[worker.group] = worker
                self.groups[worker.group] = {
                    "state": "CREATED", "bundles": {0: {"CPU": 0.0, "GPU": 1.0}}, "bundles_to_node_id": {0: node}
                }  # fmt: skip
                self._look_soon()
                self._at(START_S, self._begin, worker)

    def _begin(self, worker: Worker) -> None:
        if not worker.is_alive:
            return
        job = worker.job
        self.counts["attempts"] += 1
        worker.attempt = f"{job.name}#{next(self.ids)}"
        with self._timed("workers"):
            worker.ledger = LedgerWriter(self.paths.ledger, SESSION, "worker", clock=lambda: self.t)
            worker.ledger.append(
                Kind.ATTEMPT_STARTED, session=SESSION, attempt=worker.attempt, job=job.name, route=job.route,
                phase=job.phase, target=job.target, replicate=job.replicate,
                allocation=watching.allocation_name(worker.group, worker.node), devices={worker.gpu: 1.0}, meter="none",
                network_macs=job.counted_macs, spec=self._spec(worker), heartbeat_s=2.0, num_workers=1,
            )  # fmt: skip
            worker.ledger.append(Kind.WORK_BEGUN, attempt=worker.attempt, epoch=0)
        length_s = self.plans[job.name] * self.rng.lognormvariate(0, SPREAD)
        if self.rng.random() * self.cluster.jobs_per_failure < 1:
            self._at(length_s * self.rng.random(), self._fail, worker)
        elif job.phase == Phase.EVALUATE:
            self._at(length_s, self._end, worker)
        else:
            self._at(length_s / EPOCHS, self._epoch, worker, 1, length_s / EPOCHS)

    def _spec(self, worker: Worker) -> Any:
        from harness.jobs.spec import to_json

        return to_json(worker.job)

    def _epoch(self, worker: Worker, number: int, length_s: float) -> None:
        if not worker.is_alive or worker.ledger is None:
            return
        with self._timed("workers"):
            worker.ledger.append(
                Kind.PROGRESS, attempt=worker.attempt, epoch=number, num_epochs=EPOCHS, train_loss=1.0 / number,
                val_top1=accuracy_of(worker.job) * (1 - 0.5 / (1 + number)), checkpointed=number < EPOCHS,
            )  # fmt: skip
        if number == EPOCHS:
            self._end(worker)
        else:
            self._at(length_s, self._epoch, worker, number + 1, length_s)

    def _end(self, worker: Worker) -> None:
        if not worker.is_alive:
            return
        outcome = outcome_of(worker.job)
        self._write_end(worker, Status.OK, None, outcome)
        self.kept_s += self.t - worker.born_t
        self._remove(worker)
        with self._timed("orchestration"):
            told = json.dumps(asdict(Outcome(ok=True, metrics=outcome)))  # type: ignore[arg-type]
            self.searcher.on_trial_complete(worker.trial, {"outcome": told})
        self._fill()

    def _write_end(self, worker: Worker, status: Status, reason: str | None, outcome: Any) -> None:
        if worker.ledger is not None:
            with self._timed("workers"):
                worker.ledger.append(
                    Kind.ATTEMPT_ENDED, attempt=worker.attempt, status=status, reason=reason, outcome=outcome,
                    work_end_t=self.t, measurement=None,
                )  # fmt: skip

    def _remove(self, worker: Worker) -> None:
        worker.is_alive = False
        self.held_s += self.t - worker.born_t
        self.groups.pop(worker.group, None)
        del self.workers[worker.group]
        if self.nodes[worker.node]["Alive"]:
            self.free[worker.node].append(worker.gpu)
        if worker.ledger is not None:
            worker.ledger.close()
        self._look_soon()

    def _fail(self, worker: Worker) -> None:
        """Kill the worker's process; its training since the last checkpoint (here: all of it) is lost."""
        if worker.is_alive:
            self.counts["failed workers"] += 1
            self._remove(worker)
            self._tell_lost(worker)

    def _tell_lost(self, worker: Worker) -> None:
        with self._timed("orchestration"):
            self.searcher.failed(worker.trial, ray.exceptions.RayActorError())
        self._fill()

    def _die(self, node: str) -> None:
        """Let a node die with everything on it; another one joins ten minutes later."""
        self.counts["dead nodes"] += 1
        self.nodes[node]["Alive"] = False
        gone = [worker for worker in self.workers.values() if worker.node == node]
        with self._timed("orchestration"):
            self.watch._look()
            self.watch._look_at_nodes()
        for worker in gone:
            self._remove(worker)
            self._tell_lost(worker)
        self._at(600.0, self._join, int(self.nodes[node]["Resources"]["GPU"]))

    def _join(self, num_gpus: int) -> None:
        self._live(self._add_node(num_gpus))
        with self._timed("orchestration"):
            self.watch._look_at_nodes()
        self._fill()


def simulate(folder: Path, cluster: Cluster) -> dict[str, Any]:
    """Simulate the study in ``folder``, which the commands can then read, and return the columns of its row."""
    folder.mkdir(parents=True, exist_ok=True)
    text = STUDY_YAML.format(targets=", ".join(map(str, TARGETS)), replicates=cluster.replicates)
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    found = Simulation(StudyFolder(folder), cluster)
    found.run()
    took_s, num_jobs = found.end_t - BEGIN_T, len(found.plans)
    bound_s = max(found.kept_s / cluster.gpus, found.chain_s)
    return {
        **vars(cluster), "num_jobs": num_jobs, **dict(found.counts), "stopped_by_budget": len(found.scheduler.stopped),
        "orchestration_cpu_s": round(found.cpu_s["orchestration"], 2),
        "orchestration_ms_per_job": round(1000 * found.cpu_s["orchestration"] / num_jobs, 2),
        "workers_cpu_s": round(found.cpu_s["workers"], 2),
        "driver_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000), "driver_before_mb": round(before_mb),
        "cluster_h": round(took_s / 3600, 2), "bound_h": round(bound_s / 3600, 2),
        "idle_share": round(1 - found.held_s / (cluster.gpus * took_s), 4),
        "bound_idle_share": round(1 - found.kept_s / (cluster.gpus * bound_s), 4),
        "ledger_mb": round(sum(path.stat().st_size for path in (folder / "ledger").iterdir()) / 1e6, 1),
        "segments": sum(1 for _ in (folder / "ledger").glob("*.jsonl")),
    }  # fmt: skip


def measured(command: str, study: Path) -> tuple[str, float, float, float]:
    """Call :func:`benchmarks.ledger_scale.measured` in a small process: a large one's memory counts as its child's."""
    code = (
        "import json, sys; from pathlib import Path; from benchmarks.ledger_scale import measured; "
        "print(json.dumps(measured(sys.argv[1], Path(sys.argv[2]))))"
    )
    words = [sys.executable, "-c", code, command, str(study)]
    said = subprocess.run(words, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True).stdout
    text, wall_s, cpu_s, peak_mb = json.loads(said)
    return str(text), float(wall_s), float(cpu_s), float(peak_mb)


def main() -> None:
    """Simulate the study, measure the commands on it, print a row, and append it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("jobs", 1000), ("gpus", 100), ("nodes", 13), ("replicates", 3), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--load", default="", help="what else the machine did, for the row")
    parser.add_argument("--row", action="store_true", help=f"append the row to {RESULTS.name}")
    options = parser.parse_args()
    cluster = Cluster(options.jobs, options.gpus, options.nodes, options.replicates, seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        row: dict[str, Any] = {
            "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
            "python": platform.python_version(), "load": options.load, **simulate(study, cluster),
        }  # fmt: skip
        for command in ("audit", "answer"):
            said, _, cpu_s, peak_mb = measured(command, study)
            row |= {f"{command}_cpu_s": round(cpu_s, 2), f"{command}_mb": round(peak_mb)}
            if command == "audit" and not said.endswith("the ledger adds up\n"):
                raise SystemExit(f"the ledger should be clean:\n{said[-3000:]}")
    print(json.dumps(row), flush=True)
    if options.row:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
