"""The jobs of the study that ``simulate_cluster.py`` runs: what each waits for, its planned time, and its result."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from accounting.ledger.records import Phase
from benchmarks.ledgers import PARENT_MACS, TARGETS
from harness.config.recipe import Recipe
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.start import FRESH, Start, WeightsOf
from harness.jobs.work import Deliver, Train, Work

PLANNED_S = {Phase.PRETRAIN: 3600.0, Phase.SEARCH: 1800.0, Phase.RETRAIN: 2700.0, Phase.FINETUNE: 1800.0,
             Phase.EVALUATE: 60.0}  # fmt: skip
EPOCHS = 5
TRAINED = Train(Recipe(epochs=EPOCHS))


@dataclass(frozen=True)
class Cluster:
    """A cluster and its failures: nodes live ``node_hours`` on average, one worker fails per ``jobs_per_failure``."""

    jobs: int = 10_000
    gpus: int = 1000
    nodes: int = 128
    replicates: int = 3
    node_hours: float = 250.0
    jobs_per_failure: int = 200
    seed: int = 0


class Plan:
    """A route with fixed jobs, each with the jobs that it waits for."""

    def __init__(self, name: str, replicate: int, jobs: list[tuple[Job, tuple[str, ...]]]) -> None:
        self.name, self.replicate = name, replicate
        self._needs = {job.name: set(needs) for job, needs in jobs}
        self._jobs = {job.name: job for job, _ in jobs}
        self._ready = [job for job, needs in reversed(jobs) if not needs]
        self._waiting: dict[str, list[str]] = {}
        self._left = {job.name for job, _ in jobs}
        for job, needs in jobs:
            for need in needs:
                self._waiting.setdefault(need, []).append(job.name)

    def ask(self) -> Job | Wait | Done:
        """The next job that waits for no other."""
        if self._ready:
            return self._ready.pop()
        return Wait() if self._left else Done()

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Release the jobs that wait for this one, whatever its outcome; a search tolerates failed candidates."""
        if job.name not in self._left:
            return
        self._left.discard(job.name)
        for name in self._waiting.pop(job.name, ()):
            self._needs[name].discard(job.name)
            if not self._needs[name]:
                self._ready.insert(0, self._jobs[name])


def _job(route: str, replicate: int, step: str, phase: Phase, macs: int, **given: Any) -> Job:
    target: int | None = given.pop("target", None)
    work: Work = given.pop("work", TRAINED)
    start: Start = given.pop("start", FRESH)
    network = {"builder": "timm", "name": "simulated", "kwargs": {}}
    return Job(JobId(route, replicate, target, step), phase, 0, network, work, macs, macs, start)  # type: ignore[arg-type]


def routes_of(cluster: Cluster) -> list[Plan]:
    """Pruning, search and a control in each replicate; all further jobs are candidates of the search."""
    fixed: list[list[tuple[str, list[tuple[Job, tuple[str, ...]]]]]] = []
    for r in range(cluster.replicates):
        parent = _job("prune", r, "pretrain", Phase.PRETRAIN, PARENT_MACS)
        prune: list[tuple[Job, tuple[str, ...]]] = [(parent, ())]
        search: list[tuple[Job, tuple[str, ...]]] = []
        scratch: list[tuple[Job, tuple[str, ...]]] = []
        for target in TARGETS:
            for jobs, route, phase, label, needs in (
                (prune, "prune", Phase.FINETUNE, "prune", (parent.name,)),
                (search, "search", Phase.RETRAIN, "search", ()),
                (scratch, "scratch", Phase.RETRAIN, "scratch_family", ()),
            ):
                start = WeightsOf(parent.name) if route == "prune" else FRESH
                trained = _job(route, r, str(phase), phase, target, target=target, start=start)
                work = Deliver(label, f"a network by {label}")
                last = _job(route, r, f"{phase}-evaluate", Phase.EVALUATE, target, target=target, work=work,
                            start=WeightsOf(trained.name))  # fmt: skip
                jobs += [(trained, needs), (last, (trained.name,))]
        fixed.append([("prune", prune), ("search", search), ("scratch", scratch)])
    count = sum(len(jobs) for of_one in fixed for _, jobs in of_one)
    per_replicate = max(1, (cluster.jobs - count) // cluster.replicates)
    made, rng = [], random.Random(cluster.seed)
    for r, of_one in enumerate(fixed):
        for route, jobs in of_one:
            if route == "search":
                first = [
                    _job("search", r, f"candidate-{n:05d}", Phase.SEARCH, rng.randrange(200_000, 900_000))
                    for n in range(per_replicate)
                ]
                names = tuple(job.name for job in first)
                later = [(job, names if job.phase == Phase.RETRAIN else needs) for job, needs in jobs]
                jobs = [*((job, ()) for job in first), *later]
            made.append(Plan(route, r, jobs))
    return made


def planned(routes: list[Plan]) -> Iterator[tuple[Job, float]]:
    """Every job with its planned device-seconds."""
    for route in routes:
        for job in route._jobs.values():
            yield job, price_s(job)


def price_s(job: Job) -> float:
    """Planned device-seconds: longer for a larger candidate."""
    return PLANNED_S[job.phase] * (job.counted_macs / 550_000 if job.phase == Phase.SEARCH else 1.0)


def accuracy_of(job: Job) -> float:
    """Validation accuracy of the job's network, the same on each call."""
    noise = random.Random(job.name).gauss(0, 0.004)
    base = {"prune": 0.86, "search": 0.855, "scratch": 0.84}[job.route]
    return round(base + noise if job.phase != Phase.SEARCH else 0.6 + 40 * noise / 10, 4)


def outcome_of(job: Job) -> dict[str, Any]:
    """The outcome of the job, as the ledger records it."""
    macs, top1 = job.counted_macs, accuracy_of(job)
    found: dict[str, Any] = {
        "macs": macs, "dense_macs": PARENT_MACS, "params": macs // 8, "nonzero_params": macs // 8, "val_top1": top1
    }  # fmt: skip
    if isinstance(job.work, Deliver):
        found |= {"label": job.work.label, "test_top1": top1, "from_job": job.source}
    else:
        found |= {"epochs": EPOCHS, "val_curve": [round(top1 * (1 - 0.5 / (1 + n)), 4) for n in range(1, EPOCHS + 1)]}
    return found
