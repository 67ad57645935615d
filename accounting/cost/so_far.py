"""What attempts have cost so far in a ledger that is still being written; each read processes only what is new.

The values are those of :func:`accounting.cost.attempts.derive`, bit for bit. An attempt is *settled* when it has ended
and its allocation has closed: no later record changes its cost, so it is derived once. The others are derived again
when a record concerns them; for a running attempt, only the elapsed time is updated. If a record would change a settled
cost (a second record where there can be only one) or the ledger cannot be followed, the whole ledger is read and
derived from then on.
"""

# No `from __future__ import annotations`: it would leave the fields of named tuples as texts that nothing resolves.

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from accounting.cost.attempts import derive, devices_of, held_by
from accounting.cost.equivalence import equivalence_in, rates_of
from accounting.cost.evidence import NODE_DIED, Evidence, SpanKey, Trace, file_records, file_spans
from accounting.cost.intervals import intervals_of
from accounting.cost.values import CostView
from accounting.ledger.packed import PackedSpec
from accounting.ledger.points import Points
from accounting.ledger.records import Kind, Record, Status
from accounting.ledger.specs import JobSpec
from accounting.ledger.store import read_lean
from accounting.ledger.tail import Tail
from accounting.words.names import DeviceKind


class SpentAttempt(NamedTuple):
    """What an attempt has cost by now; for the fields see :class:`Attempt`. Sorted by when the attempts began."""

    begin_t: float
    attempt: str
    job: str
    route: str
    phase: str
    target: int | None
    replicate: int
    device_kind: DeviceKind
    status: Status
    packed: JobSpec | PackedSpec
    allocated_s: float

    @property
    def spec(self) -> JobSpec:
        """The specification of the job."""
        return self.packed.unpacked() if isinstance(self.packed, PackedSpec) else self.packed


class DoneJob(NamedTuple):
    """A job that has an outcome."""

    job: str
    route: str
    phase: str
    target: int | None
    replicate: int
    status: Status = Status.OK


@dataclass(frozen=True)
class SpentView:
    """All attempts of a study with their costs, and the jobs that are done; valid until the next read.

    ``settled`` and ``jobs`` only grow while ``era`` stays the same, so a caller that keeps sums can add just the new
    items.
    """

    settled: Sequence[SpentAttempt]
    """Attempts whose cost will not change, in the order in which they were settled."""
    live: Sequence[SpentAttempt]
    """All other attempts."""
    jobs: Sequence[DoneJob]
    """Jobs that are done, in the order in which they were found to be done."""
    device_kind: DeviceKind
    era: int = 0
    num_devices: float = float("inf")
    """The devices of that kind that all sessions had, each at its rate, so that no attempts hold more; infinite if that is
    not on record."""

    @property
    def attempts(self) -> Sequence[SpentAttempt]:
        """All attempts, in the order in which they began."""
        return sorted([*self.settled, *self.live], key=lambda each: each[:2])


