"""Which part of an attempt's time was productive. The rules are stated in :mod:`accounting.cost.attempts`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from accounting.cost.evidence import Trace
from accounting.cost.intervals import Interval
from accounting.ledger.records import Status


class Split(NamedTuple):
    """The split of an attempt's interval in seconds (not yet times the amount of device); the three add up to its length."""

    productive_s: float
    overhead_s: float
    lost_s: float
    flags: tuple[str, ...] = ()


def split_job(
    traces: Sequence[Trace], intervals: dict[str, Interval], *, is_abandoned: bool
) -> Iterator[tuple[str, Split]]:
    """Split the attempts of one job, given in the order in which they started.

    Walks back from the attempt that gave the outcome or, while the job is pending, from its last attempt: the epoch from
    which that one began is the epoch up to which the previous attempt was kept, and so on.
    """
    done = first_ok(traces)
    kept_epoch = float("-inf") if is_abandoned else float("inf")
    if done is not None:
        kept_epoch = float("-inf")
    reached = done is None
    for trace in reversed(traces):
        interval = intervals[trace.attempt]
        if trace is done:
            reached = True
            yield trace.attempt, _split_ok(trace, interval)
            kept_epoch = _begun_epoch(trace)
        elif not reached or trace.is_ok:
            yield trace.attempt, _all_lost(interval, ("repeated",))
        elif interval.status is Status.RUNNING:
            yield trace.attempt, _split_running(trace, interval)
            kept_epoch = min(kept_epoch, _begun_epoch(trace))
        else:
            split, contributed = _split_cut_short(trace, interval, kept_epoch)
            yield trace.attempt, split
            if contributed:
                kept_epoch = min(kept_epoch, _begun_epoch(trace))


def first_ok(traces: Sequence[Trace]) -> Trace | None:
    """The attempt that gave the job its outcome: the first in time that ended ok."""
    if len(traces) == 1:  # the common case
        return traces[0] if traces[0].is_ok else None
    return min((t for t in traces if t.ended is not None and t.is_ok), key=_ended_t, default=None)


def _ended_t(trace: Trace) -> float:
    return float(trace.ended["t"]) if trace.ended is not None else float("inf")


def _begun_epoch(trace: Trace) -> float:
    """The epoch from which the attempt began; earlier epochs are not its work. Infinite while unknown."""
    return float("inf") if trace.work_begun is None else float(trace.work_begun["epoch"])


def _split_ok(trace: Trace, interval: Interval) -> Split:
    if trace.work_begun is None or trace.ended is None:
        return Split(0.0, interval.end_t - interval.begin_t, 0.0, ("no_work",))
    work_end = trace.ended["t"] if trace.ended["work_end_t"] is None else trace.ended["work_end_t"]
    return _split_at(interval, trace.work_begun["t"], work_end, rest_is_lost=False)


def _split_running(trace: Trace, interval: Interval) -> Split:
    begun = interval.end_t if trace.work_begun is None else trace.work_begun["t"]
    return _split_at(interval, begun, interval.end_t, rest_is_lost=False)


def _split_cut_short(trace: Trace, interval: Interval, kept_epoch: float) -> tuple[Split, bool]:
    if trace.work_begun is None:
        return _all_lost(interval, ("no_work",)), False
    begun_t = trace.work_begun["t"]
    kept_t = [t for t, epoch in trace.checkpoints if epoch <= kept_epoch]
    return _split_at(interval, begun_t, max(kept_t, default=begun_t), rest_is_lost=True), bool(kept_t)


def _split_at(interval: Interval, work_t: float, kept_t: float, *, rest_is_lost: bool) -> Split:
    """Overhead until ``work_t``, productive until ``kept_t``, then lost or overhead; clipped to the interval."""
    begin, end = interval.begin_t, interval.end_t
    work_t = min(max(float(work_t), begin), end)
    kept_t = min(max(float(kept_t), work_t), end)
    before, kept, after = work_t - begin, kept_t - work_t, end - kept_t
    return Split(kept, before, after) if rest_is_lost else Split(kept, before + after, 0.0)


def _all_lost(interval: Interval, flags: tuple[str, ...]) -> Split:
    return Split(0.0, 0.0, interval.end_t - interval.begin_t, flags)
