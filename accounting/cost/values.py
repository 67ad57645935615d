"""What a ledger says when it is read: attempts with their device-seconds, jobs, sessions. Plain values, no logic.

How they are derived is defined in :mod:`accounting.cost.attempts`. All ``t`` are Unix seconds, all ``*_s`` of an attempt
device-seconds: amount of device times seconds, summed over the devices of the attempt's kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from accounting.cost.progress import Progress, ProgressTable
from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.packed import PackedSpec, links_of
from accounting.ledger.records import Status
from accounting.ledger.specs import JobSpec
from accounting.words.names import DeviceKind, Unit

__all__ = ["Attempt", "CostView", "Device", "DriverWork", "Job", "Progress", "Session", "StartUp"]


class _Spec:
    """The field ``spec``, which may be given packed: then it is parsed each time it is asked for."""

    def __get__(self, attempt: Attempt | None, owner: type[Attempt]) -> JobSpec:
        if attempt is None:
            raise AttributeError("spec")  # the field has no default
        kept: JobSpec | PackedSpec = vars(attempt)["spec"]
        return kept.unpacked() if isinstance(kept, PackedSpec) else kept

    def __set__(self, attempt: Attempt, value: JobSpec | PackedSpec) -> None:
        vars(attempt)["spec"] = value


@dataclass(frozen=True)
class Attempt:
    """One try at a job and what it cost: ``productive_s + overhead_s + lost_s == allocated_s``."""

    attempt: str
    job: str
    route: str
    phase: str
    target: int | None
    replicate: int
    session: str
    allocation: str | None
    devices: dict[str, float]
    """What was held: of the allocation where that is on record, else what the attempt says."""
    device_kind: DeviceKind
    meter: str
    network_macs: int | None
    if TYPE_CHECKING:
        spec: JobSpec
    else:
        spec: JobSpec = _Spec()
    begin_t: float
    end_t: float
    status: Status
    reason: str | None
    outcome: JobOutcome | None
    allocated_s: float
    productive_s: float
    overhead_s: float
    lost_s: float
    uncertainty_s: float
    """How much more may have been held, unseen, after the last sign of life; 0 where the end is on record."""
    flags: tuple[str, ...]
    """``repeated`` (the job was done already), ``overlaps`` (began before the one before it in the allocation had
    ended), ``outside_allocation``, ``no_allocation_record``, ``no_work``."""

    @property
    def links(self) -> JobSpec:
        """The small parts of its spec: what the job began from and what was done to it, without network and recipe."""
        return links_of(vars(self)["spec"])


@dataclass(frozen=True)
class StartUp:
    """An allocation in which no attempt ever began: its job is not known, so no route is charged; all of it is overhead."""

    session: str
    allocation: str
    devices: dict[str, float]
    """What was held; empty where the allocation did not know its devices."""
    device_kind: DeviceKind
    begin_t: float
    end_t: float
    allocated_s: float
    """Device-seconds; where the devices are not known, with the amount that the session's attempts held."""


@dataclass(frozen=True)
class Job:
    """What became of a job.

    ``status``: ok; failed (abandoned); running; lost (nothing under way and not given up: a resumed study tries again).
    """

    job: str
    route: str
    phase: str
    target: int | None
    replicate: int
    attempts: tuple[str, ...]
    """Names of its attempts in the order in which they began; every attempt costs."""
    outcome: JobOutcome | None
    """Outcome of the first attempt that was ok."""
    status: Status
    network_macs: int | None


@dataclass(frozen=True)
class Device:
    """One device of a session's cluster; ``amount`` is how much of it the session may use."""

    device: str
    device_kind: DeviceKind
    amount: float
    name: str
    node: str


@dataclass(frozen=True)
class Session:
    """One ``run`` command, from the driver's start to its end, or to the last record if it never closed."""

    session: str
    begin_t: float
    end_t: float
    closed: bool
    reason: str | None
    capacity: tuple[Device, ...]
    """Every device that it ever had."""
    environment: object
    initial_capacity: tuple[Device, ...] = ()
    """Those that it began with."""
    capacity_changes: tuple[tuple[float, tuple[Device, ...]], ...] = ()
    """When nodes joined or left: the time, and all devices from then on."""


@dataclass(frozen=True)
class DriverWork:
    """Work in the driver process: it holds no device, and is reported beside the devices' cost."""

    session: str
    route: str
    phase: str
    target: int | None
    replicate: int
    begin_t: float
    end_t: float
    duration_s: float


@dataclass(frozen=True)
class CostView:
    """A whole study. Attempts, jobs and progress are in the order of time in which they began."""

    attempts: tuple[Attempt, ...]
    jobs: tuple[Job, ...]
    sessions: tuple[Session, ...]
    driver_work: tuple[DriverWork, ...]
    unit: Unit
    progress: ProgressTable
    startups: tuple[StartUp, ...] = ()
    never_begun: tuple[str, ...] = ()
    """Jobs given up before an attempt at them began; they are not in ``jobs``."""

    @property
    def num_failed(self) -> int:
        """How many jobs were given up."""
        return sum(job.status is Status.FAILED for job in self.jobs) + len(self.never_begun)

    @cached_property
    def by_route(self) -> Mapping[tuple[str, int], Sequence[Attempt]]:
        """The attempts of each route and replicate."""
        found: dict[tuple[str, int], list[Attempt]] = {}
        for attempt in self.attempts:
            found.setdefault((attempt.route, attempt.replicate), []).append(attempt)
        return found

    @cached_property
    def by_job(self) -> Mapping[str, Sequence[Attempt]]:
        """The attempts at each job."""
        found: dict[str, list[Attempt]] = {}
        for attempt in self.attempts:
            found.setdefault(attempt.job, []).append(attempt)
        return found

    @cached_property
    def links(self) -> Mapping[str, JobSpec]:
        """What each job began from and learned from, as its latest attempt has it."""
        return {job: attempts[-1].links for job, attempts in self.by_job.items()}

    @cached_property
    def works(self) -> dict[tuple[str, int, int], list[Attempt]]:
        """Filled by :func:`accounting.cost.lineage.work_for`, which many ask for the same."""
        return {}

    @cached_property
    def device_kind(self) -> DeviceKind:
        """The kind of device whose hours the unit counts."""
        return Unit(self.unit).device_kind
