"""Runs a study's jobs one after another in this process: no Ray, for tests, debugging and very small studies."""

from __future__ import annotations

import logging

from harness.config import StudyConfig
from harness.devices import Held, choose_device, cpu_device, cuda_device
from harness.execute import Workplace, execute
from harness.jobs import Done, Job, Outcome, Wait
from harness.paths import StudyPaths
from harness.scheduler import Scheduler

log = logging.getLogger(__name__)


def run_inline(scheduler: Scheduler, config: StudyConfig, paths: StudyPaths, session: str, num_gpus: int) -> None:
    """Run until the scheduler is done; an exception is tried again as often as the config allows."""
    import socket

    device = choose_device(config.resources.device, num_gpus)
    amount = config.resources.devices_per_job
    held = (
        Held("cpu", {cpu_device(socket.gethostname()): amount}, max(1, int(amount)))
        if device == "cpu"
        else Held("cuda:0", {cuda_device(0): min(1.0, amount)}, max(1, int(config.resources.cpus_per_job)))
    )
    place = Workplace(paths, session, config.dataset, held)
    while not isinstance(job := scheduler.next(), Done):
        if isinstance(job, Wait):
            raise RuntimeError(
                "every route waits, and no job is running: a route waits for an outcome that cannot come"
            )
        scheduler.tell(job, _attempt(job, place, config.resources.max_attempts))


def _attempt(job: Job, place: Workplace, max_attempts: int) -> Outcome:
    for number in range(1, max_attempts + 1):
        try:
            return execute(job, place)
        except Exception as error:
            log.exception("attempt %d of %d at %s failed", number, max_attempts, job.job)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return Outcome(ok=False, reason=reason)
