"""Records that state the impossible: an accuracy above 1, an eleventh epoch of ten, work outside its attempt."""

from __future__ import annotations

from collections.abc import Iterator

from accounting.cost.evidence import Evidence, Trace
from accounting.ledger.findings import Finding
from accounting.ledger.records import CLOCK_TOLERANCE_S

ACCURACIES = ("val_top1", "test_top1")
SAME = ("route", "phase", "target", "replicate")
"""The fields that all attempts at a job have in common."""


def impossible_in(evidence: Evidence) -> Iterator[Finding]:
    """One finding for each."""
    yield from _progress(evidence)
    yield from _jobs(evidence)
    for trace in evidence.traces.values():
        yield from _outcome(trace)
        yield from _order(trace)
        yield from _alive(trace, evidence)


def _progress(evidence: Evidence) -> Iterator[Finding]:
    points = evidence.points
    for row, (top1, epoch, of) in enumerate(zip(points.val_top1, points.epoch, points.num_epochs, strict=True)):
        if top1 < 0 or top1 > 1:
            yield _accuracy(points.names[points.attempt[row]], "val_top1", top1)
        if epoch < 0 or epoch > of:
            message = f"attempt {points.names[points.attempt[row]]} has ended epoch {epoch} of {of}"
            yield Finding("error", "epoch_impossible", message)


def _outcome(trace: Trace) -> Iterator[Finding]:
    outcome = None if trace.ended is None else trace.ended["outcome"]
    for name, value in (outcome or {}).items():
        if name in ACCURACIES and isinstance(value, (int, float)) and not 0 <= value <= 1:
            yield _accuracy(trace.attempt, name, value)


def _accuracy(attempt: str, name: str, value: float) -> Finding:
    return Finding(
        "error", "accuracy_impossible", f"attempt {attempt} has {name} {value:g}, which is not a share between 0 and 1"
    )


def _jobs(evidence: Evidence) -> Iterator[Finding]:
    first: dict[str, Trace] = {}
    for trace in evidence.traces.values():
        before = first.setdefault(trace.job, trace)
        one, other = dict(before.started), dict(trace.started)
        for name in SAME:
            if one[name] != other[name]:
                message = f"job {trace.job}: {before.attempt} has {name} {one[name]}, {trace.attempt} has {other[name]}"
                yield Finding("error", "job_differs", message)


def _order(trace: Trace) -> Iterator[Finding]:
    """Check the order of times, with a tolerance since the clock of a node may be adjusted."""
    if trace.work_begun is None:
        return
    begun_t = float(trace.work_begun["t"])
    if begun_t < trace.started_t - CLOCK_TOLERANCE_S:
        yield _outside(trace, f"began to work {trace.started_t - begun_t:.1f} s before it started")
    if trace.ended is None:
        return
    end_t, work_end_t = float(trace.ended["t"]), trace.ended["work_end_t"]
    if begun_t > end_t + CLOCK_TOLERANCE_S:
        yield _outside(trace, f"began to work {begun_t - end_t:.1f} s after it ended")
    if work_end_t is not None and work_end_t > end_t + CLOCK_TOLERANCE_S:
        yield _outside(trace, f"worked until {work_end_t - end_t:.1f} s after it ended")


def _alive(trace: Trace, evidence: Evidence) -> Iterator[Finding]:
    """Check the heartbeats, which come from the attempt or its node's sampler, by the clock of its begin and end."""
    if trace.attempt not in evidence.points.beats:
        return
    _, first_t, last_t = evidence.points.beats[trace.attempt]
    if first_t < trace.started_t - CLOCK_TOLERANCE_S:
        yield _outside(trace, f"was seen alive {trace.started_t - first_t:.1f} s before it started")
    if trace.ended is not None and last_t > trace.ended["t"] + CLOCK_TOLERANCE_S:
        yield _outside(trace, f"was seen alive {last_t - trace.ended['t']:.1f} s after it ended")


def _outside(trace: Trace, what: str) -> Finding:
    return Finding("error", "work_outside_attempt", f"attempt {trace.attempt} {what}")
