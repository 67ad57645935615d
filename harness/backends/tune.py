"""The Ray Tune adapter: one Tuner runs the jobs of all routes, and placement groups say what was held how long.

Facts of Ray that shape this file (measured on 2.60): two Tuners in one driver fail, so a Searcher multiplexes the routes;
without ConcurrencyLimiter only one trial is ever pending; a trial's hooks fire seconds after its placement group was
created, so the time held is read from the placement groups themselves (``harness/backends/allocations.py``).

Failed attempts are tried again here and not by Tune (``max_failures=0``): the searcher proposes the job again, as a new
trial. Tune retries some errors only, does not say which attempt it was, and ends ``Tuner.fit`` altogether on others, such as
``OutOfMemoryError`` of Ray's memory monitor; here every way in which a worker can be lost is one lost attempt, and counts,
but that a preempted node is nobody's fault. For that, errors that Tune's actor manager does not know are given to it as the
death of the actor that they are (:func:`_every_loss_is_an_actor_error`).

``Tuner.fit`` runs in a thread: the main thread stays free for signals, and for noticing that Ray died.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import pickle
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.tune import Callback, FailureConfig, RunConfig, Stopper, TuneConfig
from ray.tune.search import ConcurrencyLimiter, Searcher

from accounting.ledger.store import LedgerWriter
from harness.backends import own_ray, signals
from harness.backends.allocations import Allocations, Nodes, allocation_name, node_name
from harness.backends.background import run_beside
from harness.backends.base import Backend
from harness.backends.join_ray import joined_ray
from harness.config.study import DatasetConfig, StudyConfig
from harness.devices import Held, check_share, choose_device, cpu_device, cuda_device, local_capacity
from harness.errors import InputError, StudyFailed, one_line
from harness.jobs.files import Given
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.paths import StudyPaths
from harness.scheduling.scheduler import Scheduler
from harness.work import liveness
from harness.work.attempt import Workplace, execute

log = logging.getLogger(__name__)

RELEASE_S = 4.0
"""How long workers may take to end when a run is interrupted."""


@contextmanager
def tune_backend(config: StudyConfig, paths: StudyPaths, address: str | None) -> Iterator[Backend]:
    """A Ray of our own on this machine, or the running one at ``address``.

    Raises ``InputError`` where none answers there, or one job wants more than the cluster has.
    """
    is_own = address in (None, "local")
    with own_ray.own_ray() if is_own else joined_ray(str(address)):
        device, capacity = _capacity(config.resources.device)
        check_share(device, config.resources.devices_per_job)
        shape = {"CPU": config.resources.devices_per_job}
        if device == "cuda":
            shape = {"CPU": config.resources.cpus_per_job, "GPU": config.resources.devices_per_job}
        slots = _slots({node_name(node): node for node in ray.nodes() if node["Alive"]}, shape)
        if slots < 1:
            raise InputError(
                f"resources: one job wants {_short(shape)} on one node, the cluster has {_short(ray.cluster_resources())}; "
                "lower devices_per_job or cpus_per_job"
            )

        def run(scheduler: Scheduler, session: str, ledger: LedgerWriter) -> None:
            place = {
                "root": str(paths.root),
                "session": session,
                "dataset": config.dataset.model_dump(exclude_unset=True),
                "device": device,
            }
            searcher = _JobSearcher(scheduler, place, config.resources.max_attempts)
            limiter = ConcurrencyLimiter(searcher, max_concurrent=slots + 1)
            allocations = Allocations(ledger, session, device, capacity, lambda node: _devices_of(device, node))

            def follow(nodes: Nodes) -> None:
                # One trial more than fits, so that a freed device finds its next job waiting.
                limiter.max_concurrent = max(1, _slots(nodes, shape)) + 1

            allocations.on_nodes = follow
            with allocations.watched(), liveness.session_file(paths.root, session):
                _run_beside(lambda: _fit(limiter, searcher, shape, paths, device), searcher, allocations, is_own, paths)

        yield Backend(capacity, run)


def _run_beside(fit: Any, searcher: _JobSearcher, allocations: Allocations, is_own: bool, paths: StudyPaths) -> None:
    """Run ``fit`` until it is done, a signal comes, or Ray dies; in both of the latter stop all work first."""

    def check() -> None:
        signals.check()
        dead = own_ray.dead_processes() if is_own else []
        lost = f"Ray's {dead[0]} died" if dead else allocations.lost()
        if lost:
            raise StudyFailed(f"{lost}; run the same command again to go on with {paths.root}")

    over = threading.Event()
    try:
        run_beside(fit, "Ray Tune", check=check, until=over)
    except BaseException:
        searcher.stopped.set()
        _leave_without_ray()
        if is_own:
            own_ray.kill_workers()
        allocations.release(RELEASE_S)
        raise
    finally:
        over.set()


def _leave_without_ray() -> None:
    """End this process, when it ends, without the exit handlers of a Ray that may be dead or in the middle of something."""
    own_ray.mute()

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(1)

    atexit.register(leave)


def _slots(nodes: Nodes, shape: dict[str, float]) -> int:
    """How many jobs fit on the nodes at the same time."""
    return sum(
        int(min(node["Resources"].get(name, 0) / amount for name, amount in shape.items())) for node in nodes.values()
    )


def _capacity(wanted: str) -> tuple[str, list[dict[str, Any]]]:
    """The device kind a study runs on, and the cluster's devices of that kind, as the ledger records them."""
    device = choose_device(wanted, ray.cluster_resources().get("GPU", 0))
    resource = "CPU" if device == "cpu" else "GPU"
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(resource, 0)]
    return device, [entry for node in nodes for entry in _devices_of(device, node)]


