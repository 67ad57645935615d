"""One attempt at a job, in the process that holds the device: run it, meter it, and record it."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch

from accounting.ledger.heartbeat import UNSEEN_S, signs_of_life
from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.presence import Presence, presence_of
from accounting.ledger.records import Kind, Status
from accounting.ledger.store import LedgerWriter, shared_writer
from accounting.meters.meter import Meter
from accounting.meters.nvml import open_reader
from accounting.study import plugins
from accounting.study.folder import StudyFolder
from accounting.study.plugins import PluginFile, use
from harness.config.study import DatasetConfig
from harness.data.registry import open_dataset
from harness.data.sized import splits_at
from harness.data.unchanged import DataChanged, check_unchanged
from harness.delivery.costs import NetworkCost, cost_so_far
from harness.delivery.deliver import deliver
from harness.delivery.exports import export
from harness.devices import Held
from harness.errors import typed_line
from harness.jobs.files import DamagedFiles, Given, check_sources
from harness.jobs.job import Job, Outcome
from harness.jobs.spec import to_json
from harness.jobs.start import StateOf
from harness.jobs.taken import TakenOver, has_later_attempt, outcome_on_record
from harness.jobs.work import Deliver, Export, Prune, RangeTest, Scan, Score, Train, TrainSupernet
from harness.training.loop import Diverged, Epoch, Stopped, seed_everything
from harness.work.bench import Bench
from harness.work.liveness import Life, watched
from harness.work.peers import PeerPlace, Peers, is_shared, peers_of
from harness.work.prune import prune_network
from harness.work.scan import scan
from harness.work.shared import shared_work
from harness.work.train import test_rates
from pruning.deadline import MachineTooBusy, NotFollowed
from pruning.recount import MacsDiffer
from pruning.scores import CriterionFails
from pruning.solve import UnreachableTarget

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workplace:
    """What an attempt needs besides its job: the study's folder, session and data, and the devices it holds."""

    paths: StudyFolder
    session: str
    dataset: DatasetConfig
    held: Held
    given: Given | None = None
    """What is recorded about the files that the job uses; None: they are not verified."""
    life: Life = field(default_factory=Life)
    plugins: tuple[PluginFile, ...] = ()
    """The user's own plug-in files that the study names, in the study's folder."""
    since_t: float = float("inf")
    """When the job was proposed. An outcome recorded since then comes from another attempt at the same proposal."""

    stop: Callable[[], str | None] = lambda: None
    """Returns why the job should end at its next checkpoint (its route's budget is spent), or None to continue."""

    @property
    def presence(self) -> Presence:
        """Where attempts on this machine register for its sampler."""
        return presence_of(self.paths.beats, self.session, self.held.node)

    def num_workers(self, job: Job) -> int:
        """How many workers share the job here."""
        return self.held.num_workers if is_shared(job) else 1

    def of_peers(self, job: Job) -> PeerPlace | None:
        """What the job's other workers are told; None if there are none."""
        if self.num_workers(job) == 1:
            return None
        return {
            "rank": 1,
            "size": self.num_workers(job),
            "store": "",
            "job": {**to_json(job)},
            "root": str(self.paths.root),
            "dataset": self.dataset.model_dump(exclude_unset=True),
            "plugins": [file.as_dict() for file in self.plugins],
            "torch_device": self.held.torch_device,
            "num_threads": self.held.num_threads,
        }


