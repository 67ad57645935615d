"""What each attempt cost: the definition, and its derivation from the records of a ledger. Pure.

**Interval.** An attempt holds its devices from ``begin_t`` to ``end_t``.

- In an allocation (the life of one Ray placement group): several attempts may use the same allocation one after another
  (actor reuse). They divide its life without gaps: the first begins when the allocation opened, each later one where the
  previous one ended. So waiting in a held allocation is charged to the next attempt; what is held is cost, used or not. The
  last attempt ends when the allocation closed, if that is on record, otherwise at its own end. If the death of its node
  closed an allocation, then neither the allocation nor its session closed before the last record of an attempt in it.
- Without an allocation record: from ``attempt_started`` to its own end.
- An attempt's own end is ``attempt_ended``. Without that record, the attempt is **lost** if its session closed, a later
  session opened, its allocation closed, its job was abandoned, or a later attempt at its job or in its allocation started.
  Its own end is then its last record (this is what heartbeats are for), and ``uncertainty_s`` says that up to one heartbeat
  interval more may have been held (``heartbeat_s`` of ``attempt_started``, 10 s if not given). Otherwise the attempt is
  **running** and ends now.
- An allocation opens and closes between two looks at it, and counts as open until the look that misses it. If its records
  say when the look before was (``looked_t``), ``uncertainty_s`` of its first attempt includes how much earlier it may have
  opened, and that of its last one how much earlier it may have closed (not before the attempt's own end). An edge between
  two attempts was written by their worker and has none.

**Start-ups.** An allocation in which no attempt ever began (its worker died or the run was stopped during start-up) was held
nevertheless, from its opening to its closing or to the end of its session. If a killed driver left it open, the next session
closes it at the time when that driver last saw it held (``cause`` ``driver_died``); the same applies to an allocation whose
attempts had all ended. A start-up is counted as overhead in the totals and in every table that adds up. It is charged to no
route, since no record says which job it was for (``CostView.startups``).

**Devices.** Device-seconds are amount × seconds, summed over the devices that the allocation held (or that the attempt says
it held), of one kind only: an attempt that holds any CUDA device is counted in CUDA device-seconds, without its CPU cores.
Of a GPU whose model has a declared equivalence, they are those of the study's reference model (rate × amount × seconds).
A study's unit is GPU-hours as soon as any attempt or session had a CUDA device, and CPU-core-hours otherwise.

**Split.** ``allocated = productive + overhead + lost``:

- *The attempt that gave the job's outcome* (the first that ended ok): productive from ``work_begun`` to
  ``work_end_t``; the rest is overhead.
- *Attempts that ended ok later, or started after that one*: entirely lost, as repeated work.
- *Failed and lost attempts*: overhead until ``work_begun``; then productive until the last checkpoint that a later attempt
  built on, that is, whose epoch (a fraction within one) is at most the one from which the kept chain of later attempts began
  (``work_begun.epoch``); then lost. While the job is pending, its last checkpoint counts as kept, because a resumed study
  continues from there.
- *Attempts at an abandoned job*: overhead until ``work_begun``, then lost.
- *Failed or lost before any work*: entirely lost, since the start-up was wasted.
- *Running*: overhead until ``work_begun``, productive since; provisional.

**Job.** A job has one outcome, that of the first attempt that ended ok. Every attempt costs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from accounting.cost.equivalence import equivalence_in, rates_of
from accounting.cost.evidence import Evidence, Trace, gather
from accounting.cost.intervals import Interval, intervals_of
from accounting.cost.progress import Progress, ProgressTable
from accounting.cost.split import Split, first_ok, split_job
from accounting.cost.startups import startups_of
from accounting.cost.values import Attempt, CostView, Device, DriverWork, Job, Session, StartUp
from accounting.ledger.points import Points
from accounting.ledger.records import DeviceRecord, Record, Status
from accounting.ledger.uncollected import uncollected
from accounting.words.names import DeviceKind, Unit

Counted = tuple[DeviceKind, float]
"""The kind of device that counts of those that an attempt held, and the amount of it."""

__all__ = ["Attempt", "CostView", "Device", "DriverWork", "Job", "Progress", "Session", "StartUp", "derive", "view_of"]


def derive(records: Sequence[Record], now: float | None = None, points: Points | None = None) -> CostView:
    """The cost view of a ledger's records. Whatever is still running ends at ``now`` (by default, the last record).

    ``points`` are the ends of epochs and the heartbeats, if they are not among the records.
    """
    with uncollected():
        return view_of(gather(records, points), now)


def view_of(evidence: Evidence, now: float | None = None) -> CostView:
    """The same for records that have already been sorted (:mod:`accounting.cost.evidence`)."""
    last_t = evidence.last_t
    intervals = intervals_of(evidence, last_t if now is None else now)
    by_job: dict[str, list[Trace]] = defaultdict(list)
    for trace in sorted(evidence.traces.values(), key=lambda trace: trace.started_t):
        by_job[trace.job].append(trace)
    splits: dict[str, Split] = {}
    for job, traces in by_job.items():
        splits.update(split_job(traces, intervals, is_abandoned=_is_abandoned(job, traces, evidence)))
    sessions = _sessions(evidence, intervals)
    kinds = {device.device: device.device_kind for session in sessions for device in session.capacity}
    equivalence = equivalence_in(evidence)
    rates = rates_of((device for session in sessions for device in session.capacity), equivalence.rates)
    counted: dict[int, Counted] = {}
    attempts = [
        _attempt(trace, intervals[trace.attempt], splits[trace.attempt], evidence, kinds, rates, counted)
        for trace in evidence.traces.values()
    ]
    ordered = tuple(sorted(attempts, key=lambda attempt: (attempt.begin_t, attempt.attempt)))
    held = {device for opened in evidence.opened.values() for device in opened["devices"]}
    startups = startups_of(
        evidence,
        ordered,
        sessions,
        {device: device_kind_of(device, kinds) for device in held},
        last_t if now is None else now,
        rates,
    )
    is_cuda = "cuda" in kinds.values() or any(attempt.device_kind == "cuda" for attempt in attempts)
    return CostView(
        attempts=ordered,
        jobs=tuple(_job(traces, intervals, evidence) for traces in by_job.values()),
        sessions=sessions,
        driver_work=tuple(_driver_work(record) for record in evidence.driver_work),
        unit=Unit.GPU_HOURS if is_cuda else Unit.CPU_CORE_HOURS,
        progress=ProgressTable(evidence.points, {name: trace.started for name, trace in evidence.traces.items()}),
        startups=startups,
        never_begun=tuple(job for job in evidence.abandoned_t if job not in by_job),
        equivalence=equivalence,
    )


def device_kind_of(device: str, kinds: dict[str, DeviceKind]) -> DeviceKind:
    """A device's kind, from a session's capacity, or else from its id (NVML's ids begin with GPU- or MIG-)."""
    if device in kinds:
        return kinds[device]
    return "cuda" if device.startswith(("GPU-", "MIG-")) or "cuda" in device.lower() else "cpu_core"


def held_by(
    trace: Trace, evidence: Evidence, kinds: dict[str, DeviceKind], rates: Mapping[str, float]
) -> tuple[dict[str, float], DeviceKind, float]:
    """The devices that an attempt held, the kind that counts, and the amount of that kind, each device at its rate."""
    devices = _devices_of(trace, evidence)
    return devices, *_counted(devices, kinds, rates)


def _devices_of(trace: Trace, evidence: Evidence) -> dict[str, float]:
    opened = evidence.opened.get(trace.span)
    devices: dict[str, float] = (opened and opened["devices"]) or trace.started["devices"]
    return devices


def _counted(devices: Mapping[str, float], kinds: dict[str, DeviceKind], rates: Mapping[str, float]) -> Counted:
    of_kind: dict[DeviceKind, float] = defaultdict(float)
    for device, amount in devices.items():
        of_kind[device_kind_of(device, kinds)] += amount * rates.get(device, 1.0)
    kind: DeviceKind = "cuda" if "cuda" in of_kind else "cpu_core"
    return kind, of_kind[kind]


def _is_abandoned(job: str, traces: list[Trace], evidence: Evidence) -> bool:
    """Whether the job was given up and never resumed."""
    return evidence.abandoned_t.get(job, float("-inf")) >= traces[-1].started_t


def _attempt(
    trace: Trace,
    interval: Interval,
    split: Split,
    evidence: Evidence,
    kinds: dict[str, DeviceKind],
    rates: Mapping[str, float],
    counted: dict[int, Counted],
) -> Attempt:
    """The attempt; ``counted`` has what was found for devices before, by their identity, as many attempts share them."""
    started, ended = trace.started, trace.ended
    devices = _devices_of(trace, evidence)
    if (found := counted.get(id(devices))) is None:
        found = counted[id(devices)] = _counted(devices, kinds, rates)
    kind, amount = found
    return Attempt(
        attempt=trace.attempt,
        job=trace.job,
        route=started["route"],
        phase=started["phase"],
        target=started["target"],
        replicate=started["replicate"],
        session=trace.session,
        allocation=started["allocation"],
        devices=devices,
        device_kind=kind,
        meter=started["meter"],
        network_macs=started["network_macs"],
        spec=started["spec"],
        begin_t=interval.begin_t,
        end_t=interval.end_t,
        status=interval.status,
        reason=evidence.reason(trace),
        outcome=None if ended is None else ended["outcome"],
        allocated_s=amount * (interval.end_t - interval.begin_t),
        productive_s=amount * split.productive_s,
        overhead_s=amount * split.overhead_s,
        lost_s=amount * split.lost_s,
        uncertainty_s=amount * interval.uncertainty_s,
        flags=interval.flags + split.flags,
    )


def _job(traces: list[Trace], intervals: dict[str, Interval], evidence: Evidence) -> Job:
    first, done = traces[0], first_ok(traces)
    if done is not None:
        status = Status.OK
    elif _is_abandoned(first.job, traces, evidence):
        status = Status.FAILED
    elif any(intervals[trace.attempt].status is Status.RUNNING for trace in traces):
        status = Status.RUNNING
    else:
        status = Status.LOST
    return Job(
        job=first.job,
        route=first.started["route"],
        phase=first.started["phase"],
        target=first.started["target"],
        replicate=first.started["replicate"],
        attempts=tuple(trace.attempt for trace in traces),
        outcome=None if done is None or done.ended is None else done.ended["outcome"],
        status=status,
        network_macs=(done or traces[-1]).started["network_macs"],
    )


def _sessions(evidence: Evidence, intervals: dict[str, Interval]) -> tuple[Session, ...]:
    running_end: dict[str, float] = {}
    for trace in evidence.traces.values():
        if intervals[trace.attempt].status is Status.RUNNING:
            running_end[trace.session] = max(running_end.get(trace.session, 0.0), intervals[trace.attempt].end_t)
    sessions = []
    for session, (first_t, last_t) in evidence.session_span.items():
        opened, closed = evidence.session_opened.get(session), evidence.session_closed.get(session)
        closed_t = evidence.session_end_t(session)
        changes = evidence.capacity_changed.get(session, [])
        sessions.append(
            Session(
                session=session,
                begin_t=first_t if opened is None else opened["t"],
                end_t=max(last_t, running_end.get(session, last_t)) if closed_t is None else closed_t,
                closed=closed is not None,
                reason=None if closed is None else closed["reason"],
                capacity=devices_of(opened, changes),
                initial_capacity=() if opened is None else tuple(_device(device) for device in opened["capacity"]),
                capacity_changes=tuple((c["t"], tuple(_device(device) for device in c["capacity"])) for c in changes),
                environment=None if opened is None else opened["environment"],
            )
        )
    return tuple(sorted(sessions, key=lambda session: evidence.turn(session.session)))


def devices_of(opened: Record | None, changes: list[Record]) -> tuple[Device, ...]:
    """Every device that the session ever had; if the amount of one changed, its largest."""
    found: dict[str, Device] = {}
    for record in [*([] if opened is None else [opened]), *changes]:
        for device in map(_device, record["capacity"]):
            if device.device not in found or found[device.device].amount < device.amount:
                found[device.device] = device
    return tuple(found.values())


def _device(entry: DeviceRecord) -> Device:
    return Device(
        device=entry["device"],
        device_kind=entry["device_kind"],
        amount=entry["amount"],
        name=str(entry.get("name", "")),
        node=str(entry.get("node", "")),
    )


def _driver_work(record: Record) -> DriverWork:
    return DriverWork(
        session=record["session"],
        route=record["route"],
        phase=record["phase"],
        target=record["target"],
        replicate=record["replicate"],
        begin_t=record["t"] - record["duration_s"],
        end_t=record["t"],
        duration_s=record["duration_s"],
    )