def _devices_of(device: str, node: dict[str, Any]) -> list[dict[str, Any]]:
    """The devices of one node, as it tells them itself."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(num_cpus=0, num_gpus=0, scheduling_strategy=strategy)(_node_capacity)
    amount = node["Resources"]["CPU" if device == "cpu" else "GPU"]
    found: list[dict[str, Any]] = ray.get(task.remote(device, amount, node_name(node)))
    return found


def _fit(
    limiter: ConcurrencyLimiter, searcher: _JobSearcher, shape: dict[str, float], paths: StudyPaths, device: str
) -> None:
    """Run the searcher's jobs as trials of one Tuner until it is finished or the run is interrupted."""
    tuner = tune.Tuner(
        tune.with_resources(_trainable, tune.PlacementGroupFactory([shape])),
        tune_config=TuneConfig(
            search_alg=limiter,
            num_samples=-1,
            reuse_actors=device == "cpu",
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=RunConfig(
            name="trials",
            storage_path=str(paths.tune),
            verbose=0,
            failure_config=FailureConfig(max_failures=0),
            callbacks=[_Errors(searcher)],
            stop=_Stop(searcher.stopped),
        ),
    )
    try:
        with _every_loss_is_an_actor_error():
            tuner.fit()
    finally:
        shutil.rmtree(paths.tune, ignore_errors=True)


class _WorkerLost(ray.exceptions.RayActorError):
    """The death of a worker, in the words of the error that told it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.line = f"{type(error).__name__}: {one_line(error)}"

    def __str__(self) -> str:
        return self.line


@contextmanager
def _every_loss_is_an_actor_error() -> Iterator[None]:
    """Have Tune treat every error of Ray as it treats the death of an actor, instead of ending on those it does not know."""
    plain = RayActorManager._actor_task_failed

    def failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        known = (ray.exceptions.RayActorError, ray.exceptions.RayTaskError)
        is_loss = isinstance(exception, ray.exceptions.RayError) and not isinstance(exception, known)
        plain(self, tracked_actor_task, _WorkerLost(exception) if is_loss else exception)

    RayActorManager._actor_task_failed = failed
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = plain


class _Stop(Stopper):
    """Ends Tune's loop when the run is interrupted."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: see :class:`_JobSearcher`."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this trial is to be stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether all are."""
        return self._stopped.is_set()


class _Errors(Callback):
    """Tells the searcher why a trial failed, which Tune does not."""

    def __init__(self, searcher: _JobSearcher) -> None:
        self._searcher = searcher

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: see :class:`_JobSearcher`."""
        return {}

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """See Ray Tune; called after the searcher's ``on_trial_complete``."""
        self._searcher.on_error(trial.trial_id, _error_of(trial))


def _error_of(trial: Any) -> BaseException | None:
    """The error that ended the trial. Tune keeps it in a local file, and reads it only from where that is copied later."""
    try:
        error = pickle.loads(Path(trial.pickled_error_file).read_bytes())
    except (OSError, TypeError, AttributeError, pickle.UnpicklingError, ImportError, EOFError):
        return None
    return error if isinstance(error, BaseException) else None


class _JobSearcher(Searcher):
    """Turns the scheduler's jobs into trials, completed trials into outcomes, and failed ones into further attempts."""

    def __init__(self, scheduler: Scheduler, place: dict[str, Any], max_attempts: int) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._place = place
        self._max_attempts = max_attempts
        self._running: dict[str, Job] = {}
        self._again: list[Job] = []
        self._failures: dict[str, int] = {}
        """How often each job has failed since the scheduler proposed it."""
        self._since_t: dict[str, float] = {}
        self.stopped = threading.Event()
        """Set when the run is interrupted: nothing new begins, and what ends says nothing about its job."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: the Tuner pickles its search algorithm for a restore that never comes; the ledger is the truth."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """See Ray Tune. A failed job comes first: others may wait for it."""
        if self.stopped.is_set():
            return None
        answer = self._again.pop(0) if self._again else self._scheduler.next()
        if isinstance(answer, Wait):
            return None
        if isinstance(answer, Done):
            return Searcher.FINISHED
        if answer.job not in self._failures:
            self._since_t[answer.job] = time.time()
        self._running[trial_id] = answer
        return {
            "job": json.dumps(asdict(answer)),
            "place": json.dumps(
                {**self._place, "given": asdict(self._scheduler.given(answer)), "since_t": self._since_t[answer.job]}
            ),
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """See Ray Tune; a failed trial waits for :meth:`on_error`."""
        if error or self.stopped.is_set() or trial_id not in self._running:
            return
        if not result or "outcome" not in result:
            self.on_error(trial_id, None)
        else:
            job = self._running.pop(trial_id)
            self._failures.pop(job.job, None)
            self._scheduler.tell(job, Outcome(**json.loads(result["outcome"])))

    def on_error(self, trial_id: str, error: BaseException | None) -> None:
        """Propose the job of a failed trial again, or give it up when its attempts are used up."""
        job = self._running.pop(trial_id, None)
        if job is None or self.stopped.is_set():
            return
        reason = _reason(error)
        number = self._failures.get(job.job, 0) + (not getattr(error, "preempted", False))
        self._failures[job.job] = number
        if number < self._max_attempts:
            log.warning("attempt %d of %d at %s failed: %s", number, self._max_attempts, job.job, reason)
            self._again.append(job)
            return
        del self._failures[job.job]
        self._scheduler.tell(job, Outcome(ok=False, reason=reason, final=False))

    def save(self, checkpoint_path: str) -> None:
        """Ray's snapshots are not read; the file is there because Ray looks for it."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """See :meth:`save`."""


def _reason(error: BaseException | None) -> str:
    """Why an attempt failed, in one line."""
    if error is None:
        return "the worker ended without an outcome"
    cause = getattr(error, "cause", None)
    if isinstance(error, ray.exceptions.RayTaskError) and isinstance(cause, BaseException):
        return f"{type(cause).__name__}: {one_line(cause)}"
    return one_line(error)


def _trainable(config: dict[str, Any]) -> None:
    place = json.loads(config["place"])
    job = Job(**json.loads(config["job"]))
    workplace = Workplace(
        StudyPaths(Path(place["root"])),
        place["session"],
        DatasetConfig(**place["dataset"]),
        _held(place["device"]),
        Given(**place["given"]),
        liveness.WorkerLife(Path(place["root"]), place["session"]),
        place["since_t"],
    )
    outcome = execute(job, workplace)
    tune.report({"outcome": json.dumps(asdict(outcome))})


def _held(device: str) -> Held:
    """What Ray gave to this process: its assigned resources and GPU ids, never CUDA_VISIBLE_DEVICES alone."""
    context = ray.get_runtime_context()
    assigned = context.get_assigned_resources()
    cpus = _assigned(assigned, "CPU")
    group = ray.util.get_current_placement_group()
    node = context.get_node_id()
    allocation = allocation_name(group.id.hex(), node) if group is not None else None
    if device == "cpu":
        return Held("cpu", {cpu_device(_node_name(node)): cpus}, max(1, int(cpus)), allocation)
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
    for node in ray.nodes():
        if node["NodeID"] == node_id:
            return node_name(node)
    return f"{socket.gethostname()}-{node_id[:6]}"


def _short(resources: dict[str, float]) -> str:
    return " and ".join(f"{resources.get(k, 0):g} {k}" for k in ("CPU", "GPU") if k in resources)
