"""The Ray Tune adapter: one Tuner runs the jobs of all routes, and placement groups show what was held for how long.

Facts about Ray that shape this file (measured on 2.60): two Tuners in one driver fail, so a Searcher multiplexes the
routes. Only one trial is ever pending unless an environment variable says otherwise (the searcher has its own limit). A
trial's hooks run seconds after its placement group was created, so the time held is read from the placement groups
themselves (``harness/backends/allocations.py``).

Failed attempts are retried here and not by Tune (``max_failures=0``): the searcher proposes the job again, as a new
trial. Tune retries only some errors, does not say which attempt it was, and ends ``Tuner.fit`` altogether on others,
such as ``OutOfMemoryError`` from Ray's memory monitor. Here every lost worker is one lost attempt and counts as one,
except that a preempted node does not count. ``tune_control.py`` changes Tune for that; ``tune_jobs.py`` has the
searcher.

``Tuner.fit`` runs in a thread, so that the main thread is free for signals and for noticing that Ray died.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from accounting.ledger.records import DeviceRecord
from harness.backends.allocations import Node
from harness.backends.tune_jobs import PlaceOfStudy, TrialConfig

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "1000000"
# By default Ray's workers have niceness 15, so any other process on the machine would lengthen what is metered.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray.tune import FailureConfig, RunConfig, Stopper, TuneConfig

from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import LedgerWriter
from accounting.study.folder import StudyFolder
from accounting.study.plugins import PluginFile, in_use
from harness.backends import own_ray, signals
from harness.backends.allocations import Allocations, Nodes, allocation_name, node_name
from harness.backends.asked_nodes import capacity_of_cluster, devices_of
from harness.backends.background import run_beside
from harness.backends.base import Backend
from harness.backends.held_note import noting
from harness.backends.join_ray import joined_ray
from harness.backends.samplers import Samplers
from harness.backends.tune_control import changed_tune
from harness.backends.tune_jobs import JobSearcher, OtherModel
from harness.backends.used_nodes import UsedNodes
from harness.config.phases import checked_shapes
from harness.config.resources import JobShape
from harness.config.study import DatasetConfig, StudyConfig
from harness.devices import Held, cpu_device, cuda_device, cuda_model
from harness.errors import InputError, StudyFailed
from harness.gpu_models import check_pinned, models_in
from harness.jobs.files import Given
from harness.jobs.spec import from_json
from harness.scheduling.scheduler import Scheduler
from harness.stored.plugin_files import kept
from harness.work import liveness
from harness.work.attempt import execute
from harness.work.stop_notes import StopNotes
from harness.work.workplace import Workplace

log = logging.getLogger(__name__)

T = TypeVar("T")

RELEASE_S = 4.0
"""How long workers may take to end when a run is interrupted."""


@contextmanager
def tune_backend(config: StudyConfig, paths: StudyFolder, address: str | None) -> Iterator[Backend]:
    """A backend on a Ray of our own on this machine, or on the running one at ``address``.

    Raises:
        InputError: none answers there, or one job wants more than the cluster has.

    """
    is_own = address in (None, "local")
    with own_ray.own_ray() if is_own else joined_ray(str(address)) as gone:
        device, found = _ask_beside(lambda: capacity_of_cluster(config.resources.device), is_own, gone)
        check_pinned(device, config.resources.gpu_models)
        nodes = UsedNodes.of(device, found, config.resources.gpu_models)
        shapes = checked_shapes(config, device)
        for shape in shapes.values():
            nodes.check_fit(shape)
        yield Backend(nodes.capacity, _OnRay(config, paths, nodes, shapes, is_own, gone).run)


@dataclass(frozen=True)
class _OnRay:
    """Runs the jobs of a study. ``gone`` is set once Ray must not be asked for anything more."""

    config: StudyConfig
    paths: StudyFolder
    nodes: UsedNodes
    shapes: Mapping[Phase, JobShape]
    is_own: bool
    gone: threading.Event

    def run(self, scheduler: Scheduler, session: str, ledger: LedgerWriter) -> None:
        """See :class:`harness.backends.base.Backend`."""
        searcher = self._searcher(scheduler, session, ledger)
        samplers = Samplers(self.paths, session, self.gone)
        allocations = Allocations(
            ledger, session, self.nodes.device, self.nodes.capacity, partial(self._devices_of, searcher), self.gone
        )
        allocations.ignored |= self.nodes.others.keys()

        def follow(nodes: Nodes) -> None:
            searcher.nodes = nodes
            samplers.follow(nodes)

        allocations.on_nodes = follow
        with (
            noting(self.paths.held_note, session) as allocations.on_held,
            allocations.watched(),
            liveness.session_file(self.paths.root, session),
        ):
            self._run_beside(searcher, allocations, samplers)

    def _searcher(self, scheduler: Scheduler, session: str, ledger: LedgerWriter) -> JobSearcher:
        """The searcher of the scheduler's jobs; none of them is asked to stop yet."""
        place: PlaceOfStudy = {
            "root": str(self.paths.root),
            "session": session,
            "dataset": self.config.dataset.model_dump(exclude_unset=True),
            "device": self.nodes.device,
            "models": list(self.nodes.models),
            "checkpoint_every_s": self.config.resources.checkpoint_every_s,
            "plugins": [file.as_dict() for file in kept(in_use(), self.paths)],
        }

        def lost(job: str, reason: str) -> None:
            ledger.append(Kind.ATTEMPT_LOST, session=session, job=job, reason=reason)

        max_attempts, device = self.config.resources.max_attempts, self.nodes.device
        searcher = JobSearcher(
            scheduler, place, max_attempts, lambda job: self.shapes[job.phase], device, self.nodes.used, lost
        )
        searcher.notes = StopNotes(self.paths)
        searcher.notes.clear()
        searcher.shunned |= {node["NodeID"] for node in self.nodes.others.values()}
        return searcher

    def _devices_of(self, searcher: JobSearcher, node: Node) -> list[DeviceRecord]:
        """The devices of a node that has joined; none, and no job is placed there, if they are of another model."""
        devices, models = devices_of(self.nodes.device, node), self.nodes.models
        if not models or _are_of(models_in(devices), models):
            return devices
        searcher.shunned.add(node["NodeID"])
        log.warning(
            "node %s is not used: it has GPUs of another model (%s) than the study's (%s)",
            node_name(node), ", ".join(models_in(devices)), ", ".join(models),
        )  # fmt: skip
        return []

    def _run_beside(self, searcher: JobSearcher, allocations: Allocations, samplers: Samplers) -> None:
        """Run Tune until it is done, a signal comes, or Ray dies; in the latter two cases all work is stopped first.

        Samplers record what they have seen before the work that they watch is stopped. A Ray that is ``gone`` is asked
        for nothing more, since each request would wait for its time limit.
        """

        def check() -> None:
            signals.check()
            dead = _dead(self.is_own, self.gone)
            lost = f"{dead} died" if dead else allocations.lost()
            if lost:
                raise StudyFailed(f"{lost}; run the same command again to continue {self.paths.root}")

        over = threading.Event()
        try:
            run_beside(
                lambda: _fit(searcher, _trainable, self.paths, self.nodes.device), "Ray Tune", check=check, until=over
            )
            samplers.end()
        except BaseException:
            searcher.stopped.set()
            _leave_without_ray()
            samplers.end()
            if self.is_own:
                own_ray.kill_workers()
            if not self.gone.is_set():
                allocations.release(RELEASE_S)
            raise
        finally:
            over.set()


