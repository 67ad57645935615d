"""When each attempt held its devices. The rules are stated in :mod:`accounting.cost.attempts`."""

# No `from __future__ import annotations`: it would leave the fields of named tuples as texts that nothing resolves.

from collections import defaultdict
from typing import NamedTuple

from accounting.cost.evidence import Evidence, SpanKey, Trace
from accounting.ledger.records import CLOCK_TOLERANCE_S, Record, Status

DEFAULT_HEARTBEAT_S = 10.0
_STATUSES = {str(status): status for status in Status}


class Interval(NamedTuple):
    """When an attempt held its devices, how it ended, and by how many seconds begin and end together may be off."""

    begin_t: float
    end_t: float
    status: Status
    uncertainty_s: float
    flags: tuple[str, ...]


def intervals_of(evidence: Evidence, now: float) -> dict[str, Interval]:
    """The interval of each attempt."""
    by_span: dict[SpanKey, list[Trace]] = defaultdict(list)
    intervals: dict[str, Interval] = {}
    statuses = statuses_of(evidence)
    for trace in evidence.traces.values():
        if trace.span in evidence.opened:
            by_span[trace.span].append(trace)
        else:
            intervals[trace.attempt] = _alone(trace, statuses[trace.attempt], now)
    for key, traces in by_span.items():
        _divide(traces, key, evidence, statuses, now, intervals)
    return intervals


def since_look_s(edge: Record | None, known_t: float, t: float) -> float:
    """How much earlier than ``t`` the begin or end of an allocation may have been, but not before ``known_t``.

    ``edge`` is its record. 0 if that does not say when the look before was, as in old ledgers.
    """
    if edge is None or "looked_t" not in edge:
        return 0.0
    return max(0.0, t - max(known_t, float(edge["looked_t"])))


def statuses_of(evidence: Evidence) -> dict[str, Status]:
    """How each attempt ended. One without an end on record is lost if it cannot be alive any more, otherwise running."""
    traces = evidence.traces.values()
    statuses = {trace.attempt: _STATUSES[trace.ended["status"]] for trace in traces if trace.ended is not None}
    if len(statuses) == len(traces):
        return statuses
    last_of_job: dict[str, float] = defaultdict(lambda: float("-inf"))
    last_of_span: dict[SpanKey, float] = defaultdict(lambda: float("-inf"))
    for trace in traces:
        last_of_job[trace.job] = max(last_of_job[trace.job], trace.started_t)
        last_of_span[trace.span] = max(last_of_span[trace.span], trace.started_t)
    for trace in traces:
        if trace.ended is not None:
            continue
        is_lost = (
            evidence.is_over(trace.session)
            or trace.span in evidence.closed
            or last_of_job[trace.job] > trace.started_t
            or (trace.span in evidence.opened and last_of_span[trace.span] > trace.started_t)
            or evidence.abandoned_t.get(trace.job, float("-inf")) >= trace.started_t
        )
        statuses[trace.attempt] = Status.LOST if is_lost else Status.RUNNING
    return statuses


def _own_end(trace: Trace, status: Status, now: float) -> float:
    if trace.ended is not None:
        return float(trace.ended["t"])
    return max(trace.last_t, now) if status is Status.RUNNING else trace.last_t


def _unseen_s(trace: Trace, status: Status) -> float:
    return float(trace.started.get("heartbeat_s", DEFAULT_HEARTBEAT_S)) if status is Status.LOST else 0.0


def _alone(trace: Trace, status: Status, now: float) -> Interval:
    end = max(trace.started_t, _own_end(trace, status, now))
    flags = () if trace.started["allocation"] is None else ("no_allocation_record",)
    return Interval(trace.started_t, end, status, _unseen_s(trace, status), flags)


def _divide(
    traces: list[Trace],
    key: SpanKey,
    evidence: Evidence,
    statuses: dict[str, Status],
    now: float,
    intervals: dict[str, Interval],
) -> None:
    """Divide the life of an allocation among the attempts that used it one after another, without gaps."""
    opened, closed, closed_t = evidence.opened[key], evidence.closed.get(key), evidence.closed_t(key)
    end = opened_t = float(opened["t"])
    in_turn = traces if len(traces) == 1 else sorted(traces, key=lambda trace: trace.started_t)
    for place, trace in enumerate(in_turn):
        status = statuses[trace.attempt]
        flags: tuple[str, ...] = ()
        own_end, unseen_s = _own_end(trace, status, now), _unseen_s(trace, status)
        if place > 0 and trace.started_t < end - CLOCK_TOLERANCE_S:
            flags = ("overlaps",)
        begin, begin_s = end, 0.0
        if place == 0:
            begin = min(end, trace.started_t)
            begin_s = since_look_s(opened, float("-inf"), begin)
        end = max(begin, own_end)
        if place == len(traces) - 1 and closed is not None and closed_t is not None:
            if closed_t >= end:
                unseen_s = since_look_s(closed, end, float(closed["t"]))  # after its end, nothing was held unseen
            end = max(end, closed_t)
        if trace.started_t < opened_t - CLOCK_TOLERANCE_S or (
            closed_t is not None and own_end > closed_t + CLOCK_TOLERANCE_S
        ):
            flags = (*flags, "outside_allocation")
        intervals[trace.attempt] = Interval(begin, end, status, begin_s + unseen_s, flags)
