"""What a ledger may hold: the kinds of record, and the words they are written in.

A record is one flat JSON object on one line: ``kind``, ``t`` (Unix seconds, float) and the
fields listed per kind in :data:`FIELDS`. The set is open for new *optional* fields; a change to the meaning of a
field is a [Rules] change and raises :data:`COST_RULES`.

Units: ``_s`` are seconds of one clock; *device-seconds* are amount of device times seconds. Accuracies are
fractions 0-1. MACs are multiply-accumulates of one image (see :mod:`accounting.macs`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypedDict

from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.specs import JobSpec
from accounting.words.json_values import ChangedKey
from accounting.words.names import DeviceKind

COST_RULES = 2
"""What an attempt costs and who pays for it; ``rules`` of ``segment_opened``. Every older version is read too: 1 had no
phase ``export``, so exports ran inside ``evaluate`` and were charged to the route."""

CLOCK_TOLERANCE_S = 1.0
"""Clocks of the nodes of a cluster may differ by this much before it is worth a word."""

VERDICT_RULES = 4
"""How costs and accuracies become a verdict. Written in answers and reports, never in a ledger, whose costs it keeps."""


READINGS = ("energy_j", "utilisation", "sm_activity", "memory_mb", "power_w")
"""The values of a reading in a ``node_beat``, each null where the device does not say. energy_j counts from some fixed
moment, so that only differences mean anything; utilisation and sm_activity are fractions 0-1. See ``accounting/meters``."""


class DeviceRecord(TypedDict, total=False):
    """A device of a session's ``capacity``; old ones have no name or node."""

    device: str
    device_kind: DeviceKind
    amount: float
    name: str
    node: str


class Planned(TypedDict, total=False):
    """What a study was first planned with; old ones have no criteria, which are methods by the route that prunes by them."""

    replicates: int
    targets: list[int]
    routes: list[str]
    criteria: dict[str, list[str]]


class UndeliveredRecord(TypedDict):
    """A planned network that a spent budget left undelivered. Hours of the study's unit; null where they cannot be said."""

    label: str
    route: str
    target: int
    replicate: int
    waits_for: str | None
    spent_h: float
    budget_h: float | None
    needs_h: float | None
    budget_needed_h: float | None


class Record(TypedDict, total=False):
    """A line of the ledger. :data:`FIELDS` says which fields each kind has, and what they mean."""

    kind: str
    t: float
    written_t: float
    """When it was written, of a record whose ``t`` was given."""
    segment: str
    line: int
    """The file and the line, from 1, that it was read from; not on disk."""
    seq: int
    chain: str
    """See :mod:`accounting.ledger.chain`; taken off when read."""
    rules: int
    format: int
    ledger: str
    name: str
    session: str
    writer: str
    host: str
    pid: int
    study: str
    capacity: list[DeviceRecord]
    environment: dict[str, object]
    planned: Planned
    labels: dict[str, str]
    owner: str
    segments: int
    undelivered: list[UndeliveredRecord]
    allocation: str | None
    devices: dict[str, float]
    amounts: dict[DeviceKind, float]
    """How much of each kind of device an allocation holds, where its ``devices`` are not known yet."""
    cause: str
    attempt: str
    node: str
    attempts: list[str]
    readings: dict[str, list[float | None]]
    """By device, in the order of :data:`READINGS`."""
    workers_gone: dict[str, int]
    job: str
    route: str
    phase: str
    target: int | None
    replicate: int
    meter: str
    network_macs: int | None
    spec: JobSpec
    heartbeat_s: float
    """The longest time between two signs of life of the attempt, by itself or by its node's sampler."""
    num_workers: int
    """Processes that share the job; old records have none, and had one."""
    again: str
    dropped: str
    final: bool
    """Whether a job that was given up would fail again, in which case no session tries it."""
    epoch: int
    num_epochs: int
    val_top1: float | None
    train_loss: float | None
    checkpointed: bool
    status: str
    reason: str | None
    outcome: JobOutcome | None
    work_end_t: float | None
    stopped: bool
    """Whether the attempt was stopped at a checkpoint, since its route's budget did not pay for more; absent where not."""
    measurement: dict[str, object] | None
    duration_s: float
    budget_h: float
    changes: list[ChangedKey]
    rehearsal: list[ChangedKey]
    """What a rehearsal changed in its config; only in ``session_opened`` of rehearsals."""


class Phase(StrEnum):
    """What a job does for its route."""

    PRETRAIN = "pretrain"
    SUPERNET = "supernet"
    SEARCH = "search"
    FIT_PREDICTOR = "fit_predictor"
    TUNE = "tune"
    RETRAIN = "retrain"
    PRUNE = "prune"
    FINETUNE = "finetune"
    EVALUATE = "evaluate"
    EXPORT = "export"


class Status(StrEnum):
    """How an attempt ended. ``LOST`` and ``RUNNING`` are never written: they are derived when read."""

    OK = "ok"
    FAILED = "failed"
    LOST = "lost"
    RUNNING = "running"


