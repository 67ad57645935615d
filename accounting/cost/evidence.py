"""The records of a ledger, sorted by session, allocation, attempt and job, before intervals are derived from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter

from accounting.ledger.points import Points, split_off
from accounting.ledger.records import Kind, Record, Status

SpanKey = tuple[str, str]
"""Session and allocation."""


NODE_DIED = "node_died"
"""``cause`` of an ``allocation_closed`` if the node died."""


@dataclass(slots=True)
class Trace:
    """Everything on record about one attempt. If a record was written twice, the first counts."""

    started: Record
    work_begun: Record | None = None
    ended: Record | None = None
    checkpoints: list[tuple[float, float]] = field(default_factory=list)
    """Time and epoch of each checkpoint from which a later attempt can continue; of one that ended ok, only those within
    epochs."""
    last_t: float = 0.0
    """Time of its last record of any kind."""
    attempt: str = field(init=False)
    """Its id."""
    job: str = field(init=False)
    """The id of its job."""
    session: str = field(init=False)
    """The id of its session."""
    span: SpanKey = field(init=False)
    """Its session and its allocation, or the word that stands for none."""
    started_t: float = field(init=False)
    """When its process wrote ``attempt_started``."""

    def __post_init__(self) -> None:
        """Copy out the fields that are often needed."""
        started = self.started
        self.attempt, self.job, self.session = str(started["attempt"]), str(started["job"]), str(started["session"])
        self.span, self.started_t = (self.session, str(started["allocation"])), float(started["t"])

    @property
    def is_ok(self) -> bool:
        """Whether it ended ok."""
        return self.ended is not None and self.ended["status"] == Status.OK


@dataclass
class Evidence:
    """A ledger's records by session, allocation, attempt and job."""

    traces: dict[str, Trace] = field(default_factory=dict)
    opened: dict[SpanKey, Record] = field(default_factory=dict)
    closed: dict[SpanKey, Record] = field(default_factory=dict)
    session_opened: dict[str, Record] = field(default_factory=dict)
    session_closed: dict[str, Record] = field(default_factory=dict)
    capacity_changed: dict[str, list[Record]] = field(default_factory=dict)
    """The records of each session, ordered by time."""
    session_span: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Times of a session's first and last record, including its workers'."""
    abandoned_t: dict[str, float] = field(default_factory=dict)
    """By job: when it was last given up."""
    stopped_t: dict[str, float] = field(default_factory=dict)
    """By job: when its route's budget last stopped it, before or after it had begun."""
    losses: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    """By session and job: what the driver was told about dead workers, ordered by time."""
    orphans: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of records of attempts that never started, by attempt and kind."""
    driver_work: list[Record] = field(default_factory=list)
    points: Points = field(default_factory=Points)
    last_t: float = 0.0
    """Time of the ledger's last record."""

    @cached_property
    def _last_in_span(self) -> dict[SpanKey, float]:
        """The time of the last record of any attempt in an allocation."""
        found: dict[SpanKey, float] = {}
        for trace in self.traces.values():
            key = trace.span
            found[key] = max(found.get(key, trace.last_t), trace.last_t)
        return found

    @cached_property
    def _last_opening(self) -> tuple[float, str, float]:
        """When the latest session opened, which it is, and when the latest of the others opened."""
        times = sorted(((record["t"], name) for name, record in self.session_opened.items()), reverse=True)
        last = times[0] if times else (float("-inf"), "")
        return *last, times[1][0] if len(times) > 1 else float("-inf")

    def closed_t(self, key: SpanKey) -> float | None:
        """When an allocation closed, if that is on record.

        If its node died, not before the last record of an attempt in it, since a worker can outlive the process that ran it.
        """
        closed = self.closed.get(key)
        if closed is None:
            return None
        if closed.get("cause") != NODE_DIED:
            return float(closed["t"])
        return max(float(closed["t"]), self._last_in_span.get(key, float("-inf")))

    def session_end_t(self, session: str) -> float | None:
        """When a session closed, if that is on record; not before the last record in an allocation whose node died."""
        closed = self.session_closed.get(session)
        if closed is None:
            return None
        return max([float(closed["t"]), *self._outlived.get(session, [])])

    @cached_property
    def _outlived(self) -> dict[str, list[float]]:
        """The times of the last records in allocations whose node died, by session."""
        found: dict[str, list[float]] = {}
        for key, closed in self.closed.items():
            if closed.get("cause") == NODE_DIED and key in self._last_in_span:
                found.setdefault(key[0], []).append(self._last_in_span[key])
        return found

    def reason(self, trace: Trace) -> str | None:
        """Why an attempt did not end ok: in its own words if there are any, otherwise in its driver's."""
        if trace.ended is not None:
            return None if trace.ended["reason"] is None else str(trace.ended["reason"])
        losses = self.losses.get((trace.session, trace.job), [])
        return next((str(record["reason"]) for record in losses if record["t"] >= trace.started_t), None)

    @cached_property
    def _before(self) -> dict[str, str]:
        """By session: the one before it, as far as that is on record."""
        return {name: str(record["after"]) for name, record in self.session_opened.items() if record.get("after")}

    def turn(self, session: str) -> tuple[float, int]:
        """A key that sorts sessions by their begin, but none before one that it followed, whose clock was ahead."""
        at = session
        times: list[float] = []
        while at in self.session_span and len(times) <= len(self._before):
            times.append(self._begin_t(at))
            at = self._before.get(at, "")
        return max(times, default=float("-inf")), len(times)

    def _begin_t(self, session: str) -> float:
        opened = self.session_opened.get(session)
        return self.session_span[session][0] if opened is None else float(opened["t"])

    def is_over(self, session: str) -> bool:
        """Whether the session has closed, or a later one has opened, which means that its driver is dead."""
        if session in self.session_closed or session in self._before.values():
            return True
        last_t, last, before_t = self._last_opening
        return (before_t if last == session else last_t) > self.session_span[session][0]


