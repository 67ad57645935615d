"""What a ledger says when it is read: attempts with their device-seconds, jobs, sessions. Plain values, no logic.

How they are derived is defined in :mod:`accounting.cost.attempts`. All ``t`` are Unix seconds, all ``*_s`` of an attempt
device-seconds: amount of device times seconds, summed over the devices of the attempt's kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.records import Status
from accounting.ledger.specs import JobSpec
from accounting.words.names import DeviceKind, Unit


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
    spec: JobSpec
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
    """In the order in which they began; every one costs."""
    outcome: JobOutcome | None
    """Of the attempt that was ok first."""
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
    environment: Any
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
class Progress:
    """The end of one epoch of one attempt, with what is needed to draw it."""

    attempt: str
    job: str
    route: str
    phase: str
    target: int | None
    replicate: int
    t: float
    epoch: int
    num_epochs: int
    val_top1: float | None
    train_loss: float | None
    network_macs: int | None


@dataclass(frozen=True)
class CostView:
    """A whole study. Attempts, jobs and progress are in the order of time in which they began."""

    attempts: tuple[Attempt, ...]
    jobs: tuple[Job, ...]
    sessions: tuple[Session, ...]
    driver_work: tuple[DriverWork, ...]
    unit: Unit
    progress: tuple[Progress, ...]
    startups: tuple[StartUp, ...] = ()

    @property
    def device_kind(self) -> DeviceKind:
        """The kind of device whose hours the unit counts."""
        return Unit(self.unit).device_kind
