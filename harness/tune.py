"""The Ray Tune adapter: one Tuner runs the jobs of all routes, and placement groups say what was held how long.

Facts of Ray that shape this file (measured on 2.60): two Tuners in one driver fail, so a Searcher multiplexes the routes;
without ConcurrencyLimiter only one trial is ever pending; a trial's hooks fire seconds after its placement group was
created, so the time held is read from the placement groups themselves.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# Ray gives its workers niceness 15, so that any other process on the machine would lengthen what is metered.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray.tune import FailureConfig, RunConfig, TuneConfig
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.util import placement_group_table

from accounting.ledger import LedgerWriter
from accounting.records import Kind
from harness.backend import Backend
from harness.config import DatasetConfig, ExportConfig, StudyConfig
from harness.devices import Held, check_share, choose_device, cpu_device, cuda_device, local_capacity
from harness.errors import InputError
from harness.execute import Workplace, execute
from harness.job_files import Given
from harness.jobs import Done, Job, Outcome, Wait
from harness.join_ray import joined_ray
from harness.own_ray import own_ray
from harness.paths import StudyPaths
from harness.scheduler import Scheduler

log = logging.getLogger(__name__)

POLL_S = 0.25
"""How often placement groups are looked at: the resolution of an allocation's begin and end."""


@contextmanager
def tune_backend(config: StudyConfig, paths: StudyPaths, address: str | None) -> Iterator[Backend]:
    """A Ray of our own on this machine, or the running one at ``address``.

    Raises ``InputError`` where none answers there, or one job wants more than the cluster has.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    with own_ray() if address in (None, "local") else joined_ray(address):
        device, capacity = _capacity(config.resources.device)
        check_share(device, config.resources.devices_per_job)
        shape = {"CPU": config.resources.devices_per_job}
        if device == "cuda":
            shape = {"CPU": config.resources.cpus_per_job, "GPU": config.resources.devices_per_job}
        available = ray.cluster_resources()
        slots = sum(
            int(min(node["Resources"].get(name, 0) / amount for name, amount in shape.items()))
            for node in ray.nodes()
            if node["Alive"]
        )
        if slots < 1:
            raise InputError(
                f"resources: one job wants {_short(shape)} on one node, the cluster has {_short(available)}; "
                "lower devices_per_job or cpus_per_job"
            )

        def run(scheduler: Scheduler, session: str, ledger: LedgerWriter) -> None:
            place = {
                "root": str(paths.root),
                "session": session,
                "dataset": config.dataset.model_dump(),
                "export": config.export.model_dump(),
                "device": device,
            }
            with _watched_allocations(ledger, session, device):
                _fit(_JobSearcher(scheduler, place), shape, slots, config.resources.max_attempts, paths, device)

        yield Backend(capacity, run)


def _capacity(wanted: str) -> tuple[str, list[dict[str, Any]]]:
    """The device kind a study runs on, and the cluster's devices of that kind, as the ledger records them."""
    device = choose_device(wanted, ray.cluster_resources().get("GPU", 0))
    resource = "CPU" if device == "cpu" else "GPU"
    capacity = []
    for node in ray.nodes():
        amount = node["Resources"].get(resource, 0) if node["Alive"] else 0
        if amount:
            strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(num_cpus=0, num_gpus=0, scheduling_strategy=strategy)(_node_capacity)
            capacity += ray.get(task.remote(device, amount, _node_name(node["NodeID"])))
    return device, capacity