class Kind(StrEnum):
    """The kinds of record."""

    SEGMENT_OPENED = "segment_opened"
    SESSION_OPENED = "session_opened"
    SESSION_CLOSED = "session_closed"
    CAPACITY_CHANGED = "capacity_changed"
    ALLOCATION_OPENED = "allocation_opened"
    ALLOCATION_CLOSED = "allocation_closed"
    ATTEMPT_STARTED = "attempt_started"
    WORK_BEGUN = "work_begun"
    PROGRESS = "progress"
    HEARTBEAT = "heartbeat"
    NODE_BEAT = "node_beat"
    ATTEMPT_MEASURED = "attempt_measured"
    ATTEMPT_ENDED = "attempt_ended"
    DRIVER_WORK = "driver_work"
    ATTEMPT_LOST = "attempt_lost"
    JOB_ABANDONED = "job_abandoned"
    JOB_STOPPED = "job_stopped"
    STUDY_EXTENDED = "study_extended"


FIELDS: dict[Kind, tuple[str, ...]] = {
    # First line of every segment (one file per writing process).
    Kind.SEGMENT_OPENED: ("rules", "session", "writer", "host", "pid"),
    # One `run` command. capacity: [{device, device_kind: cpu_core|cuda, amount, name, node}]. `t` is the start of
    # the driver process. environment: versions and machine, for the report. Optional: planned, what the study was first
    # planned with ({replicates, targets, routes}), the same in every session; labels ({name: text} of the config) and
    # owner (the user's account) of this session; absent in old ledgers. rehearsal: of a rehearsal, what it changed of the
    # config, as study_extended has it: nothing of such a ledger is a measurement.
    Kind.SESSION_OPENED: ("session", "study", "capacity", "environment"),
    Kind.SESSION_CLOSED: ("session", "reason"),
    # A node joined or left: all devices that there are from `t` on, as session_opened has them.
    Kind.CAPACITY_CHANGED: ("session", "capacity"),
    # The life of one Ray placement group on a node. devices: {device: amount}; empty for GPUs, which only an attempt can
    # name: then the optional amounts says {kind: amount}. Optional in allocation_closed: cause, "node_died" where that is
    # what ended it: then a worker there may have lived, and written, a little longer; "driver_died" where a later session
    # closed what a killed one held with no attempt at work in it, at the last time that its driver saw it held.
    Kind.ALLOCATION_OPENED: ("session", "allocation", "devices"),
    Kind.ALLOCATION_CLOSED: ("session", "allocation"),
    # One try at a job. allocation: the placement group's id, or null where there is none. target: MACs or null
    # for work shared by all targets. devices: {device: amount}. network_macs: MACs of the network that is trained.
    Kind.ATTEMPT_STARTED: (
        "session",
        "attempt",
        "job",
        "route",
        "phase",
        "target",
        "replicate",
        "allocation",
        "devices",
        "meter",
        "network_macs",
        "spec",
    ),
    # The first training step (or the first batch of an evaluation); epoch: how many were done before. Optional: dropped,
    # why the state of an earlier attempt could not be trusted, so its epochs are trained again.
    Kind.WORK_BEGUN: ("attempt", "epoch"),
    # End of an epoch. checkpointed: whether a later attempt can go on from here.
    Kind.PROGRESS: ("attempt", "epoch", "num_epochs", "val_top1", "train_loss", "checkpointed"),
    # A sign of life by the attempt itself: where no sampler names it, and in older ledgers always.
    Kind.HEARTBEAT: ("attempt",),
    # The sampler of a node names the attempts of which it saw a process alive there, by id and start. readings: {device:
    # values as READINGS says}, of the devices that they hold and that can be read. Optional: workers_gone, {attempt: how
    # many of its processes there are dead}.
    Kind.NODE_BEAT: ("node", "session", "attempts", "readings"),
    # What the node's sampler saw of an attempt that is over, `t` being when it saw it last. measurement: see Sampled.
    Kind.ATTEMPT_MEASURED: ("attempt", "node", "measurement"),
    # status: ok|failed. reason: null or one line. outcome: null unless ok; work_end_t: when the last work ended. Optional:
    # stopped, true where it ended at a checkpoint as it was asked to: a job_stopped follows.
    Kind.ATTEMPT_ENDED: ("attempt", "status", "reason", "outcome", "work_end_t", "measurement"),
    # Work in the driver (fitting the predictor, evolution): `t` is its end; holds no device.
    Kind.DRIVER_WORK: ("session", "route", "phase", "target", "replicate", "duration_s"),
    # The driver was told that the worker at a job is gone, whose own records then end in the middle. reason: one line.
    Kind.ATTEMPT_LOST: ("session", "job", "reason"),
    # No attempt is left: the job will have no ok outcome. reason: one line.
    Kind.JOB_ABANDONED: ("session", "job", "reason"),
    # The job was not begun, or was stopped at a checkpoint, since its route's budget (in device-hours) is spent or cannot
    # pay for it. It stays so for as long as the budget is that one; with another it goes on from there.
    Kind.JOB_STOPPED: ("session", "job", "route", "replicate", "reason", "budget_h"),
    # The session's config differs from the one before. changes: [{key, old, new}], keys as in the config, with dots.
    Kind.STUDY_EXTENDED: ("session", "changes"),
}
