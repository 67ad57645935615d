"""Runs a study's jobs one after another in this process, without Ray: for tests, debugging and very small studies."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch

from accounting.ledger.presence import presence_of
from accounting.ledger.sampler import Sampler, beating
from accounting.ledger.store import LedgerWriter
from accounting.meters.node import node_reader
from accounting.study.folder import StudyFolder
from accounting.study.plugins import in_use
from harness.backends.base import Backend
from harness.config.phases import checked_shapes
from harness.config.resources import JobShape
from harness.config.study import StudyConfig
from harness.cores import num_cores
from harness.devices import Held, choose_device, cpu_device, cuda_device, local_capacity
from harness.errors import InputError, disk_problem, typed_line
from harness.gpu_models import check_pinned, of_models
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.scheduling.scheduler import Scheduler
from harness.stored.plugin_files import kept
from harness.work.attempt import execute
from harness.work.workplace import Workplace

log = logging.getLogger(__name__)


@contextmanager
def inline_backend(config: StudyConfig, paths: StudyFolder) -> Iterator[Backend]:
    """A backend of this process, on one device (or as many CPU threads as a job gets)."""
    resources = config.resources
    device = choose_device(resources.device, torch.cuda.device_count())
    check_pinned(device, resources.gpu_models)
    # One job runs at a time, so nobody else can have the rest of its device.
    shapes = {
        phase: replace(held, devices=max(1.0, held.devices)) for phase, held in checked_shapes(config, device).items()
    }
    most = max(shape.devices for shape in shapes.values())
    capacity = local_capacity(device, most)[: max(1, int(most)) if device == "cuda" else 1]
    of_models(resources.gpu_models, capacity)
    if device == "cpu" and most > (cores := num_cores()):
        raise InputError(
            f"resources: one job wants {most:g} CPU cores, this process may use {cores}; lower devices_per_job"
        )
    if device == "cpu":
        capacity[0]["device"] = cpu_device(socket.gethostname())
    elif len(capacity) < most:
        raise InputError(
            f"resources: one job wants {most:g} GPUs, there are {len(capacity)} here; lower devices_per_job"
        )

    def run(scheduler: Scheduler, session: str, ledger: LedgerWriter) -> None:
        plugins = kept(in_use(), paths)
        with beating(_sampler(paths, session, ledger)):
            while not isinstance(job := scheduler.next(), Done):
                if isinstance(job, Wait):
                    scheduler.stuck()
                    return
                held = _held(device, shapes[job.phase])
                every_s = resources.checkpoint_every_s
                place = Workplace(paths, session, config.dataset, held, plugins=plugins, checkpoint_every_s=every_s)
                mine = replace(place, given=scheduler.given(job), stop=partial(_why_to_stop, scheduler, job.name))
                scheduler.tell(job, _attempt(job, mine, resources.max_attempts))

    yield Backend(capacity, run)


def _sampler(paths: StudyFolder, session: str, ledger: LedgerWriter) -> Sampler:
    """The sampler of this machine, which writes to this process's ledger segment."""
    node = socket.gethostname()
    presence = presence_of(paths.beats, session, node)
    return Sampler(presence, lambda: ledger, session, node, node_reader(cpu_device(node)))


def _why_to_stop(scheduler: Scheduler, job: str) -> str | None:
    return scheduler.to_stop().get(job)


def _held(device: str, shape: JobShape) -> Held:
    node = socket.gethostname()
    if device == "cpu":
        return Held("cpu", {cpu_device(node): shape.devices}, shape.threads, num_workers=shape.workers, node=node)
    devices = {cuda_device(i): min(1.0, shape.devices) for i in range(shape.workers)}
    threads = max(1, int(shape.cpus) // shape.workers)
    return Held("cuda:0", devices, threads, num_workers=shape.workers, node=node)


def _attempt(job: Job, place: Workplace, max_attempts: int) -> Outcome:
    for number in range(1, max_attempts + 1):
        try:
            return execute(job, place)
        except Exception as error:
            log.exception("attempt %d of %d at %s failed", number, max_attempts, job.name)
            if (full := disk_problem(error)) is not None:
                return Outcome(ok=False, reason=full, final=False, ends_session=True)
            reason = typed_line(error)
    return Outcome(ok=False, reason=reason, final=False)
