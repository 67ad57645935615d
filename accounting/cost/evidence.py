"""The records of a ledger sorted by what they are about, before any interval is derived from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from accounting.ledger.records import Kind, Record, Status

SpanKey = tuple[str, str]
"""Session and allocation."""


NODE_DIED = "node_died"
"""``cause`` of an ``allocation_closed`` that a node's death brought about."""


@dataclass
class Trace:
    """Everything on record about one attempt. Of a record that was written twice the first counts."""

    started: Record
    work_begun: Record | None = None
    ended: Record | None = None
    progress: list[Record] = field(default_factory=list)
    last_t: float = 0.0
    """Time of its last record of any kind."""

    @property
    def attempt(self) -> str:
        """Its id."""
        return str(self.started["attempt"])

    @property
    def job(self) -> str:
        """The id of its job."""
        return str(self.started["job"])

    @property
    def session(self) -> str:
        """The id of its session."""
        return str(self.started["session"])

    @property
    def started_t(self) -> float:
        """When its process wrote ``attempt_started``."""
        return float(self.started["t"])

    @property
    def is_ok(self) -> bool:
        """Whether it ended well."""
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
    """Of each session, in the order of time."""
    session_span: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Times of the first and the last record of the session, its workers' included."""
    abandoned_t: dict[str, float] = field(default_factory=dict)
    """Job: when it was given up last."""
    losses: dict[tuple[str, str], list[Record]] = field(default_factory=dict)
    """Session and job: what its driver was told of workers that are gone, in the order of time."""
    orphans: list[Record] = field(default_factory=list)
    """Records of attempts that never started."""
    driver_work: list[Record] = field(default_factory=list)

    def closed_t(self, key: SpanKey) -> float | None:
        """When an allocation closed, if that is on record.

        Where its node died: not before the last record of an attempt in it, for a worker can outlive what ran it.
        """
        closed = self.closed.get(key)
        if closed is None:
            return None
        if closed.get("cause") != NODE_DIED:
            return float(closed["t"])
        own = [t.last_t for t in self.traces.values() if (t.session, str(t.started["allocation"])) == key]
        return max(float(closed["t"]), *own) if own else float(closed["t"])

    def reason(self, trace: Trace) -> str | None:
        """Why an attempt did not end well: in its own words, else in its driver's."""
        if trace.ended is not None:
            return None if trace.ended["reason"] is None else str(trace.ended["reason"])
        losses = self.losses.get((trace.session, trace.job), [])
        return next((str(record["reason"]) for record in losses if record["t"] >= trace.started_t), None)

    def is_over(self, session: str) -> bool:
        """Whether the session has closed, or a later one has opened (then its driver is dead)."""
        begin = self.session_span[session][0]
        return session in self.session_closed or any(
            other != session and record["t"] > begin for other, record in self.session_opened.items()
        )


def gather(records: Sequence[Record]) -> Evidence:
    """Sort out the records of a ledger."""
    evidence = Evidence()
    records = sorted(records, key=lambda record: float(record["t"]))
    for record in records:
        if record["kind"] == Kind.ATTEMPT_STARTED:
            evidence.traces.setdefault(record["attempt"], Trace(record, last_t=record["t"]))
    for record in records:
        _file(record, evidence)
    return evidence


def _file(record: Record, evidence: Evidence) -> None:
    kind = Kind(record["kind"])
    trace = evidence.traces.get(record.get("attempt", ""))
    if "attempt" in record and trace is None:
        evidence.orphans.append(record)
        return
    session = trace.session if trace is not None else record["session"]
    first, last = evidence.session_span.get(session, (record["t"], record["t"]))
    evidence.session_span[session] = (min(first, record["t"]), max(last, record["t"]))
    if trace is not None:
        _file_in_trace(kind, record, trace)
    elif kind is Kind.SESSION_OPENED:
        evidence.session_opened.setdefault(session, record)
    elif kind is Kind.SESSION_CLOSED:
        evidence.session_closed.setdefault(session, record)
    elif kind is Kind.CAPACITY_CHANGED:
        evidence.capacity_changed.setdefault(session, []).append(record)
    elif kind is Kind.ALLOCATION_OPENED:
        evidence.opened.setdefault((session, str(record["allocation"])), record)
    elif kind is Kind.ALLOCATION_CLOSED:
        evidence.closed.setdefault((session, str(record["allocation"])), record)
    elif kind is Kind.ATTEMPT_LOST:
        evidence.losses.setdefault((session, record["job"]), []).append(record)
    elif kind is Kind.JOB_ABANDONED:
        evidence.abandoned_t[record["job"]] = record["t"]
    elif kind is Kind.DRIVER_WORK:
        evidence.driver_work.append(record)


def _file_in_trace(kind: Kind, record: Record, trace: Trace) -> None:
    trace.last_t = max(trace.last_t, record["t"])
    if kind is Kind.WORK_BEGUN:
        trace.work_begun = trace.work_begun or record
    elif kind is Kind.PROGRESS:
        trace.progress.append(record)
    elif kind is Kind.ATTEMPT_ENDED:
        trace.ended = trace.ended or record
