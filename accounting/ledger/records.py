"""What a ledger can hold: the kinds of record and their fields.

A record is one flat JSON object on one line: ``kind``, ``t`` (Unix seconds, float) and the fields that :data:`FIELDS`
lists for its kind. New *optional* fields may be added; a change to the meaning of a field is a [Rules] change and
raises :data:`COST_RULES`.

Units: ``_s`` are seconds of one clock; *device-seconds* are amount of device times seconds. Accuracies are fractions
0-1. MACs are multiply-accumulates of one image (see :mod:`accounting.macs`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NotRequired, TypedDict

from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.specs import JobSpec
from accounting.words.json_values import ChangedKey
from accounting.words.names import DeviceKind

COST_RULES = 2
"""Version of the rules for what an attempt costs and who pays for it; ``rules`` of ``segment_opened``. Older versions
are read too: version 1 had no phase ``export``, so exports ran inside ``evaluate`` and were charged to the route."""

FORMAT = 2
"""Format of a segment, in ``segment_opened``: one per process, lines chained, registered in the index. Format 1, which has
none of this, is read too."""

LATEST_T = 1e11
"""No time is as late (the year 5138) or as early, unless it is not in seconds."""

CLOCK_TOLERANCE_S = 1.0
"""How far the clocks of a cluster's nodes may differ before it is reported."""

VERDICT_RULES = 5
"""Version of the rules that turn costs and accuracies into a verdict. It is written in answers and reports, never in a
ledger, whose costs do not depend on it."""


READINGS = ("energy_j", "utilisation", "sm_activity", "memory_mb", "power_w")
"""The values of a reading in a ``node_beat``; each is null if the device does not report it. energy_j counts from an
arbitrary moment, so only differences are meaningful; utilisation and sm_activity are fractions 0-1. See
``accounting/meters``."""


class DeviceRecord(TypedDict, total=False):
    """A device in a session's ``capacity``; old records have no name or node."""

    device: str
    device_kind: DeviceKind
    amount: float
    name: str
    node: str


class Planned(TypedDict, total=False):
    """What a study was first planned with. ``criteria``: methods by the route that uses them; old records lack it."""

    replicates: int
    targets: list[int]
    routes: list[str]
    criteria: dict[str, list[str]]