def _fit(
    searcher: _JobSearcher, shape: dict[str, float], slots: int, max_attempts: int, paths: StudyPaths, device: str
) -> None:
    """Run the searcher's jobs as trials of one Tuner until it is finished or the run is interrupted."""
    tuner = tune.Tuner(
        tune.with_resources(_trainable, tune.PlacementGroupFactory([shape])),
        tune_config=TuneConfig(
            # One trial more than fits, so that a freed device finds its next job waiting.
            search_alg=ConcurrencyLimiter(searcher, max_concurrent=slots + 1),
            num_samples=-1,
            reuse_actors=device == "cpu",
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=RunConfig(
            name="trials",
            storage_path=str(paths.tune),
            verbose=0,
            failure_config=FailureConfig(max_failures=max_attempts - 1),
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(paths.tune, ignore_errors=True)


class _JobSearcher(Searcher):
    """Turns the scheduler's jobs into trials, and completed trials into outcomes."""

    def __init__(self, scheduler: Scheduler, place: dict[str, Any]) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._place = place
        self._running: dict[str, Job] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: the Tuner pickles its search algorithm for a restore that never comes; the ledger is the truth."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        answer = self._scheduler.next()
        if isinstance(answer, Wait):
            return None
        if isinstance(answer, Done):
            return Searcher.FINISHED
        self._running[trial_id] = answer
        return {
            "job": json.dumps(asdict(answer)),
            "place": json.dumps({**self._place, "given": asdict(self._scheduler.given(answer))}),
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self._running.pop(trial_id, None)
        if job is None:
            return
        if error or not result or "outcome" not in result:
            self._scheduler.tell(
                job, Outcome(ok=False, reason="every attempt ended in an error; the ledger has them", final=False)
            )
        else:
            self._scheduler.tell(job, Outcome(**json.loads(result["outcome"])))

    def save(self, checkpoint_path: str) -> None:
        """Ray's snapshots are not read; the file is there because Ray looks for it."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """See :meth:`save`."""


def _trainable(config: dict[str, Any]) -> None:
    place = json.loads(config["place"])
    job = Job(**json.loads(config["job"]))
    workplace = Workplace(
        StudyPaths(Path(place["root"])),
        place["session"],
        DatasetConfig(**place["dataset"]),
        _held(place["device"]),
        ExportConfig(**place["export"]),
        Given(**place["given"]),
    )
    outcome = execute(job, workplace)
    tune.report({"outcome": json.dumps(asdict(outcome))})


def _held(device: str) -> Held:
    """What Ray gave to this process: its assigned resources and GPU ids, never CUDA_VISIBLE_DEVICES alone."""
    context = ray.get_runtime_context()
    assigned = context.get_assigned_resources()
    cpus = _assigned(assigned, "CPU")
    group = ray.util.get_current_placement_group()
    allocation = group.id.hex() if group is not None else None
    if device == "cpu":
        return Held("cpu", {cpu_device(_node_name(context.get_node_id())): cpus}, max(1, int(cpus)), allocation)
    ids = ray.get_gpu_ids()
    share = _assigned(assigned, "GPU") / max(1, len(ids))
    return Held("cuda:0", {cuda_device(i): share for i in range(len(ids))}, max(1, int(cpus)), allocation)


def _assigned(assigned: dict[str, float], resource: str) -> float:
    """The amount of ``resource``, also where Ray lists it under the placement group's name (``CPU_group_…``)."""
    if resource in assigned:
        return float(assigned[resource])
    grouped = [float(v) for k, v in assigned.items() if k.startswith(f"{resource}_group_")]
    return max(grouped, default=0.0)


def _node_capacity(device: str, amount: float, node: str) -> list[dict[str, Any]]:
    """Runs on the node itself."""
    devices = local_capacity(device, amount)
    if device == "cpu":
        devices[0]["device"] = cpu_device(node)
    return [{**entry, "node": node} for entry in devices]


def _node_name(node_id: str) -> str:
    """Host and node id: several Ray nodes can share a host, and a study several sessions."""
    for node in ray.nodes():
        if node["NodeID"] == node_id:
            return f"{node['NodeManagerHostname']}-{node_id[:6]}"
    return f"{socket.gethostname()}-{node_id[:6]}"


@contextmanager
def _watched_allocations(ledger: LedgerWriter, session: str, device: str) -> Iterator[None]:
    """Note every placement group's begin and end in the ledger while the block runs."""
    stop = threading.Event()
    foreign = set(placement_group_table())  # other people's, on a shared cluster
    held: set[str] = set()

    def look() -> None:
        for allocation, entry in placement_group_table().items():
            if allocation in foreign:
                continue
            if entry["state"] == "CREATED" and allocation not in held:
                held.add(allocation)
                devices = _bundle_devices(entry, device)
                ledger.append(Kind.ALLOCATION_OPENED, session=session, allocation=allocation, devices=devices)
            elif entry["state"] == "REMOVED" and allocation in held:
                held.discard(allocation)
                ledger.append(Kind.ALLOCATION_CLOSED, session=session, allocation=allocation)

    def watch() -> None:
        while not stop.wait(POLL_S):
            try:
                look()
            except (ray.exceptions.RayError, RuntimeError, OSError):  # the next look, a moment later, makes up for it
                log.warning("placement groups could not be looked at", exc_info=True)

    thread = threading.Thread(target=watch, name="allocations", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        look()
        for allocation in sorted(held):
            ledger.append(Kind.ALLOCATION_CLOSED, session=session, allocation=allocation)


def _bundle_devices(entry: dict[str, Any], device: str) -> dict[str, float]:
    """What a placement group holds, by device. GPUs are named by the attempt itself, which sees their UUIDs."""
    if device == "cuda":
        return {}
    devices: dict[str, float] = {}
    for index, bundle in entry["bundles"].items():
        name = cpu_device(_node_name(entry["bundles_to_node_id"][index]))
        devices[name] = devices.get(name, 0.0) + float(bundle.get("CPU", 0))
    return devices


def _short(resources: dict[str, float]) -> str:
    return " and ".join(f"{resources.get(k, 0):g} {k}" for k in ("CPU", "GPU") if k in resources)
