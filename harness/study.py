"""One study, from config to report. Read this first.

A study is a folder. ``run_study`` checks everything that can be checked beforehand, opens a session in the ledger, lets the
routes propose jobs until they are done, and builds the report.

Running it again on the same folder resumes the study: the routes start over and are replayed against the ledger, so a job
with a recorded outcome is not run again (``scheduling/scheduler.py``). With a changed config it extends the study, as long
as the work already paid for stays valid (``stored/extension.py``). The plan is stored in the folder (``keep_plan.py``).

A backend runs the jobs: Ray Tune (``backends/tune.py``) or this process (``backends/inline.py``). ``work/attempt.py`` is one
attempt at a job, and ``training/loop.py`` trains.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from accounting.ledger.compacted import compact
from accounting.ledger.index import open_index, read_index, sessions_in
from accounting.ledger.presence import presences
from accounting.ledger.records import DeviceRecord, Kind
from accounting.ledger.store import LedgerWriter
from accounting.ledger.undelivered import Undelivered
from accounting.study.folder import StudyFolder
from accounting.study.plugins import PluginFile
from accounting.words.plain_text import plain
from harness.backends import signals
from harness.backends.base import Backend
from harness.backends.held_note import close_left_open
from harness.backends.inline import inline_backend
from harness.config.phases import compiled_phases, warnings
from harness.config.plugin_files import use_listed
from harness.config.study import StudyConfig
from harness.console import terminal
from harness.console.endings import check_ending, left_by_budget
from harness.console.events import executes, prepares, rehearses, stopped
from harness.console.outlook import Expect
from harness.console.progress import Progress
from harness.data.image_folder import PARTS
from harness.devices import choose_device
from harness.environment import account, environment
from harness.errors import InputError, StudyFailed
from harness.jobs.files import forget_states
from harness.jobs.job import Job, Route
from harness.jobs.teachers import check_published
from harness.jobs.work import Train, TrainSupernet
from harness.keep_plan import keep_plan
from harness.latency.target import resolve_targets
from harness.loggers.feed import logged
from harness.plan import NOMINAL, expected_jobs, forecast_of
from harness.planning.can_compile import check_compiles
from harness.rehearsal import rehearsed
from harness.routes.base import View
from harness.scheduling.forecast import Forecast
from harness.scheduling.scheduler import Scheduler, open_scheduler
from harness.stored.content import Content, content_changes, content_of
from harness.stored.extension import listed
from harness.stored.folder import State, check_apart, check_places, locked, refuse_second_driver, state_of
from harness.stored.keeping import kept_in_store
from harness.stored.object_store import ObjectStore
from harness.stored.study_file import Standing, absolute, check_devices, check_folder, stored_config, write_study
from harness.validation import check_declared, check_loggers, check_study, make_routes
from reports.page.build import build_report, check_replaceable

log = logging.getLogger(__name__)

BackendName = Literal["tune", "inline"]


@dataclass(frozen=True)
class Launch:
    """How a study is launched.

    ``backend`` and ``address`` say where its jobs run. The command ``command`` began at ``begin_t`` (Unix seconds).
    """

    backend: BackendName = "tune"
    address: str | None = None
    begin_t: float | None = None
    command: tuple[str, ...] = ()
    rehearse: bool = False
    """Whether to run a rehearsal, a study cut down to minutes (:mod:`harness.rehearsal`)."""


def run_study(config: StudyConfig, folder: Path, launch: Launch, progress: Progress) -> Path:
    """Run, resume or extend the study in ``folder``, and return the path of its report page.

    Raises:
        InputError: the config, the data or the folder cannot be used; nothing has been written.
        StudyFailed: the study ended early; running it again continues.

    """
    with signals.handled():
        return _run(config, folder, launch, progress)


@dataclass(frozen=True)
class _Ready:
    """A study of which everything was checked that can be checked beforehand; nothing is written yet.

    ``seen`` is the state of its folder then. ``files`` are the user's plug-ins, and ``expect`` gives the planned jobs.
    """

    paths: StudyFolder
    seen: State
    standing: Standing
    view: View
    loggers: list[str]
    content: Content
    routes: list[Route]
    files: Sequence[PluginFile]
    expect: Expect


def _run(config: StudyConfig, folder: Path, launch: Launch, progress: Progress) -> Path:
    begin_t = launch.begin_t or time.time()
    ready = _ready(config, folder, launch, progress)
    paths, standing, config = ready.paths, ready.standing, ready.standing.config
    facts = environment(list(launch.command))
    session = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(begin_t))}-{uuid.uuid4().hex[:6]}"
    with locked(paths, ready.seen), _backend(config, paths, launch) as backend, _told_at_once():
        check_devices(standing, backend.capacity, config.resources.gpu_models)
        check_declared(config, backend.unit.device_kind)
        compiles = " (compiles networks to time them, which takes minutes)" if compiled_phases(config) else ""
        progress.tell(prepares(f"all is checked, devices are there: plans the study{compiles}, then begins"))
        if standing.is_new:
            # Before study.yaml, so a study.yaml without a ledger means that the ledger was lost.
            open_index(paths.ledger)
            write_study(standing, ready.content, facts, paths)
        keep_plan(ready.view, standing, backend.capacity, session, paths)
        for file in ready.files:
            progress.tell(executes(file))
        with (
            progress.shown(paths.root, ready.expect),
            logged(config, ready.loggers, paths),
            kept_in_store(config.store, paths, session),
            presences(paths.beats),
            LedgerWriter(paths.ledger, session, "driver") as ledger,
        ):
            _record_begin(ready, facts, backend, session, begin_t, ledger)
            close_left_open(paths, ledger)
            if not standing.is_new:  # only after the changes are on record, so none can be lost
                if standing.changes:
                    changes = [change.as_dict() for change in standing.changes]
                    ledger.append(Kind.STUDY_EXTENDED, session=session, changes=changes)
                write_study(standing, ready.content, facts, paths)
            device = "cuda" if any(entry["device_kind"] == "cuda" for entry in backend.capacity) else "cpu"
            scheduler = open_scheduler(
                ready.routes,
                config.budget,
                paths,
                ledger,
                session,
                lambda job: progress.tell(stopped(job)),
                ready.content.data,
                _forecast(ready.view, backend.capacity),
                partial(_within_epoch_s, config, device),
            )
            left = _worked_off(scheduler, ready, backend, session, ledger)
        if scheduler.ended is not None:
            raise StudyFailed(scheduler.ended)
        if not scheduler.finished:
            raise StudyFailed(f"the study was interrupted; run the same command again to continue {paths.root}")
        if not scheduler.stopped:  # with a larger budget, candidates would continue from there
            forget_states(paths)
        with suppress(OSError):  # what is not compacted is read line by line
            compact(paths.ledger, paths.compacted)
        page = build_report(paths.root)
    check_ending(scheduler, config.targets, left, backend.unit, page)
    return page


def _ready(config: StudyConfig, folder: Path, launch: Launch, progress: Progress) -> _Ready:
    """Check the study, its folder and its data; ``InputError`` for what cannot be used."""
    paths = StudyFolder(folder.resolve())
    refuse_second_driver(paths)
    seen = state_of(paths)
    files = use_listed(config.plugins)
    config, rehearsal = absolute(config), None
    if launch.rehearse:
        rehearsal = rehearsed(config, is_here=launch.address is None)
        config = rehearsal.config
        for event in rehearses(rehearsal.changes):
            progress.tell(event)
    config = resolve_targets(config, stored_config(paths) if paths.config.exists() else None)
    standing = check_folder(config, paths, None if rehearsal is None else rehearsal.changes)
    config = standing.config
    check_places(paths)
    check_apart(paths, config.dataset.path, PARTS)
    check_replaceable(paths.report)
    if launch.address is None:
        check_compiles(config, choose_device(config.resources.device, torch.cuda.device_count()))
    view = replace(check_study(config, need_data=True), searched=standing.searched)
    if standing.is_new:
        check_published(config, view.teachers)
    notes = [f"data: {plain(note)}" for note in view.info.notes]
    for line in (*notes, *warnings(config, view.info.num_train)) if standing.is_new else ():
        log.warning("%s", line)
    loggers = check_loggers(config)
    if config.store is not None:
        store, index = ObjectStore(config.store.url), read_index(paths.ledger)
        store.check(paths.root)
        store.check_owner(None if index is None else index.ledger)
    content = _checked_content(standing, paths)
    routes = [route for replicate in range(config.replicates) for route in make_routes(view, replicate)]
    expect = partial(expected_jobs, view, config.resources.device)
    if config.routes.outside:
        expect()  # a user's own route that fails does so before anything is paid for
    return _Ready(paths, seen, standing, view, loggers, content, routes, files, expect)


def _record_begin(
    ready: _Ready,
    facts: dict[str, object],
    backend: Backend,
    session: str,
    begin_t: float,
    ledger: LedgerWriter,
) -> None:
    """Open the session in the ledger."""
    standing, said = ready.standing, dict[str, object]()
    if standing.rehearsal is not None:
        said["rehearsal"] = list(standing.rehearsal)
    if (equivalence := standing.config.resources.equivalence).models:
        said["equivalent"] = equivalence.as_dict()
    if earlier := [name for name in sessions_in(read_index(ready.paths.ledger)) if name != session]:
        said["after"] = earlier[-1]
    ledger.append(
        Kind.SESSION_OPENED,
        t=begin_t,
        session=session,
        study=standing.config.name,
        capacity=backend.capacity,
        environment=facts,
        planned=standing.planned,
        labels=standing.config.labels,
        owner=account(),
        **said,
    )


def _worked_off(
    scheduler: Scheduler, ready: _Ready, backend: Backend, session: str, ledger: LedgerWriter
) -> list[Undelivered]:
    """Run the jobs, close the session in the ledger, and return the networks that budgets left undelivered.

    Raises:
        StudyFailed: the study was interrupted.

    """
    left: list[Undelivered] = []
    try:
        backend.run(scheduler, session, ledger)
        left = left_by_budget(scheduler, ready.standing.config, ready.expect, ready.paths)
    except signals.Interrupted as error:
        raise StudyFailed(
            f"the study was interrupted ({error}); run the same command again to continue {ready.paths.root}"
        ) from None
    finally:
        reason = "done" if scheduler.finished else "interrupted"
        closed = partial(ledger.append, Kind.SESSION_CLOSED, session=session, reason=reason)
        if left:
            closed(undelivered=[each.as_record() for each in left])
        else:
            closed()
    return left


def _forecast(view: View, capacity: Sequence[DeviceRecord]) -> Forecast | None:
    """A forecast of job costs from a nominal plan and the pace of finished jobs; None if no route has a budget."""
    if all(limit_h is None for limit_h in view.config.budget.model_dump().values()):
        return None
    is_cuda = any(entry["device_kind"] == "cuda" for entry in capacity)
    return forecast_of(view, NOMINAL, "cuda" if is_cuda else "cpu")


def _within_epoch_s(config: StudyConfig, device: str, job: Job) -> float:
    """Device-seconds between two checkpoints of a job within an epoch; infinite if it has none there."""
    every_s, shape = config.resources.checkpoint_every_s, config.resources.shape(job.phase, device)
    if every_s is None or not isinstance(job.work, Train | TrainSupernet):
        return math.inf
    return every_s * shape.devices if shape.workers == 1 or job.work.recipe.sync_batch_norm else math.inf


@contextmanager
def _told_at_once() -> Iterator[None]:
    """Print why a study ends before its backend shuts down: Ray, once its processes are gone, may end this one silently."""
    try:
        yield
    except StudyFailed as error:
        terminal.complain(f"error: {error}")
        error.is_told = True
        raise


def _checked_content(standing: Standing, paths: StudyFolder) -> Content:
    """The current data and weights; ``InputError`` if attempts were already paid for with different ones."""
    content = content_of(standing.config)
    if standing.is_begun and content.data is not None and standing.content.data is None:
        log.warning(
            "%s did not say what its data was; its content was noted now, for later runs to compare", paths.root
        )
    if lines := content_changes(standing.content, content):
        raise InputError(f"{paths.root} has a study with other content:\n" + listed(lines))
    return content


def _backend(config: StudyConfig, paths: StudyFolder, launch: Launch) -> AbstractContextManager[Backend]:
    """The backend, to be opened before anything is written: if it cannot be, no study is left behind."""
    if launch.backend == "inline":
        return inline_backend(config, paths)
    from harness.backends.tune import tune_backend  # Ray is imported only where it runs

    return tune_backend(config, paths, launch.address)