class UndeliveredRecord(TypedDict):
    """A planned network that a spent budget left undelivered. Hours are in the study's unit; null if unknown."""

    by_plan: NotRequired[bool]
    """True if what it needs is by the plan's speed, since no job was done; otherwise absent."""
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
    """When the record was written, if its ``t`` was given."""
    segment: str
    line: int
    """The file and the line (from 1) that it was read from; not on disk."""
    seq: int
    chain: str
    """See :mod:`accounting.ledger.chain`; removed when read."""
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
    """How much of each kind of device an allocation holds, if its ``devices`` are not known yet."""
    cause: str
    looked_t: float
    """At an edge of an allocation: the time of the look before, at which it was not yet seen. The edge lies after it."""
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
    """The longest time between two heartbeats of the attempt, written by itself or by its node's sampler."""
    num_workers: int
    """Processes that share the job; absent in old records, which had one."""
    again: str
    dropped: str
    final: bool
    """Whether an abandoned job would fail again; if so, no session retries it."""
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
    """True if it was stopped at a checkpoint because its route's budget did not pay for more; otherwise absent."""
    measurement: dict[str, object] | None
    duration_s: float
    budget_h: float
    changes: list[ChangedKey]
    rehearsal: list[ChangedKey]
    """What a rehearsal changed in its config; only in ``session_opened`` of rehearsals."""
    after: str
    equivalent: dict[str, object]


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
    """How an attempt ended. ``LOST`` and ``RUNNING`` are never written; they are derived when a ledger is read."""

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
    CHECKPOINT = "checkpoint"
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
    # One `run` command. capacity: [{device, device_kind: cpu_core|cuda, amount, name, node}]. `t` is the start of the
    # driver process. environment: versions and machine, for the report. Optional, and absent in old ledgers: planned,
    # what the study was first planned with ({replicates, targets, routes}), the same in every session; labels ({name:
    # text} from the config) and owner (the user's account) of this session. rehearsal: in a rehearsal, what it changed
    # in the config, in the form of study_extended; nothing in such a ledger is a measurement. after: the session before,
    # which is over then, even if its clock was ahead. equivalent: what an hour of other GPU models counts as in hours of
    # the study's reference model ({reference, models: {name: {hours, low, high, source}}}); capacity and devices are as
    # they are, so only what is derived from the ledger is converted.
    Kind.SESSION_OPENED: ("session", "study", "capacity", "environment"),
    Kind.SESSION_CLOSED: ("session", "reason"),
    # A node joined or left. capacity: all devices that exist from `t` on, in the form of session_opened.
    Kind.CAPACITY_CHANGED: ("session", "capacity"),
    # The life of one Ray placement group on a node. devices: {device: amount}; empty for GPUs, which only an attempt
    # can name; the optional amounts then says {kind: amount}. Optional in both: looked_t, the time of the look before, at
    # which the group was not held yet, or still was; so it began or ended after looked_t and by `t`. Absent in old
    # ledgers, and where nobody saw the end. Optional in allocation_closed: cause. "node_died": the
    # node's death ended it, and a worker there may have lived, and written, a little longer. "driver_died": a killed
    # session held it with no attempt at work in it, and a later session closed it, at the last time that its driver saw
    # it held.
    Kind.ALLOCATION_OPENED: ("session", "allocation", "devices"),
    Kind.ALLOCATION_CLOSED: ("session", "allocation"),
    # One try at a job. allocation: the placement group's id, or null if there is none. target: MACs, or null for work
    # shared by all targets. devices: {device: amount}. network_macs: MACs of the network that is trained.
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
    # The first training step (or the first batch of an evaluation). epoch: number of epochs done before, a fraction if it
    # continues within one. Optional:
    # dropped, why the state of an earlier attempt could not be trusted, so that its epochs are trained again.
    Kind.WORK_BEGUN: ("attempt", "epoch"),
    # End of an epoch. checkpointed: whether a later attempt can continue from here.
    Kind.PROGRESS: ("attempt", "epoch", "num_epochs", "val_top1", "train_loss", "checkpointed"),
    # A later attempt can continue from here, within an epoch. epoch: epochs done until then, a fraction.
    Kind.CHECKPOINT: ("attempt", "epoch"),
    # A heartbeat by the attempt itself: written if no sampler names it, and always in older ledgers.
    Kind.HEARTBEAT: ("attempt",),
    # A node's sampler names the attempts that have a process alive there (checked by id and start). readings: {device:
    # values in the order of READINGS}, for those of their devices that can be read. Optional: workers_gone, {attempt:
    # how many of its processes there are dead}.
    Kind.NODE_BEAT: ("node", "session", "attempts", "readings"),
    # What the node's sampler saw of an attempt that is over; `t` is when it saw it last. measurement: see Sampled.
    Kind.ATTEMPT_MEASURED: ("attempt", "node", "measurement"),
    # status: ok|failed. reason: null or one line. outcome: null unless ok. work_end_t: when the last work ended.
    # Optional: stopped, true if it ended at a checkpoint because it was asked to; a job_stopped follows.
    Kind.ATTEMPT_ENDED: ("attempt", "status", "reason", "outcome", "work_end_t", "measurement"),
    # Work in the driver (fitting the predictor, evolution). `t` is its end; it holds no device.
    Kind.DRIVER_WORK: ("session", "route", "phase", "target", "replicate", "duration_s"),
    # The driver was told that the worker of a job is gone; the worker's own records then break off. reason: one line.
    Kind.ATTEMPT_LOST: ("session", "job", "reason"),
    # No attempt is left, so the job will have no ok outcome. reason: one line.
    Kind.JOB_ABANDONED: ("session", "job", "reason"),
    # The job was not begun, or was stopped at a checkpoint, because its route's budget (in device-hours) is spent or
    # cannot pay for it. It stays stopped while the budget is the same; with another budget it continues from there.
    Kind.JOB_STOPPED: ("session", "job", "route", "replicate", "reason", "budget_h"),
    # The session's config differs from the previous one. changes: [{key, old, new}], keys as in the config, with dots.
    Kind.STUDY_EXTENDED: ("session", "changes"),
}