def execute(job: Job, place: Workplace) -> Outcome:
    """Try ``job`` once and return its outcome.

    Failures that would repeat (such as divergence, an unreachable target, or a mistake in a user's own file) are
    returned as a failed outcome. Anything else is recorded in the ledger and raised again, so that the scheduler can
    retry. The job is not started if its outcome is already on record, from an attempt whose node was thought dead. A
    job that is asked to stop (``place.stop``) ends at its next checkpoint.
    """
    use(place.plugins)
    if (known := outcome_on_record(place.paths.ledger, job.name, place.since_t)) is not None:
        return Outcome(ok=True, metrics=known)
    attempt, begin_t = f"{job.name}#{uuid.uuid4().hex[:8]}", time.time()
    with shared_writer(place.paths.ledger, place.session, "worker") as ledger:
        reader = open_reader()
        meter = Meter(reader, time.time)
        meter.begin(attempt, tuple(place.held.devices))
        again: dict[str, Any] = {"again": place.given.again} if place.given is not None and place.given.again else {}
        ledger.append(
            Kind.ATTEMPT_STARTED,
            session=place.session,
            attempt=attempt,
            job=job.name,
            route=job.route,
            phase=job.phase,
            target=job.target,
            replicate=job.replicate,
            allocation=place.held.allocation,
            devices=place.held.devices,
            meter=reader.meter,
            network_macs=job.counted_macs,
            spec=to_json(job),
            heartbeat_s=UNSEEN_S,
            num_workers=place.num_workers(job),
            **again,
        )

        def end(
            status: Status, work_end_t: float | None, reason: str | None, outcome: JobOutcome | None, **more: bool
        ) -> None:
            ledger.append(
                Kind.ATTEMPT_ENDED,
                attempt=attempt,
                status=status,
                reason=reason,
                outcome=outcome,
                work_end_t=work_end_t,
                measurement=asdict(meter.end(attempt)),
                **more,
            )

        def end_lost(reason: str) -> None:
            end(Status.FAILED, None, reason, None)

        try:
            with (
                signs_of_life(ledger, attempt, place.held.devices, place.presence) as signs,
                peers_of(place.of_peers(job), place.num_workers(job)) as peers,
                watched(peers.life(place.life), end_lost),
            ):
                signs.work(peers.pids)
                if place.given is not None:
                    check_sources(job, place.paths, place.given)
                metrics = _work(job, place, ledger, attempt, peers)
        except (Diverged, UnreachableTarget, NotFollowed, MacsDiffer, CriterionFails) as error:
            end(Status.FAILED, time.time(), str(error), None)
            return Outcome(ok=False, reason=str(error), final=not isinstance(error, MachineTooBusy))
        except DamagedFiles as error:
            end(Status.FAILED, None, str(error), None)
            return Outcome(ok=False, reason=str(error), final=False, damaged=error.source)
        except DataChanged as error:
            end(Status.FAILED, None, str(error), None)
            return Outcome(ok=False, reason=str(error), final=False, ends_session=True)
        except Stopped as error:
            end(Status.FAILED, time.time(), str(error), None, stopped=True)
            return Outcome(ok=False, reason=str(error), final=False, stopped=True)
        except BaseException as error:
            fault = plugins.fault(error)
            end(Status.FAILED, time.time(), fault or typed_line(error), None)
            if fault is None:
                raise
            return Outcome(ok=False, reason=fault)
        if has_later_attempt(place.paths.ledger, job.name, attempt, begin_t):
            end(Status.FAILED, time.time(), "a later attempt at this job has begun", None)
            raise TakenOver("a later attempt at this job has begun")
        if (known := outcome_on_record(place.paths.ledger, job.name, place.since_t)) is not None:
            end(Status.FAILED, time.time(), "another attempt at this job was done first", None)
            return Outcome(ok=True, metrics=known)
        end(Status.OK, time.time(), None, metrics)
        _forget_resume(job, place.paths)
        return Outcome(ok=True, metrics=metrics)


def _work(job: Job, place: Workplace, ledger: LedgerWriter, attempt: str, peers: Peers) -> JobOutcome:
    """Do the job's work, together with its other workers if it has any; returns the outcome's metrics."""
    begin = partial(ledger.append, Kind.WORK_BEGUN, attempt=attempt)

    def drop(why: str) -> None:
        nonlocal begin
        begin = partial(begin, dropped=why)

    def begun(epochs_done: int) -> None:
        begin(epoch=epochs_done)

    def epoch(done: Epoch) -> None:
        ledger.append(Kind.PROGRESS, attempt=attempt, **asdict(done))

    torch.set_num_threads(place.held.num_threads)
    seed_everything(job.seed, 0)
    dataset, device = open_dataset(place.dataset), torch.device(place.held.torch_device)
    check_unchanged(dataset, None if place.given is None else place.given.data)
    splits = splits_at(dataset.splits(), job.image_size)
    with peers.joined(device) as crew:
        return _done(job, place, Bench(job, place.paths, splits, device, begun, epoch, crew, drop, place.stop))


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
        with contextlib.suppress(
            OSError
        ):  # a finished candidate leaves no folder; those of other jobs hold their weights
            state.parent.rmdir()
