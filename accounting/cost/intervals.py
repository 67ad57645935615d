"""When each attempt held its devices. The rules are stated in :mod:`accounting.cost.attempts`."""

# No `from __future__ import annotations`: it would leave the fields of named tuples as texts that nothing resolves.

from collections import defaultdict
from typing import NamedTuple

from accounting.cost.evidence import Evidence, SpanKey, Trace
from accounting.ledger.records import CLOCK_TOLERANCE_S, Status

DEFAULT_HEARTBEAT_S = 10.0


class Interval(NamedTuple):
    """When an attempt held its devices, how it ended, and how long (in seconds) it may have continued unseen."""

    begin_t: float
    end_t: float
    status: Status
    unseen_s: float
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
        opened_t = float(evidence.opened[key]["t"])
        intervals |= _in_one_allocation(traces, opened_t, evidence.closed_t(key), statuses, now)
    return intervals


def statuses_of(evidence: Evidence) -> dict[str, Status]:
    """How each attempt ended. One without an end on record is lost if it cannot be alive any more, otherwise running."""
    traces = evidence.traces.values()
    statuses = {trace.attempt: Status(trace.ended["status"]) for trace in traces if trace.ended is not None}
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


def _in_one_allocation(
    traces: list[Trace], opened_t: float, closed_t: float | None, statuses: dict[str, Status], now: float
) -> dict[str, Interval]:
    """Divide the life of an allocation among the attempts that used it one after another, without gaps."""
    intervals = {}
    end = opened_t
    for place, trace in enumerate(sorted(traces, key=lambda trace: trace.started_t)):
        status, flags = statuses[trace.attempt], []
        own_end, unseen_s = _own_end(trace, status, now), _unseen_s(trace, status)
        if place > 0 and trace.started_t < end - CLOCK_TOLERANCE_S:
            flags.append("overlaps")
        begin = min(end, trace.started_t) if place == 0 else end
        end = max(begin, own_end)
        if place == len(traces) - 1 and closed_t is not None:
            if closed_t >= end:
                unseen_s = 0.0  # the end of the allocation is known, so nothing was held unseen
            end = max(end, closed_t)
        if trace.started_t < opened_t - CLOCK_TOLERANCE_S or (
            closed_t is not None and own_end > closed_t + CLOCK_TOLERANCE_S
        ):
            flags.append("outside_allocation")
        intervals[trace.attempt] = Interval(begin, end, status, unseen_s, tuple(flags))
    return intervals