def gather(records: Sequence[Record], points: Points | None = None) -> Evidence:
    """Sort the records of a ledger. They include ends of epochs and heartbeats unless ``points`` has these."""
    if points is None:
        records, points = split_off(sorted(records, key=itemgetter("t")))
    else:
        records = sorted(records, key=itemgetter("t"))
    evidence = Evidence(points=points)
    for record in records:
        if record["kind"] == "attempt_started" and (attempt := record["attempt"]) not in evidence.traces:
            evidence.traces[attempt] = Trace(record, last_t=record["t"])
    file_records(records, evidence)
    ends = [float(records[-1]["t"])] if records else []
    ends += [max(points.t)] if points.t else []
    evidence.last_t = max([*ends, *(last_t for _, _, last_t in points.beats.values())], default=0.0)
    _file_points(evidence)
    return evidence


def file_records(records: Iterable[Record], evidence: Evidence) -> None:
    """Put records, in the order of time, where they belong. Kinds are plain strings here: enums compare more slowly."""
    traces, spans = evidence.traces, evidence.session_span
    for record in records:
        kind, t = record["kind"], record["t"]
        if "attempt" in record:
            trace = traces.get(record["attempt"])
            if trace is None:
                evidence.orphans[record["attempt"], kind] += 1
                continue
            session = trace.session
            if t > trace.last_t:
                trace.last_t = t
            if kind == "work_begun":
                trace.work_begun = trace.work_begun or record
            elif kind == "attempt_ended":
                trace.ended = trace.ended or record
            elif kind == "checkpoint":
                trace.checkpoints.append((t, record["epoch"]))
        else:
            session = record["session"]
            _file_of_session(kind, session, record, evidence)
        span = spans.get(session)
        if span is None or t < span[0] or t > span[1]:
            _widen(evidence, session, t, t)


def _file_of_session(kind: str, session: str, record: Record, evidence: Evidence) -> None:
    if kind == "allocation_opened":
        evidence.opened.setdefault((session, str(record["allocation"])), record)
    elif kind == "allocation_closed":
        evidence.closed.setdefault((session, str(record["allocation"])), record)
    elif kind == Kind.SESSION_OPENED:
        evidence.session_opened.setdefault(session, record)
    elif kind == Kind.SESSION_CLOSED:
        evidence.session_closed.setdefault(session, record)
    elif kind == Kind.CAPACITY_CHANGED:
        evidence.capacity_changed.setdefault(session, []).append(record)
    elif kind == Kind.ATTEMPT_LOST:
        evidence.losses.setdefault((session, record["job"]), []).append(record)
    elif kind == Kind.JOB_ABANDONED:
        evidence.abandoned_t[record["job"]] = record["t"]
    elif kind == Kind.JOB_STOPPED:
        evidence.stopped_t[record["job"]] = record["t"]
    elif kind == Kind.DRIVER_WORK:
        evidence.driver_work.append(record)


def file_spans(points: Points, evidence: Evidence) -> None:
    """Take from ends of epochs and heartbeats how long their attempts were alive."""
    spans = [(Kind.PROGRESS, *span) for span in points.spans()]
    spans += [(Kind.HEARTBEAT, name, int(count), first, last) for name, (count, first, last) in points.beats.items()]
    for kind, name, count, first_t, last_t in spans:
        trace = evidence.traces.get(name)
        if trace is None:
            evidence.orphans[name, kind] += count
            continue
        trace.last_t = max(trace.last_t, last_t)
        _widen(evidence, trace.session, first_t, last_t)


def _widen(evidence: Evidence, session: str, first_t: float, last_t: float) -> None:
    known = evidence.session_span.get(session)
    if known is None:
        evidence.session_span[session] = (first_t, last_t)
    elif first_t < known[0] or last_t > known[1]:
        evidence.session_span[session] = (min(known[0], first_t), max(known[1], last_t))


def _file_points(evidence: Evidence) -> None:
    """Take from ends of epochs and heartbeats all that they say about their attempts."""
    points = evidence.points
    file_spans(points, evidence)
    cut_short = {
        code: trace
        for name, code in points.codes.items()
        if (trace := evidence.traces.get(name)) is not None and not trace.is_ok
    }
    if cut_short:
        for code, t, epoch, kept in zip(points.attempt, points.t, points.epoch, points.checkpointed, strict=True):
            if kept and code in cut_short:
                cut_short[code].checkpoints.append((t, epoch))
