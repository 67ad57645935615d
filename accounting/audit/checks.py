"""Records of a ledger that contradict each other or show that something went wrong; one finding each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from accounting.cost.at_rates import as_held
from accounting.cost.attempts import device_kind_of
from accounting.cost.evidence import Evidence
from accounting.cost.lineage import teacher_of
from accounting.cost.split import first_ok
from accounting.cost.values import Attempt, CostView
from accounting.ledger.findings import Finding
from accounting.ledger.packed import links_of
from accounting.ledger.records import CLOCK_TOLERANCE_S, Kind, Record, Status

ROUNDING_S = 1e-3
UNSEEN = 0.01
"""The share of a session, or of what a route held in all, from which on what may have been held unseen is worth saying."""
ROUNDING = 1e-3
"""Of amounts of a device: Ray counts ten-thousandths."""


def contradictions_in(records: Sequence[Record], evidence: Evidence, view: CostView) -> Iterator[Finding]:
    """All findings that need no balance."""
    yield from _recorded_twice(records)
    yield from _orphans(evidence)
    yield from _left_open(evidence)
    yield from _attempts(view)
    yield from _driver_work(view)
    yield from _devices(evidence, view)
    yield from _in_sessions(view)
    yield from _jobs(evidence, view)
    yield from _inputs(evidence, view)
    yield from _sessions(view)


ONCE = {
    str(Kind.ATTEMPT_STARTED): ("attempt",),
    str(Kind.ATTEMPT_ENDED): ("attempt",),
    str(Kind.WORK_BEGUN): ("attempt",),
    str(Kind.SESSION_OPENED): ("session",),
    str(Kind.SESSION_CLOSED): ("session",),
    str(Kind.ALLOCATION_OPENED): ("session", "allocation"),
    str(Kind.ALLOCATION_CLOSED): ("session", "allocation"),
}
"""Kinds of record of which there is at most one for each of these names."""
OF_ATTEMPTS = (Kind.ATTEMPT_STARTED, Kind.ATTEMPT_ENDED)


def _recorded_twice(records: Sequence[Record]) -> Iterator[Finding]:
    counts: Counter[tuple[str, ...]] = Counter()
    for record in records:
        kind = record["kind"]
        if (keys := ONCE.get(kind)) is not None:
            counts[(kind, *[str(record[key]) for key in keys])] += 1  # type: ignore[literal-required]
    for (kind, *names), count in counts.items():
        if count > 1 and kind in OF_ATTEMPTS:
            yield Finding("error", "attempt_recorded_twice", f"attempt {names[0]} has {count} records of {kind}")
        elif count > 1:
            whose = " of ".join(reversed(names))
            yield Finding("error", "recorded_twice", f"there are {count} records of {kind} for {whose}")


def _driver_work(view: CostView) -> Iterator[Finding]:
    begins = {session.session: session.begin_t for session in view.sessions}
    for work in view.driver_work:
        early_s = begins[work.session] - work.begin_t
        if early_s > CLOCK_TOLERANCE_S:
            what = f"the driver's {work.phase} for {work.route}"
            message = f"{what} began {early_s:.1f} s before session {work.session} opened"
            yield Finding("warning", "driver_work_impossible", message)


def _orphans(evidence: Evidence) -> Iterator[Finding]:
    for (attempt, kind), count in evidence.orphans.items():
        yield Finding("error", "never_started", f"attempt {attempt} has {count} {kind} but no {Kind.ATTEMPT_STARTED}")
    for (session, allocation), _ in evidence.closed.items():
        if (session, allocation) not in evidence.opened:
            yield Finding(
                "warning",
                "allocation_never_opened",
                f"allocation {allocation} of session {session} closed, never opened",
            )


def _left_open(evidence: Evidence) -> Iterator[Finding]:
    """The driver closes what is held before it closes its session."""
    for session, allocation in evidence.opened:
        if session in evidence.session_closed and (session, allocation) not in evidence.closed:
            message = f"allocation {allocation} of session {session} opened, never closed, and the session did"
            yield Finding("warning", "allocation_never_closed", message)


def _attempts(view: CostView) -> Iterator[Finding]:
    for attempt in view.attempts:
        parts = attempt.productive_s + attempt.overhead_s + attempt.lost_s
        if (
            abs(parts - attempt.allocated_s) > ROUNDING_S
            or min(attempt.productive_s, attempt.overhead_s, attempt.lost_s) < -ROUNDING_S
        ):
            yield Finding(
                "error",
                "split_does_not_add_up",
                f"attempt {attempt.attempt}: productive {attempt.productive_s:.3f} + overhead {attempt.overhead_s:.3f}"
                f" + lost {attempt.lost_s:.3f} is not allocated {attempt.allocated_s:.3f} device-seconds",
            )
        for flag, meaning in _BAD_FLAGS.items():
            if flag in attempt.flags:
                yield Finding("error", flag, f"attempt {attempt.attempt} {meaning} {attempt.allocation}")
        if attempt.end_t > attempt.begin_t and not any(attempt.devices.values()):
            length_s = attempt.end_t - attempt.begin_t
            message = f"attempt {attempt.attempt} held no device, by the record, for {length_s:.1f} s"
            yield Finding("error", "holds_nothing", message)
        if "no_allocation_record" in attempt.flags:
            yield Finding(
                "warning",
                "no_allocation_record",
                f"attempt {attempt.attempt}: allocation {attempt.allocation} is not on record; cost is from its start",
            )


_BAD_FLAGS = {
    "overlaps": "began before the one before it had ended, in allocation",
    "outside_allocation": "has records outside its allocation",
}


def _devices(evidence: Evidence, view: CostView) -> Iterator[Finding]:
    capacity = {session.session: {d.device: d.device_kind for d in session.capacity} for session in view.sessions}
    for attempt in view.attempts:
        known = capacity[attempt.session]
        for device in attempt.devices:
            if device not in known and device_kind_of(device, {}) in known.values():
                message = f"attempt {attempt.attempt} held device {device}, which session {attempt.session} has not"
                yield Finding("error", "unknown_device", message)
        said = evidence.traces[attempt.attempt].started["devices"]
        if said and said != attempt.devices:
            message = f"attempt {attempt.attempt} says {said}, its allocation held {attempt.devices}: the latter counts"
            yield Finding("warning", "devices_differ", message)
        yield from _amounts(attempt, evidence)


def _amounts(attempt: Attempt, evidence: Evidence) -> Iterator[Finding]:
    """An allocation of GPUs says only how many it holds, and the attempt which; the two must agree."""
    opened = evidence.opened.get((attempt.session, str(attempt.allocation)))
    if opened is None or opened["devices"]:
        return
    for kind, amount in opened.get("amounts", {}).items():
        held = sum(n for device, n in attempt.devices.items() if device_kind_of(device, {}) == kind)
        if abs(held - amount) > ROUNDING:
            message = f"attempt {attempt.attempt} says {held:g} {kind}, its allocation {amount:g}: the former counts"
            yield Finding("warning", "amounts_differ", message)


def _in_sessions(view: CostView) -> Iterator[Finding]:
    sessions = {session.session: session for session in view.sessions}
    for attempt in view.attempts:
        session = sessions[attempt.session]
        early, late = session.begin_t - attempt.begin_t, attempt.end_t - session.end_t
        if max(early, late) > CLOCK_TOLERANCE_S:
            side, seconds = ("before", early) if early > late else ("after", late)
            edge = "opened" if side == "before" else "closed"
            yield Finding(
                "error",
                "outside_session",
                f"attempt {attempt.attempt} held devices {seconds:.1f} s {side} session {session.session} {edge}",
            )


def _jobs(evidence: Evidence, view: CostView) -> Iterator[Finding]:
    traces = evidence.traces
    done_sessions = [session for session in view.sessions if session.reason == "done"]
    for job in view.jobs:
        own = [traces[attempt] for attempt in job.attempts]
        done = first_ok(own)
        num_ok = sum(trace.is_ok for trace in own)
        if num_ok > 1:
            yield Finding(
                "warning", "two_outcomes", f"job {job.job} has {num_ok} ok outcomes: the first counts, all cost"
            )
        if done is not None and done.ended is not None:
            late = [trace.attempt for trace in own if trace.started_t > done.ended["t"]]
            for attempt in late:
                yield Finding("warning", "after_outcome", f"attempt {attempt} of job {job.job} began after its outcome")
        is_stopped = evidence.stopped_t.get(job.job, float("-inf")) >= own[-1].started_t
        if (
            not is_stopped
            and job.status in (Status.LOST, Status.RUNNING)
            and any(s.end_t >= own[-1].started_t for s in done_sessions)
        ):
            yield Finding(
                "error", "job_without_end", f"job {job.job} has neither outcome nor abandonment, yet its study was done"
            )


def _inputs(evidence: Evidence, view: CostView) -> Iterator[Finding]:
    """Every job that a successful attempt started from must have an outcome, or part of the ledger is lost."""
    jobs = {job.job: job for job in view.jobs}
    said: set[tuple[str, str]] = set()
    for trace in evidence.traces.values():
        links = links_of(trace.started["spec"])
        for source in (links.get("init_from"), links.get("structure_from"), teacher_of(links)):
            if not isinstance(source, str) or not trace.is_ok or (trace.job, source) in said:
                continue
            said.add((trace.job, source))
            if source not in jobs:
                message = f"job {trace.job} began from {source}, of which there is no attempt: its cost is missing"
                yield Finding("error", "input_without_attempt", message)
            elif jobs[source].outcome is None:
                message = f"job {trace.job} began from {source}, which has no ok outcome: records of it are missing"
                yield Finding("error", "input_without_outcome", message)


def _sessions(view: CostView) -> Iterator[Finding]:
    unseen: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    held: dict[str, float] = defaultdict(float)
    whole: dict[str, float] = defaultdict(float)
    for attempt in as_held(view).attempts:
        held[attempt.route] += attempt.allocated_s
        if attempt.status is Status.LOST:  # of the others, only the time between two looks is uncertain
            unseen[attempt.session][attempt.route] += attempt.uncertainty_s
            whole[attempt.route] += attempt.uncertainty_s
    is_much = any(seconds > UNSEEN * held[route] for route, seconds in whole.items())
    for session in view.sessions:
        if not session.closed:
            yield Finding(
                "warning", "session_not_closed", f"session {session.session} never closed (killed or running)"
            )
        if not session.capacity:
            yield Finding("warning", "session_not_opened", f"session {session.session} has no capacity on record")
        capacity_s = sum(device.amount for device in session.capacity) * (session.end_t - session.begin_t)
        of_route = unseen[session.session]
        unseen_s = sum(of_route.values())
        if unseen_s > UNSEEN * capacity_s:
            message = (
                f"session {session.session}: up to {unseen_s:.1f} device-seconds may have been held unseen, more than "
                f"1 % of {capacity_s:.1f}; by route, against all that it held: {_shares_text(of_route, held)}"
            )
            # In a session that was soon killed it is much, and in the whole study perhaps next to nothing.
            yield (
                Finding("warning", "uncertain", message) if is_much else Finding("warning", "little_uncertain", message)
            )


def _shares_text(unseen_s: Mapping[str, float], held_s: Mapping[str, float]) -> str:
    """Each route's seconds as a share of what it held in all sessions, by which its cost may be too low on the whole."""
    return ", ".join(
        f"{route} {seconds:.1f} of {held_s[route]:.1f}"
        + (f" ({100 * seconds / held_s[route]:.1f} %)" if held_s[route] else "")
        for route, seconds in unseen_s.items()
        if seconds > 0
    )


def clocks_in(records: Sequence[Record]) -> Iterator[Finding]:
    """Report where the clock of one writer went back; needs all records with their places, as from ``read_ledger``."""
    segments: dict[str, list[Record]] = {}
    for record in records:
        if "segment" in record:
            segments.setdefault(record["segment"], []).append(record)
    for name, segment in segments.items():
        latest_t = float("-inf")
        for record in sorted(segment, key=lambda record: int(record["line"])):
            t = float(record["written_t"] if "written_t" in record else record["t"])
            if t < latest_t - CLOCK_TOLERANCE_S:
                message = f"{name}:{record['line']}: the clock went back by {latest_t - t:.1f} s"
                yield Finding("error", "clock_backwards", message)
            latest_t = t
