"""One study, from config to report. Read this first.

A study is a folder. ``run_study`` checks everything that can be checked, opens a session in the ledger, lets the routes
propose jobs until they are done, and builds the report. Running it again on the same folder resumes: the routes are made
anew and replayed against the ledger, so whatever has an outcome is told instead of run (``harness/scheduler.py``). Where
the jobs run is the backend's matter: Ray Tune (``harness/tune.py``) or this process (``harness/inline.py``). What a job
does is ``harness/execute.py``; what it learns with is ``harness/training.py``.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from accounting.ledger import LedgerWriter, read_ledger
from accounting.records import Kind
from harness.backend import Backend
from harness.config import StudyConfig, parse_config
from harness.devices import choose_device
from harness.environment import environment
from harness.errors import InputError, StudyFailed
from harness.inline import inline_backend
from harness.latency_target import resolve_targets
from harness.models import checkpoint_path
from harness.paths import StudyPaths, replacing
from harness.progress import Progress
from harness.scheduler import Scheduler
from harness.validation import check_study, make_routes
from reports.page import build_report

log = logging.getLogger(__name__)

BackendName = Literal["tune", "inline"]


@dataclass(frozen=True)
class Launch:
    """How a study is launched: where its jobs run, when the command began, and how it was called."""

    backend: BackendName = "tune"
    address: str | None = None
    begin_t: float | None = None
    command: tuple[str, ...] = ()


def run_study(config: StudyConfig, folder: Path, launch: Launch, progress: Progress) -> Path:
    """Run or resume the study in ``folder`` and give the path of its page.

    Raises ``InputError`` before anything is written, ``StudyFailed`` where the study was cut short.
    """
    begin_t = launch.begin_t or time.time()
    paths = StudyPaths(folder.resolve())
    config = resolve_targets(_absolute(config), stored_config(paths) if paths.config.exists() else None)
    check_folder(config, paths)
    if launch.address is None:
        choose_device(config.resources.device, torch.cuda.device_count())
    view = check_study(config, need_data=True)
    routes = [route for replicate in range(config.replicates) for route in make_routes(view, replicate)]
    facts = environment(list(launch.command))
    session = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(begin_t))}-{uuid.uuid4().hex[:6]}"
    with _backend(config, paths, launch) as backend, _locked(paths):
        _write_study(config, facts, paths)
        with progress.shown(paths.root), LedgerWriter(paths.ledger, session, "driver") as ledger:
            ledger.append(
                Kind.SESSION_OPENED,
                t=begin_t,
                session=session,
                study=config.name,
                capacity=backend.capacity,
                environment=facts,
            )
            scheduler = Scheduler(routes, paths, ledger, session, config.budget)
            try:
                backend.run(scheduler, session, ledger)
            finally:
                reason = "done" if scheduler.finished else "interrupted"
                ledger.append(Kind.SESSION_CLOSED, session=session, reason=reason)
        if not scheduler.finished:
            raise StudyFailed(f"the study was interrupted; run the same command again to go on with {paths.root}")
        page = build_report(paths.root)
    if scheduler.stopped:
        log.warning("%d jobs were not run, since the budget of their route is spent", len(scheduler.stopped))
    if scheduler.failed:
        job, reason = next(iter(scheduler.failed.items()))
        raise StudyFailed(
            f"{len(scheduler.failed)} jobs failed, the first {job}: {reason}; what there is stands in {page}"
        )
    if missing := scheduler.undelivered(config.targets):
        raise StudyFailed(
            f"no network was delivered by {'; '.join(missing)}: no candidate within it could be trained; "
            f"what there is stands in {page}"
        )
    return page


def check_folder(config: StudyConfig, paths: StudyPaths) -> None:
    """``InputError`` unless ``paths`` is free for a new study or holds this one; budget and resources may differ."""
    for parent in (paths.root, *paths.root.parents):
        if parent.exists():
            if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
                raise InputError(f"{parent} is not a folder that can be written to; name another with --out")
            break
    if not paths.root.exists() or not any(p for p in paths.root.iterdir() if p.name != ".lock" and p.suffix != ".part"):
        return
    if not paths.config.exists():
        raise InputError(f"{paths.root} holds other files and no study; name another folder with --out")
    held = stored_config(paths)
    differ = sorted(
        key for key in StudyConfig.model_fields
        if key not in ("budget", "resources") and getattr(held, key) != getattr(config, key)
    )  # fmt: skip
    if differ:
        raise InputError(
            f"{paths.root} holds another study: {', '.join(differ)} differ from its study.yaml; "
            "name another folder with --out, or make them equal to resume"
        )
    read_ledger(paths.ledger)


def stored_config(paths: StudyPaths) -> StudyConfig:
    """The config of the study in a folder; ``InputError`` if there is none."""
    try:
        raw: Any = yaml.safe_load(paths.config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{paths.root} is no study: it has no study.yaml; name a folder that `run` made") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{paths.config} cannot be read: {' '.join(str(error).split())}") from None
    study = raw.get("study") if isinstance(raw, dict) else raw
    if isinstance(study, dict) and isinstance(study.get("budget"), dict):  # written resolved, as device-hours
        hours = {route: f"{h:.12f} h" if isinstance(h, float) else h for route, h in study["budget"].items()}
        study = {**study, "budget": hours}
    return parse_config(study, str(paths.config))


def _backend(config: StudyConfig, paths: StudyPaths, launch: Launch) -> AbstractContextManager[Backend]:
    """Opened before anything is written, so that what is wrong with it leaves no study behind."""
    if launch.backend == "inline":
        return inline_backend(config, paths)
    from harness.tune import tune_backend  # Ray is imported only where it runs

    return tune_backend(config, paths, launch.address)


def _absolute(config: StudyConfig) -> StudyConfig:
    """Paths made absolute, since jobs run in other working folders."""
    dataset, parent = config.dataset, config.parent
    if dataset.path is not None:
        dataset = dataset.model_copy(update={"path": str(Path(dataset.path).expanduser().resolve())})
    if parent.checkpoint is not None:
        parent = parent.model_copy(update={"checkpoint": str(checkpoint_path(parent.checkpoint))})
    return config.model_copy(update={"dataset": dataset, "parent": parent})


def _write_study(config: StudyConfig, facts: dict[str, Any], paths: StudyPaths) -> None:
    text = yaml.safe_dump(
        {"study": config.model_dump(mode="json"), "environment": facts}, sort_keys=False, allow_unicode=True
    )
    with replacing(paths.config) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def _locked(paths: StudyPaths) -> Iterator[None]:
    """Hold the study for one driver; the system lets go of it when the process dies, however it dies."""
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        file = paths.lock.open("w")
    except OSError as error:
        raise InputError(
            f"{paths.root} cannot be written to ({error.strerror}); name another folder with --out"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{paths.root} is in use by another run; wait for it or name another folder") from None
        yield
