"""What a ledger says: attempts with their device-seconds, jobs and sessions. Plain values, no logic.

:mod:`accounting.cost.attempts` defines how they are derived. Every ``t`` is in Unix seconds. Every ``*_s`` of an attempt is
in device-seconds: amount × seconds, summed over the devices of the attempt's kind, and on GPUs of a model with a declared
equivalence in those of the reference model (:mod:`accounting.cost.equivalence`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from accounting.cost.equivalence import NOTHING_DECLARED, Equivalence
from accounting.cost.progress import Progress, ProgressTable
from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.packed import PackedSpec, links_of
from accounting.ledger.records import Status
from accounting.ledger.specs import JobSpec
from accounting.words.names import DeviceKind, Unit

__all__ = ["Attempt", "CostView", "Device", "DriverWork", "Job", "Progress", "Session", "StartUp"]


class _Spec:
    """The field ``spec``. It may be given packed, and is then parsed at each access."""

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
    """Devices held: those of the allocation if it is on record, otherwise those that the attempt names."""
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
    """How far ``allocated_s`` may be off: what may have been held after the last sign of life if the end is not on record,
    and what the time between two looks at the allocation leaves open at its edges; old ledgers do not say the latter."""
    flags: tuple[str, ...]
    """``repeated`` (the job was already done), ``overlaps`` (began before the previous attempt in the allocation had
    ended), ``outside_allocation``, ``no_allocation_record``, ``no_work``."""

    @property
    def links(self) -> JobSpec:
        """The small parts of its spec: what the job started from and what was done to it, without network and recipe."""
        return links_of(vars(self)["spec"])


@dataclass(frozen=True)
class StartUp:
    """An allocation in which no attempt ever began: pure overhead. Its job is unknown, so no route is charged."""

    session: str
    allocation: str
    devices: dict[str, float]
    """Devices held; empty if the allocation's record does not name them."""
    device_kind: DeviceKind
    begin_t: float
    end_t: float
    allocated_s: float
    """Device-seconds; if the devices are unknown, with the amount that the session's attempts held."""
    uncertainty_s: float = 0.0
    """How far that may be off, since its edges lie between two looks; 0 in old ledgers."""


@dataclass(frozen=True)
class Job:
    """A job and how it ended.

    ``status``: ok; failed (abandoned); running; lost (not running and not given up, so a resumed study tries it again).
    """

    job: str
    route: str
    phase: str
    target: int | None
    replicate: int
    attempts: tuple[str, ...]
    """Names of its attempts, in the order in which they began; every attempt costs."""
    outcome: JobOutcome | None
    """The outcome of the first attempt that ended ok."""
    status: Status
    network_macs: int | None


@dataclass(frozen=True)
class Device:
    """One device of a session's cluster, of which the session may use ``amount``."""

    device: str
    device_kind: DeviceKind
    amount: float
    name: str
    node: str


@dataclass(frozen=True)
class Session:
    """One ``run`` command, from the driver's start to its end, or to its last record if it was never closed."""

    session: str
    begin_t: float
    end_t: float
    closed: bool
    reason: str | None
    capacity: tuple[Device, ...]
    """All devices that it ever had."""
    environment: object
    initial_capacity: tuple[Device, ...] = ()
    """The devices with which it began."""
    capacity_changes: tuple[tuple[float, tuple[Device, ...]], ...] = ()
    """Each time at which nodes joined or left, with all devices from then on."""


@dataclass(frozen=True)
class DriverWork:
    """Work in the driver process. It holds no device, and is reported separately from the devices' cost."""

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
    """A whole study. Attempts, jobs and progress are ordered by when they began."""

    attempts: tuple[Attempt, ...]
    jobs: tuple[Job, ...]
    sessions: tuple[Session, ...]
    driver_work: tuple[DriverWork, ...]
    unit: Unit
    progress: ProgressTable
    startups: tuple[StartUp, ...] = ()
    never_begun: tuple[str, ...] = ()
    """Jobs given up before an attempt at them began; they are not in ``jobs``."""
    equivalence: Equivalence = NOTHING_DECLARED
    """What hours on other GPU models than the study's reference count as; device-seconds are converted already."""

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
        """What each job started from and learned from, according to its latest attempt."""
        return {job: attempts[-1].links for job, attempts in self.by_job.items()}

    @cached_property
    def tied(self) -> frozenset[str]:
        """The attempts that began from another job's weights or had a teacher."""
        return frozenset(
            attempt.attempt
            for attempt in self.attempts
            if "init_from" in (links := attempt.links) or "teacher" in links
        )

    @cached_property
    def works(self) -> dict[tuple[str, int, int], list[Attempt]]:
        """A cache for :func:`accounting.cost.lineage.work_for`, which is often called with the same arguments."""
        return {}

    @cached_property
    def works_by_phase(self) -> dict[tuple[str, int, int], dict[str, tuple[list[int | None], list[float]]]]:
        """Filled by :func:`accounting.cost.charges.charged_s`, which is asked under each policy."""
        return {}

    @cached_property
    def device_kind(self) -> DeviceKind:
        """The kind of device that the unit counts."""
        return Unit(self.unit).device_kind
