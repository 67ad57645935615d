"""Records that state the impossible: an accuracy above 1, an eleventh epoch of ten, a time in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from accounting.cost.evidence import Evidence, Trace
from accounting.ledger.findings import Finding
from accounting.ledger.points import Points
from accounting.ledger.records import CLOCK_TOLERANCE_S

ACCURACIES = frozenset({"val_top1", "test_top1", "dense_val_top1", "dense_test_top1", "supernet_val_top1"})
LISTS_OF_ACCURACIES = frozenset({"val_curve", "scores"})
COUNTS = frozenset({"macs", "dense_macs", "params", "nonzero_params"})
"""Fields of an outcome that are accuracies, lists of these, and counts."""
LATEST_T = 7_258_118_400.0
"""The year 2200: a later time is not in seconds, or its clock was not set."""
NOTHING_BEFORE = float("-inf"), float("-inf")
SAME = ("route", "phase", "target", "replicate")
"""The fields that all attempts at a job have in common."""


def impossible_in(evidence: Evidence) -> Iterator[Finding]:
    """One finding for each."""
    yield from _times(evidence)
    yield from _progress(evidence)
    yield from _jobs(evidence)
    for trace in evidence.traces.values():
        yield from _numbers(trace)
        yield from _outcome(trace)
        yield from _order(trace)
        yield from _alive(trace, evidence)


def _times(evidence: Evidence) -> Iterator[Finding]:
    for session, (first_t, last_t) in evidence.session_span.items():
        for t in (first_t, last_t):
            if not 0 <= t < LATEST_T:
                message = f"session {session} has a record of time {t:.15g}, and times are seconds since 1970"
                yield Finding("error", "time_impossible", message)


def _numbers(trace: Trace) -> Iterator[Finding]:
    started, begun = trace.started, trace.work_begun
    told = (
        ("replicate", started["replicate"], 0),
        ("target", 1 if started["target"] is None else started["target"], 1),
        ("network_macs", started["network_macs"] or 0, 0),
        ("epoch", 0 if begun is None else begun["epoch"], 0),
    )
    for name, value, least in told:
        if value < least:
            yield Finding("error", "number_impossible", f"attempt {trace.attempt} has {name} {value:g}")


def _progress(evidence: Evidence) -> Iterator[Finding]:
    points = evidence.points
    yield from _epochs_in_turn(points)
    for row, (top1, epoch, of) in enumerate(zip(points.val_top1, points.epoch, points.num_epochs, strict=True)):
        if top1 < 0 or top1 > 1:
            yield _accuracy(points.names[points.attempt[row]], "val_top1", top1)
        if epoch < 0 or epoch > of:
            message = f"attempt {points.names[points.attempt[row]]} has ended epoch {epoch} of {of}"
            yield Finding("error", "epoch_impossible", message)


def _epochs_in_turn(points: Points) -> Iterator[Finding]:
    """Check that the epochs of an attempt rise with time; rows may be in any order."""
    last: dict[int, tuple[float, float]] = {}
    for code, t, epoch in zip(points.attempt, points.t, points.epoch, strict=True):
        before_t, before = last.get(code, NOTHING_BEFORE)
        if t >= before_t and epoch > before:
            last[code] = t, epoch
            continue
        (_, first), (then_t, then) = sorted(((before_t, before), (t, epoch)))
        last[code] = then_t, then
        if then <= first:
            message = f"attempt {points.names[code]} has ended epoch {then} after epoch {first}"
            yield Finding("error", "epoch_impossible", message)


def _outcome(trace: Trace) -> Iterator[Finding]:
    outcome = None if trace.ended is None else trace.ended["outcome"]
    said: Mapping[str, object] = outcome or {}
    for name, value in said.items():
        if value is None:
            continue
        if name in ACCURACIES and not _is_share(value):
            yield _accuracy(trace.attempt, name, value)
        elif name in LISTS_OF_ACCURACIES and not (isinstance(value, list) and all(map(_is_share, value))):
            yield Finding("error", "accuracy_impossible", f"attempt {trace.attempt} has {name} that are not all shares")
        elif name in COUNTS and not (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0):
            yield Finding("error", "number_impossible", f"attempt {trace.attempt} has {name} {_short(value)}")


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _accuracy(attempt: str, name: str, value: object) -> Finding:
    told = f"attempt {attempt} has {name} {_short(value)}, which is not a share between 0 and 1"
    return Finding("error", "accuracy_impossible", told)


def _short(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else f"{value!r:.40}"


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