def _ask_beside(ask: Callable[[], T], is_own: bool, gone: threading.Event) -> T:
    """The nodes' answer. A signal, or the death of our Ray, ends the wait and everything that was started."""

    def check() -> None:
        signals.check()
        if dead := _dead(is_own, gone):
            raise StudyFailed(f"{dead} died while it started; run the same command again")

    try:
        return run_beside(ask, "questions to the nodes", check)
    except InputError:
        raise
    except BaseException:
        _leave_without_ray()
        if is_own:
            own_ray.kill_workers()
        raise


def _dead(is_own: bool, gone: threading.Event) -> str | None:
    """Which main process of our own Ray is dead, or None; if one is, ``gone`` is set."""
    dead = own_ray.dead_processes() if is_own else []
    if not dead:
        return None
    gone.set()
    return f"Ray's {dead[0]}"


def _leave_without_ray() -> None:
    """When this process ends, skip the exit handlers of a Ray that may be dead or busy."""
    own_ray.mute()

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(1)

    atexit.register(leave)


def _fit(
    searcher: JobSearcher,
    trainable: Callable[[TrialConfig], None],
    paths: StudyFolder,
    device: str,
) -> None:
    """Run the searcher's jobs as trials of one Tuner until it is finished or the run is interrupted."""
    tuner = tune.Tuner(
        tune.with_resources(trainable, _placement),
        tune_config=TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            reuse_actors=device == "cpu",
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=RunConfig(
            name="trials",
            storage_path=str(paths.tune),
            verbose=0,
            failure_config=FailureConfig(max_failures=0),
            stop=_Stop(searcher.stopped),
        ),
    )
    try:
        with changed_tune(searcher.failed):
            tuner.fit()
    finally:
        shutil.rmtree(paths.tune, ignore_errors=True)


