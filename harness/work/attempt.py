"""One attempt at a job, in the process that holds the device: run it, meter it, and record it."""

from __future__ import annotations

import contextlib
import time

import torch

from accounting.ledger.heartbeat import signs_of_life
from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.store import shared_writer
from accounting.study import plugins
from accounting.study.folder import StudyFolder
from harness.data.base import closed_after
from harness.data.registry import open_dataset
from harness.data.sized import splits_at
from harness.data.unchanged import DataChanged, check_unchanged
from harness.delivery.costs import NetworkCost, cost_so_far
from harness.delivery.deliver import deliver
from harness.delivery.exports import export
from harness.errors import typed_line
from harness.jobs.files import DamagedFiles, check_sources
from harness.jobs.job import Job, Outcome
from harness.jobs.start import StateOf
from harness.jobs.taken import TakenOver, has_later_attempt, outcome_on_record
from harness.jobs.work import Deliver, Export, Prune, RangeTest, Scan, Score, Train, TrainSupernet
from harness.training.compiled import CannotCompile
from harness.training.loop import Stopped, seed_everything
from harness.training.updates import Diverged
from harness.work.bench import Bench
from harness.work.liveness import watched
from harness.work.peers import Peers, peers_of
from harness.work.prune import prune_network
from harness.work.record import AttemptRecord
from harness.work.scan import scan
from harness.work.shared import shared_work
from harness.work.train import test_rates
from harness.work.workplace import Workplace
from pruning.deadline import MachineTooBusy, NotFollowed
from pruning.recount import MacsDiffer
from pruning.scores import CriterionFails
from pruning.solve import UnreachableTarget


def execute(job: Job, place: Workplace) -> Outcome:
    """Try ``job`` once and return its outcome.

    Failures that would repeat (such as divergence, an unreachable target, or a mistake in a user's own file) are
    returned as a failed outcome. Anything else is recorded in the ledger and raised again, so that the scheduler can
    retry. The job is not started if its outcome is already on record, from an attempt whose node was thought dead. A
    job that is asked to stop (``place.stop``) ends at its next checkpoint.
    """
    plugins.use(place.plugins)
    if (known := outcome_on_record(place.paths.ledger, job.name, place.since_t)) is not None:
        return Outcome(ok=True, metrics=known)
    begin_t = time.time()
    with shared_writer(place.paths.ledger, place.session, "worker") as ledger:
        record = AttemptRecord(job, place, ledger)
        try:
            metrics = _alive(job, place, record)
        except BaseException as error:
            if (outcome := _failure(error)) is None:
                record.failed(typed_line(error))
                raise
            if isinstance(error, DamagedFiles | DataChanged):
                record.failed_before(str(outcome.reason))
            else:
                record.failed(str(outcome.reason), stopped=outcome.stopped)
            return outcome
        if has_later_attempt(place.paths.ledger, job.name, record.attempt, begin_t):
            record.failed("a later attempt at this job has begun")
            raise TakenOver("a later attempt at this job has begun")
        if (known := outcome_on_record(place.paths.ledger, job.name, place.since_t)) is not None:
            record.failed("another attempt at this job was done first")
            return Outcome(ok=True, metrics=known)
        record.succeeded(metrics)
        _forget_resume(job, place.paths)
        return Outcome(ok=True, metrics=metrics)


def _failure(error: BaseException) -> Outcome | None:
    """What an error means for the job; None if another attempt may succeed."""
    match error:
        case Diverged() | UnreachableTarget() | NotFollowed() | MacsDiffer() | CriterionFails() | CannotCompile():
            return Outcome(ok=False, reason=str(error), final=not isinstance(error, MachineTooBusy | CannotCompile))
        case DamagedFiles():
            return Outcome(ok=False, reason=str(error), final=False, damaged=error.source)
        case DataChanged():
            return Outcome(ok=False, reason=str(error), final=False, ends_session=True)
        case Stopped():
            return Outcome(ok=False, reason=str(error), final=False, stopped=True)
        case _:
            fault = plugins.fault(error)
            return None if fault is None else Outcome(ok=False, reason=fault)


def _alive(job: Job, place: Workplace, record: AttemptRecord) -> JobOutcome:
    """Do the job while signs of its life are given, and while it has its place; returns the outcome's metrics."""
    with (
        signs_of_life(record.ledger, record.attempt, place.held.devices, place.presence) as signs,
        peers_of(place.of_peers(job), place.num_workers(job)) as peers,
        watched(peers.life(place.life), record.failed_before),
    ):
        signs.work(peers.pids)
        if place.given is not None:
            check_sources(job, place.paths, place.given)
        return _work(job, place, record, peers)


def _work(job: Job, place: Workplace, record: AttemptRecord, peers: Peers) -> JobOutcome:
    """Do the job's work, together with its other workers if it has any."""
    torch.set_num_threads(place.held.num_threads)
    seed_everything(job.seed, 0)
    dataset, device = open_dataset(place.dataset), torch.device(place.held.torch_device)
    check_unchanged(dataset, None if place.given is None else place.given.data)
    splits = splits_at(dataset.splits(), job.image_size)
    with peers.joined(device) as crew, closed_after(splits):
        bench = Bench(
            job, place.paths, splits, device, record.begun, record.epoch, crew, record.dropped, place.stop, record.saved,
            place.checkpoint_every_s,
        )  # fmt: skip
        return _done(job, place, bench)


def _done(job: Job, place: Workplace, bench: Bench) -> JobOutcome:
    match job.work:
        case Train() | TrainSupernet() | Score() as work:
            return shared_work(work, bench)
        case RangeTest() as work:
            return test_rates(work, bench)
        case Prune() as work:
            return prune_network(work, bench)
        case Scan() as work:
            return scan(work, bench)
        case Deliver() as work:
            bench.begun(0)
            return deliver(job, work, place.paths, bench.splits, place.dataset, bench.device, _cost(job, place))
        case Export() as work:
            bench.begun(0)
            return export(job, work, place.paths, bench.splits, place.dataset, bench.device, _cost(job, place))


def _cost(job: Job, place: Workplace) -> NetworkCost:
    """The cost so far of the jobs that led to the network, for its card."""
    return cost_so_far(place.paths.ledger, str(job.source))


def _forget_resume(job: Job, paths: StudyFolder) -> None:
    """Remove the states that the job used, which it no longer needs.

    Call it only once the outcome is on record: after a kill before that, the last epoch's state and the one that the
    job began from must still be there.
    """
    used = [paths.resume(job.name), *([paths.state(job.start.job)] if isinstance(job.start, StateOf) else [])]
    for state in used:
        state.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a finished candidate leaves no folder; other jobs' folders hold weights
            state.parent.rmdir()
