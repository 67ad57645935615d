"""Allocations in which no attempt ever began, because the worker died or was stopped during start-up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from accounting.cost.equivalence import mean_rate
from accounting.cost.evidence import Evidence
from accounting.cost.intervals import since_look_s
from accounting.cost.values import Attempt, Session, StartUp
from accounting.words.names import DeviceKind


def startups_of(
    evidence: Evidence,
    attempts: Sequence[Attempt],
    sessions: Sequence[Session],
    kind_of: Mapping[str, DeviceKind],
    now: float,
    rates: Mapping[str, float],
) -> tuple[StartUp, ...]:
    """One start-up per such allocation, ordered by time; one that never closed ends with its session.

    If it does not say which devices it held, it counts at the mean rate of its session's GPUs.
    """
    used = {(attempt.session, str(attempt.allocation)) for attempt in attempts}
    ends = {
        session.session: session.end_t if evidence.is_over(session.session) else max(session.end_t, now)
        for session in sessions
    }
    usual: dict[str, tuple[DeviceKind, float]] = {}
    capacity = {session.session: session.capacity for session in sessions}
    found = []
    for key, opened in evidence.opened.items():
        if key in used:
            continue
        closed = evidence.closed.get(key)
        end_t = ends[key[0]] if closed is None else float(closed["t"])
        if opened["devices"]:
            kind, amount = _held(opened["devices"], kind_of, rates)
        elif opened.get("amounts"):
            kind, amount = max(opened["amounts"].items())  # CUDA before CPU cores
            if kind == "cuda" and rates:
                amount *= mean_rate(capacity.get(key[0], ()), rates)
        else:
            if key[0] not in usual:
                usual[key[0]] = _usual(attempts, sessions, key[0])
            kind, amount = usual[key[0]]
        begin_t = float(opened["t"])
        length_s = max(0.0, end_t - begin_t)
        edges_s = since_look_s(opened, float("-inf"), begin_t) + since_look_s(closed, begin_t, begin_t + length_s)
        found.append(
            StartUp(
                *key,
                dict(opened["devices"]),
                kind,
                begin_t,
                begin_t + length_s,
                amount * length_s,
                amount * edges_s,
            )
        )
    return tuple(sorted(found, key=lambda startup: startup.begin_t))


def _held(
    devices: Mapping[str, float], kind_of: Mapping[str, DeviceKind], rates: Mapping[str, float]
) -> tuple[DeviceKind, float]:
    """The kind of device that counts (CUDA before CPU cores) and its amount, each device at its rate."""
    of_kind: dict[DeviceKind, float] = defaultdict(float)
    for device, amount in devices.items():
        of_kind[kind_of[device]] += amount * rates.get(device, 1.0)
    kind: DeviceKind = "cuda" if "cuda" in of_kind else "cpu_core"
    return kind, of_kind[kind]


def _usual(attempts: Sequence[Attempt], sessions: Sequence[Session], session: str) -> tuple[DeviceKind, float]:
    """What an attempt of the session held, since all its jobs request the same; 0 if there was none."""
    for attempt in attempts:
        if attempt.session == session and attempt.allocated_s > 0:
            length_s = attempt.end_t - attempt.begin_t
            return attempt.device_kind, attempt.allocated_s / length_s
    kinds = {device.device_kind for found in sessions if found.session == session for device in found.capacity}
    return ("cuda" if "cuda" in kinds else "cpu_core"), 0.0