class SpentSoFar:
    """Reads a growing ledger repeatedly."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._tail, self._evidence = folder, Tail(folder), Evidence()
        self._is_odd = False
        """Whether the whole ledger is read each time."""
        self._by_job: dict[str, list[Trace]] = defaultdict(list)
        self._by_span: dict[SpanKey, list[Trace]] = defaultdict(list)
        self._live: dict[str, Trace] = {}
        self._known: dict[str, tuple[SpentAttempt, float]] = {}
        """By live attempt: what was derived of it, and the amount of devices that it holds."""
        self._touched: dict[str, None] = {}
        """Live attempts to be derived again."""
        self._settled: list[SpentAttempt] = []
        self._era = 0
        self._is_cuda = self._settled_cuda = False
        self._closed_spans: set[SpanKey] = set()
        self._done: dict[str, DoneJob] = {}
        self._done_jobs: list[DoneJob] = []
        self._kinds: dict[str, DeviceKind] = {}
        self._amounts: dict[DeviceKind, float] = {}
        self._rates: dict[str, float] = {}

    def read(self, now: float) -> CostView | SpentView:
        """What has been spent by ``now``.

        Raises:
            LedgerError: as :func:`accounting.ledger.store.read_ledger`.

        """
        if not self._is_odd:
            new = self._tail.read()
            self._is_odd = new is None or not self._file(new[0])
            if new is not None and not self._is_odd:
                self._file_points(new[1])
                self._is_odd = bool(self._evidence.orphans)
        if self._is_odd:
            ledger = read_lean(self._folder)
            return derive(ledger.records, now, ledger.points)
        return self._view(now)

    def _file(self, records: Iterable[Record]) -> bool:
        """Take up new records; returns False if the whole ledger has to be read instead."""
        evidence, ordered = self._evidence, sorted(records, key=_time_of)
        begins = self._begins()
        for record in ordered:
            if record["kind"] == Kind.ATTEMPT_STARTED:
                if record["attempt"] in evidence.traces:
                    return False
                trace = Trace(record, last_t=record["t"])
                if trace.span in self._closed_spans:
                    return False
                evidence.traces[trace.attempt] = self._live[trace.attempt] = trace
                self._by_job[trace.job].append(trace)
                self._by_span[trace.span].append(trace)
        for record in ordered:
            if self._has_already(record):
                return False
            before = evidence.abandoned_t.get(record.get("job", ""), float("-inf"))
            file_records((record,), evidence)
            if record["kind"] == Kind.JOB_ABANDONED:
                evidence.abandoned_t[record["job"]] = max(before, record["t"])
            elif record["kind"] == Kind.ATTEMPT_ENDED and record["status"] == Status.OK:
                self._note_done(evidence.traces[record["attempt"]].job if record["attempt"] in evidence.traces else "")
            elif record["kind"] in (Kind.SESSION_OPENED, Kind.CAPACITY_CHANGED):
                self._unsettle()
        for record in ordered:
            self._touch(record)
        if self._begins() != begins:
            self._touched |= dict.fromkeys(self._live)
        return True

    def _begins(self) -> dict[str, float]:
        """When each session began, as far as known; whether a session is over depends on it."""
        return {session: first_t for session, (first_t, _) in self._evidence.session_span.items()}

    def _touch(self, record: Record) -> None:
        """Note the attempts whose costs a record may change."""
        kind, evidence = record["kind"], self._evidence
        if kind == Kind.SESSION_CLOSED:
            self._touched |= dict.fromkeys(self._live)
        elif kind in (Kind.ALLOCATION_OPENED, Kind.ALLOCATION_CLOSED):
            self._touch_all(self._by_span.get((record["session"], str(record["allocation"])), ()))
        elif kind == Kind.JOB_ABANDONED:
            self._touch_all(self._by_job.get(record["job"], ()))
        elif (trace := evidence.traces.get(record.get("attempt", ""))) is not None:
            self._touch_all(self._by_job[trace.job] if kind == Kind.ATTEMPT_STARTED else (trace,))

    def _touch_all(self, traces: Iterable[Trace]) -> None:
        """Note these attempts and all live ones that share an open allocation with one of them."""
        for trace in traces:
            together = self._by_span[trace.span] if trace.span in self._evidence.opened else (trace,)
            self._touched |= {each.attempt: None for each in together if each.attempt in self._live}

    def _file_points(self, points: Points) -> None:
        begins = self._begins()
        file_spans(points, self._evidence)
        for name in {*points.codes, *points.beats}:
            if (trace := self._evidence.traces.get(name)) is not None:
                self._touch_all((trace,))
        if self._begins() != begins:
            self._touched |= dict.fromkeys(self._live)

    def _has_already(self, record: Record) -> bool:
        """Whether the ledger already has a record of this kind for something that can have only one."""
        kind, evidence = record["kind"], self._evidence
        if kind == Kind.ATTEMPT_ENDED:
            trace = evidence.traces.get(record["attempt"])
            return trace is not None and trace.ended is not None
        if kind in (Kind.ALLOCATION_OPENED, Kind.ALLOCATION_CLOSED):
            spans = evidence.opened if kind == Kind.ALLOCATION_OPENED else evidence.closed
            return (record["session"], str(record["allocation"])) in spans
        if kind in (Kind.SESSION_OPENED, Kind.SESSION_CLOSED):
            return record["session"] in (
                evidence.session_opened if kind == Kind.SESSION_OPENED else evidence.session_closed
            )
        return False

    def _unsettle(self) -> None:
        """Derive everything again, because the set of devices or their kinds have changed."""
        self._live = dict(self._evidence.traces)
        self._touched, self._known = dict.fromkeys(self._live), {}
        self._settled, self._settled_cuda = [], False
        self._era += 1
        self._closed_spans.clear()
        self._kinds, self._rates, amounts = {}, {}, dict[str, float]()
        by_model = equivalence_in(self._evidence).rates
        for session in self._evidence.session_span:
            opened, changes = (
                self._evidence.session_opened.get(session),
                self._evidence.capacity_changed.get(session, []),
            )
            devices = devices_of(opened, changes)
            self._rates |= rates_of(devices, by_model)
            for device in devices:
                self._kinds[device.device] = device.device_kind
                amounts[device.device] = max(device.amount, amounts.get(device.device, 0.0))
        self._amounts = defaultdict(float)
        for name, amount in amounts.items():
            self._amounts[self._kinds[name]] += amount * self._rates.get(name, 1.0)

    def _view(self, now: float) -> SpentView:
        self._derive(now)
        found = [self._by_now(trace, now) for trace in self._live.values()]
        is_cuda = "cuda" in self._kinds.values() or self._settled_cuda
        is_cuda = is_cuda or any(each.device_kind == "cuda" for each in found)
        if is_cuda is not self._is_cuda:
            self._is_cuda = is_cuda
            self._era += 1
        kind: DeviceKind = "cuda" if is_cuda else "cpu_core"
        return SpentView(
            self._settled, found, self._done_jobs, kind, self._era, self._amounts.get(kind) or float("inf")
        )

    def _by_now(self, trace: Trace, now: float) -> SpentAttempt:
        """What a live attempt has cost by now."""
        known, amount = self._known[trace.attempt]
        if known.status is not Status.RUNNING:
            return known
        allocated_s = amount * (max(known.begin_t, trace.last_t, now) - known.begin_t)
        return SpentAttempt(*known[:-1], allocated_s)  # quicker than _replace, and there may be thousands

    def _derive(self, now: float) -> None:
        """Derive the touched attempts again, and settle those that can be."""
        touched = [self._live[name] for name in self._touched if name in self._live]
        self._touched = {}
        if not touched:
            return
        jobs = dict.fromkeys(trace.job for trace in touched)
        traces = {trace.attempt: trace for trace in touched}
        evidence = replace(
            self._evidence, traces=traces | {trace.attempt: trace for job in jobs for trace in self._by_job[job]}
        )
        intervals = intervals_of(evidence, now)
        spans: dict[SpanKey, list[Trace]] = defaultdict(list)
        for trace in touched:
            interval = intervals[trace.attempt]
            _, kind, amount = held_by(trace, evidence, self._kinds, self._rates)
            started = trace.started
            spent = SpentAttempt(
                interval.begin_t, trace.attempt, trace.job, started["route"], started["phase"], started["target"],
                started["replicate"], kind, interval.status, started["spec"],
                amount * (interval.end_t - interval.begin_t),
            )  # fmt: skip
            self._known[trace.attempt] = spent, amount
            spans[trace.span].append(trace)
        for key, mine in spans.items():
            if self._is_settled(key, mine):
                self._settle(key, mine)
            elif key in evidence.opened and self._moves(mine):
                self._touch_all(mine)

    def _moves(self, traces: Sequence[Trace]) -> bool:
        """Whether a running attempt is not the last of its allocation: then the begins of the others move with it."""
        running_t = [each.started_t for each in traces if self._known[each.attempt][0].status is Status.RUNNING]
        return bool(running_t) and sum(each.started_t >= min(running_t) for each in traces) > 1

    def _settle(self, key: SpanKey, traces: Sequence[Trace]) -> None:
        self._closed_spans.add(key)
        self._tail.rest({str(trace.started["segment"]) for trace in traces if "segment" in trace.started})
        for trace in traces:
            self._settled.append(self._known.pop(trace.attempt)[0])
            self._settled_cuda |= self._settled[-1].device_kind == "cuda"
            del self._live[trace.attempt]

    def _is_settled(self, key: SpanKey, traces: Sequence[Trace]) -> bool:
        closed = self._evidence.closed.get(key)
        return (
            key in self._evidence.opened
            and closed is not None
            and closed.get("cause") != NODE_DIED
            and all(trace.ended is not None for trace in traces)
        )

    def _note_done(self, job: str) -> None:
        if job in self._by_job and job not in self._done:
            self._done[job] = self._done_job(job)
            self._done_jobs.append(self._done[job])

    def _done_job(self, job: str) -> DoneJob:
        first = min(self._by_job[job], key=lambda trace: trace.started_t).started
        return DoneJob(job, first["route"], first["phase"], first["target"], first["replicate"])


def _time_of(record: Record) -> float:
    return float(record["t"])
