"""A study on a simulated cluster: the real scheduler, retries, watcher and ledger, on a simulated clock.

Whatever is hit (a worker, the driver, a node, the head; by a signal; in the middle of a write), the simulation knows
how long each device was truly held, since the same seed always gives the same course.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field

import ray
from some_jobs import job

from accounting.ledger.records import Kind, Status
from accounting.ledger.store import LedgerWriter
from accounting.study.folder import StudyFolder
from benchmarks.simulated_ray import RAY_JOB, simulated_ray
from harness.backends import allocations as watching
from harness.backends.allocations import POLL_S, Allocations, node_name
from harness.backends.held_note import close_left_open, noting
from harness.backends.tune_jobs import JobSearcher
from harness.config.resources import JobShape
from harness.config.routes import BudgetConfig
from harness.devices import cpu_device
from harness.jobs.job import Done, Outcome, Wait
from harness.jobs.spec import from_json
from harness.scheduling.scheduler import open_scheduler

HEARTBEAT_S = 2.0
FAULTS = ("worker", "torn worker", "node", "driver", "torn driver", "signal", "head")
ENDS_SESSION = ("driver", "torn driver", "signal", "head")


class Chain:
    """A route whose jobs run one after another, or in parallel."""

    def __init__(self, name, replicate, num_jobs, is_chained):
        self.name, self.replicate = name, replicate
        self.jobs = [job(str(number), name, replicate=replicate) for number in range(num_jobs)]
        self.is_chained, self.out = is_chained, set()

    def ask(self):
        if self.out and (self.is_chained or not self.jobs):
            return Wait()
        if not self.jobs:
            return Done()
        self.out.add(self.jobs[0].name)
        return self.jobs.pop(0)

    def tell(self, job, outcome):
        self.out.discard(job.name)


@dataclass
class Worker:
    """A process in a placement group that works on one job after another."""

    group: str
    node: str
    born_t: float
    trial: str = ""
    job: str = ""
    attempt: str = ""
    epoch: int = 0
    ledger: LedgerWriter | None = None
    is_alive: bool = True


@dataclass
class Chaos:
    """One schedule of faults. ``held_s``: how long devices were truly held; ``attempts``: those that began.

    ``blind_s``: how long workers lived unobserved, after their driver was killed or between attempts.
    """

    paths: StudyFolder
    seed: int
    t: float = 1_000_000.0
    held_s: float = 0.0
    blind_s: float = 0.0
    attempts: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    num_sessions: int = 0

    def __post_init__(self):
        self.rng, self.ids = random.Random(self.seed), itertools.count()
        self.num_epochs: dict[str, int] = {}
        self.kept: dict[str, int] = {}
        self.nodes: dict[str, dict] = {}
        self.groups: dict[str, dict] = {}
        self.workers: list[Worker] = []
        self.events: list[tuple] = []
        self.num_jobs = 0

    def run(self):
        """Run sessions until one finishes the study."""
        with simulated_ray(lambda: self.nodes, lambda: self.groups, lambda: self.t, lambda: self.own) as stack:
            self.stack = stack
            while not self.session():
                self.t += self.rng.choice([0.5, 30.0, 5000.0])

    def at(self, delay_s, action, *args):
        heapq.heappush(self.events, (self.t + delay_s, next(self.ids), action, args))

    def add_node(self):
        name = f"{next(self.ids):06x}" + "0" * 50
        self.nodes[name] = {"NodeID": name, "NodeManagerHostname": "vm", "Alive": True, "Resources": {"CPU": 1.0}}
        return name

    def told(self, node):
        name = node_name(node)
        return [{"device": cpu_device(name), "device_kind": "cpu_core", "amount": 1.0, "name": "c", "node": name}]

    def alive(self):
        return [name for name, node in self.nodes.items() if node["Alive"]]

    def session(self):
        """Run one session of the driver; returns whether it finished the study."""
        rng = self.rng
        self.nodes, self.groups, self.events, self.workers = {}, {}, [], []
        for _ in range(rng.randint(1, 3)):
            self.add_node()
        self.own = next(iter(self.nodes))
        self.name, self.num_sessions = f"s{self.num_sessions}", self.num_sessions + 1
        self.is_over, self.end = False, ""
        self.ledger = LedgerWriter(self.paths.ledger, self.name, "driver", clock=lambda: self.t)
        capacity = [entry for node in self.nodes.values() for entry in self.told(node)]
        self.ledger.append(
            Kind.SESSION_OPENED, t=self.t, session=self.name, study="chaos", capacity=capacity, environment={}
        )
        close_left_open(self.paths, self.ledger)
        shapes = random.Random(self.seed)
        routes = [
            Chain(name, replicate, shapes.randint(1, 4), shapes.random() < 0.5)
            for name in ("prune", "search")
            for replicate in range(shapes.randint(1, 2))
        ]
        self.num_jobs = sum(len(route.jobs) for route in routes)
        self.scheduler = open_scheduler(routes, BudgetConfig(), self.paths, self.ledger, self.name)

        def lost(name, reason):
            self.ledger.append(Kind.ATTEMPT_LOST, session=self.name, job=name, reason=reason)

        self.searcher = JobSearcher(
            self.scheduler, {}, 1000, lambda job: JobShape(1, 0, 1), "cpu", dict(self.nodes), lost
        )
        self.gone = threading.Event()
        self.watch = Allocations(self.ledger, self.name, "cpu", capacity, self.told, self.gone)
        self.watch.on_held = self.stack.enter_context(noting(self.paths.held_note, self.name))
        self.at(rng.uniform(0, POLL_S), self.look)
        self.at(rng.uniform(0, 1), self.look_at_nodes)
        self.at(rng.uniform(1, 3), self.fill)
        if self.num_sessions < 4:
            for _ in range(rng.randint(0, 3)):
                self.at(rng.choice([rng.uniform(0, 8), rng.uniform(0, 90)]), self.fault, rng.choice(FAULTS))
        if rng.random() < 0.3:
            self.at(rng.uniform(0, 40), self.add_node)
        end_t = self.t + 10_000
        while not self.is_over:
            assert self.t < end_t, f"schedule {self.seed} does not end"
            self.t, _, action, args = heapq.heappop(self.events)
            action(*args)
        self.ledger.close()
        return self.end == "done"

    # What the cluster does

    def fill(self):
        """Give each free node a new worker with a job, as Ray Tune does."""
        self.at(0.5, self.fill)
        busy = {worker.node for worker in self.workers}
        self.searcher.nodes = {name: self.nodes[name] for name in self.alive()}
        for node in self.alive():
            if node not in busy and (trial := self.suggest()) is not None:
                worker = Worker(f"{next(self.ids):08x}" + RAY_JOB, node, self.t)
                bundle = {"bundles": {0: {"CPU": 1.0}}, "bundles_to_node_id": {0: node}}
                self.groups[worker.group] = {"state": "CREATED", **bundle}
                self.workers.append(worker)
                self.at(self.rng.uniform(1, 5), self.begin, worker, trial)
        if self.scheduler.finished and not self.workers:
            self.end_session("done")

    def suggest(self):
        trial = f"t{next(self.ids)}"
        found = self.searcher.suggest(trial)
        return (trial, found) if isinstance(found, dict) else None

    def begin(self, worker, trial):
        if not worker.is_alive:
            self.tell_lost(trial[0])
            return
        worker.trial, wanted = trial[0], from_json(json.loads(trial[1]["job"]))
        worker.job, worker.attempt = wanted.name, f"{wanted.name}#{next(self.ids)}"
        if worker.ledger is None:
            worker.ledger = LedgerWriter(self.paths.ledger, self.name, "worker", clock=lambda: self.t)
        allocation = watching.allocation_name(worker.group, worker.node)
        devices = {cpu_device(node_name(self.nodes[worker.node])): 1.0}
        worker.ledger.append(
            Kind.ATTEMPT_STARTED, session=self.name, attempt=worker.attempt, job=worker.job, route=wanted.route,
            phase=wanted.phase, target=None, replicate=wanted.replicate, allocation=allocation, devices=devices,
            meter="none", network_macs=1, spec={}, heartbeat_s=HEARTBEAT_S,
        )  # fmt: skip
        self.attempts.append(worker.attempt)
        worker.epoch = self.kept.get(worker.job, 0)
        self.num_epochs.setdefault(worker.job, self.rng.randint(1, 6))
        self.at(self.rng.uniform(0.1, 2), self.works, worker, worker.attempt)
        self.at(HEARTBEAT_S, self.beat, worker, worker.attempt)

    def is_at(self, worker, attempt):
        return worker.is_alive and worker.attempt == attempt

    def beat(self, worker, attempt):
        if self.is_at(worker, attempt):
            worker.ledger.append(Kind.HEARTBEAT, attempt=attempt)
            self.at(HEARTBEAT_S, self.beat, worker, attempt)

    def works(self, worker, attempt):
        if self.is_at(worker, attempt):
            worker.ledger.append(Kind.WORK_BEGUN, attempt=attempt, epoch=worker.epoch)
            self.at(self.rng.uniform(0.5, 6), self.epoch, worker, attempt)

    def epoch(self, worker, attempt):
        if not self.is_at(worker, attempt):
            return
        worker.epoch += 1
        num_epochs = self.num_epochs[worker.job]
        is_last = worker.epoch >= num_epochs
        self.kept[worker.job] = 0 if is_last else worker.epoch
        worker.ledger.append(
            Kind.PROGRESS, attempt=attempt, epoch=worker.epoch, num_epochs=num_epochs, train_loss=1.0, val_top1=0.5,
            checkpointed=not is_last,
        )  # fmt: skip
        self.at(self.rng.uniform(0.5, 6), self.done if is_last else self.epoch, worker, attempt)

    def done(self, worker, attempt):
        if not self.is_at(worker, attempt):
            return
        self.finish(worker, Status.OK, None, {"val_top1": 0.5, "macs": 1})
        outcome = {"outcome": json.dumps(asdict(Outcome(ok=True, metrics={"val_top1": 0.5, "macs": 1})))}
        self.at(self.rng.uniform(0, 0.3), self.complete, worker, worker.trial, outcome)
        worker.trial = ""

    def finish(self, worker, status, reason, outcome):
        worker.ledger.append(
            Kind.ATTEMPT_ENDED, attempt=worker.attempt, status=status, reason=reason, outcome=outcome, work_end_t=self.t,
            measurement=None,
        )  # fmt: skip
        worker.attempt = ""

    def complete(self, worker, trial, outcome):
        """Tell Tune; then the worker gets another job or ends."""
        self.searcher.on_trial_complete(trial, outcome)
        if not worker.is_alive:
            return
        if worker.node in self.alive() and self.rng.random() < 0.6 and (following := self.suggest()) is not None:
            self.at(self.rng.uniform(0, 2), self.begin, worker, following)
        else:
            self.at(self.rng.uniform(0, 2), self.remove, worker)

    def remove(self, worker):
        """Remove the worker and its placement group."""
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        self.groups.pop(worker.group, None)
        worker.is_alive = False
        self.held_s += self.t - worker.born_t
        if worker.ledger is not None:
            worker.ledger.close()

    def tell_lost(self, trial):
        if trial:
            self.searcher.failed(trial, ray.exceptions.RayActorError())

    # What the driver does

    def look(self):
        self.watch._look()
        self.at(POLL_S, self.look)

    def look_at_nodes(self):
        self.watch._look_at_nodes()
        self.at(4 * POLL_S, self.look_at_nodes)

    def end_session(self, reason):
        """End in order: close what is open, then the session."""
        if not self.gone.is_set():
            self.watch._look()
        self.watch.close_all()
        self.ledger.append(Kind.SESSION_CLOSED, session=self.name, reason=reason)
        self.paths.held_note.unlink(missing_ok=True)
        self.end, self.is_over = reason, True

    # What goes wrong

    def fault(self, kind):
        """Cause a fault of this kind; some kinds hit one of the workers."""
        busy = [worker for worker in self.workers if worker.is_alive]
        if kind in ("worker", "torn worker", "node") and not busy:
            return
        self.faults[kind] += 1
        victim = self.rng.choice(busy) if busy else None
        if kind == "node":
            self.kill_node(victim)
        elif kind in ENDS_SESSION:
            self.end_by(kind, busy)
        else:
            self.kill_worker(victim, is_torn=kind == "torn worker")

    def kill_worker(self, worker, *, is_torn):
        worker.is_alive = False
        if is_torn and worker.ledger is not None:
            torn(worker.ledger)
        trial = worker.trial
        self.at(self.rng.uniform(0, 0.5), self.remove, worker)
        self.at(self.rng.uniform(0, 2), self.tell_lost, trial)

    def kill_node(self, worker):
        """The node's worker lives on for up to a second, then says why it ends. Another node joins some time later."""
        self.nodes[worker.node]["Alive"] = False
        self.groups[worker.group]["state"] = "RESCHEDULING"
        if worker.node == self.own:  # the driver lives on: its raylet is another process
            self.own = next(iter(self.alive()), self.own)
            self.watch._own_node = self.own
        self.at(self.rng.uniform(0.2, 1), self.outlive, worker)
        self.at(self.rng.uniform(1, 20), self.add_node)

    def outlive(self, worker):
        if worker.is_alive and worker.attempt:
            self.finish(worker, Status.FAILED, "Ray's raylet on this node died, and its worker with it", None)
        self.remove(worker)
        self.tell_lost(worker.trial)

    def end_by(self, kind, busy):
        """Every process of the run is gone within a second; an orderly end waits for that."""
        self.searcher.stopped.set()
        if kind == "torn driver":
            torn(self.ledger)
        begin_t = self.t
        for worker in busy:
            self.t = begin_t + self.rng.uniform(0, 1)
            if kind == "head" and worker.attempt:
                self.finish(worker, Status.FAILED, "Ray's raylet on this node died, and its worker with it", None)
            self.blind_s += self.t - begin_t if kind in ("driver", "torn driver") or not worker.attempt else 0
            self.remove(worker)
        self.t = begin_t + 1
        if kind == "head":
            self.t = begin_t + watching.SILENT_S
            self.gone.set()
        if kind in ("signal", "head"):
            self.end_session("interrupted")
        self.end, self.is_over = "", True


def torn(ledger):
    """The writer dies in the middle of a line."""
    with ledger.path.open("ab") as file:
        file.write(b'{"kind":"heartbeat","t":10')