def _placement(config: dict[Any, Any]) -> tune.PlacementGroupFactory:
    """One bundle, since all of a job's workers are on one node; the attempt is charged for its placement group."""
    held = json.loads(config["held"])
    shunned = json.loads(config["shunned"])
    if not shunned:
        return tune.PlacementGroupFactory([held])
    return tune.PlacementGroupFactory([held], bundle_label_selector=[{"ray.io/node-id": f"!in({','.join(shunned)})"}])


class _Stop(Stopper):
    """Ends Tune's loop when the run is interrupted."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing to pickle: see ``JobSearcher``."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this trial is to be stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether all trials are to be stopped."""
        return self._stopped.is_set()


def _trainable(config: TrialConfig) -> None:
    place = json.loads(config["place"])
    job = from_json(json.loads(config["job"]))
    life = liveness.WorkerLife(Path(place["root"]), place["session"])
    liveness.watch_between_attempts(life)
    workplace = Workplace(
        StudyFolder(Path(place["root"])),
        place["session"],
        DatasetConfig(**place["dataset"]),
        _held(place["device"], place["num_workers"], place["models"]),
        given=Given(**place["given"]),
        life=life,
        since_t=place["since_t"],
        plugins=tuple(PluginFile.from_dict(file) for file in place["plugins"]),
        stop=lambda: StopNotes(StudyFolder(Path(place["root"]))).why(job.name),
        checkpoint_every_s=place["checkpoint_every_s"],
    )
    outcome = execute(job, workplace)
    tune.report({"outcome": json.dumps(asdict(outcome))})


def _are_of(found: Sequence[str], models: Sequence[str]) -> bool:
    """Whether GPUs of these models, of which there are some, may all be held."""
    return bool(found) and set(found) <= set(models)


def _held(device: str, num_workers: int, models: Sequence[str]) -> Held:
    """What Ray gave to this process: its assigned resources and GPU ids, never CUDA_VISIBLE_DEVICES alone.

    Raises:
        OtherModel: the node has just joined, with GPUs of another model than the study's.

    """
    context = ray.get_runtime_context()
    assigned = context.get_assigned_resources()
    cpus = _assigned(assigned, "CPU")
    group = ray.util.get_current_placement_group()
    node = context.get_node_id()
    name = _node_name(node)
    allocation = allocation_name(group.id.hex(), node) if group is not None else None
    threads = max(1, int(cpus) // num_workers)
    if device == "cpu":
        return Held("cpu", {cpu_device(name): cpus}, threads, allocation, num_workers, name)
    ids = ray.get_gpu_ids()
    found = sorted({cuda_model(i) for i in range(len(ids))})
    if models and not _are_of(found, models):
        raise OtherModel(node, f"GPUs of another model ({', '.join(found)}) than the study's ({', '.join(models)})")
    share = _assigned(assigned, "GPU") / max(1, len(ids))
    devices = {cuda_device(i): share for i in range(len(ids))}
    return Held("cuda:0", devices, threads, allocation, num_workers, name)


def _assigned(assigned: dict[str, float], resource: str) -> float:
    """The amount of ``resource``, including amounts that Ray lists under the placement group (``CPU_group_…``)."""
    if resource in assigned:
        return float(assigned[resource])
    grouped = [float(v) for k, v in assigned.items() if k.startswith(f"{resource}_group_")]
    return max(grouped, default=0.0)


def _node_name(node_id: str) -> str:
    for node in ray.nodes():
        if node["NodeID"] == node_id:
            return node_name(node)
    return f"{socket.gethostname()}-{node_id[:6]}"
