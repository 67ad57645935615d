"""Conservation of device time: held plus idle against capacity times wall time, per session and device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from accounting.cost.at_rates import scaled
from accounting.cost.equivalence import rates_of
from accounting.cost.evidence import Evidence, SpanKey
from accounting.cost.values import CostView, Device, Session
from accounting.words.names import DeviceKind

DEVICE_SECONDS = (
    "capacity_s", "allocated_s", "idle_s", "productive_s", "overhead_s", "lost_s", "unattributed_s", "over_allocated_s",
)  # fmt: skip
"""The fields of a balance that are in device-seconds."""


@dataclass(frozen=True)
class Balance:
    """Where one device's time went in one session, in device-seconds except ``wall_s`` and ``driver_work_s``."""

    session: str
    device: str
    device_kind: DeviceKind
    capacity: float
    wall_s: float
    capacity_s: float
    """Capacity times wall time."""
    allocated_s: float
    """Device-seconds of the attempts, plus ``unattributed_s``."""
    idle_s: float
    """Integral of max(0, capacity - held), by a sweep over the allocations as recorded."""
    productive_s: float
    overhead_s: float
    """Overhead of the attempts, plus ``unattributed_s``."""
    lost_s: float
    imbalance: float
    """``|allocated + idle - capacity_s| / capacity_s``."""
    driver_work_s: float
    """Work of the session's driver, in seconds. It is the same for each of its devices, and not part of the sums."""
    unattributed_s: float
    """Held by allocations in which no attempt ever started; counted as overhead."""
    over_allocated_s: float
    """Integral of max(0, held - capacity)."""


@dataclass(frozen=True)
class Hold:
    """An amount of a device held from ``begin_t`` to ``end_t``."""

    session: str
    device: str
    amount: float
    begin_t: float
    end_t: float


def balances_of(evidence: Evidence, view: CostView) -> tuple[Balance, ...]:
    """One balance for each device of each session's capacity."""
    empty = [
        hold
        for startup in view.startups
        for hold in _holds(startup.session, startup.devices, startup.begin_t, startup.end_t)
    ]
    holds: dict[tuple[str, str], list[Hold]] = defaultdict(list)
    unattributed_s: dict[tuple[str, str], float] = defaultdict(float)
    for hold in [*_raw_holds(evidence, view), *empty]:
        holds[hold.session, hold.device].append(hold)
    for hold in empty:
        unattributed_s[hold.session, hold.device] += hold.amount * (hold.end_t - hold.begin_t)
    parts = _parts(view)
    driver_work: dict[str, float] = defaultdict(float)
    for work in view.driver_work:
        driver_work[work.session] += work.duration_s
    return tuple(
        _balance(
            session,
            device,
            parts[session.session, device.device],
            holds[session.session, device.device],
            unattributed_s[session.session, device.device],
            driver_work[session.session],
            amounts,
        )
        for session in view.sessions
        for amounts in (_amounts_over_time(session),)
        for device in session.capacity
    )


def in_reference(balances: Iterable[Balance], view: CostView) -> tuple[Balance, ...]:
    """The same in the hours of the study's reference GPU model, as the rest of a report has them."""
    rates = rates_of((d for session in view.sessions for d in session.capacity), view.equivalence.rates)
    return tuple(scaled(balance, rates.get(balance.device, 1.0), DEVICE_SECONDS) for balance in balances)


def _balance(
    session: Session,
    device: Device,
    parts: dict[str, float],
    mine: list[Hold],
    unattributed_s: float,
    driver_work_s: float,
    amounts: AmountsOverTime,
) -> Balance:
    wall_s = session.end_t - session.begin_t
    spans = _capacity_spans(session, device, mine, amounts)
    idle_s, over_s = _sweep(mine, spans)
    capacity_s = sum(amount * (end_t - begin_t) for begin_t, end_t, amount in spans)
    allocated_s = parts["allocated"] + unattributed_s
    error_s = abs(allocated_s + idle_s - capacity_s)
    return Balance(
        session=session.session,
        device=device.device,
        device_kind=device.device_kind,
        capacity=device.amount,
        wall_s=wall_s,
        capacity_s=capacity_s,
        allocated_s=allocated_s,
        idle_s=idle_s,
        productive_s=parts["productive"],
        overhead_s=parts["overhead"] + unattributed_s,
        lost_s=parts["lost"],
        imbalance=error_s / capacity_s if capacity_s else float(error_s > 0),
        driver_work_s=driver_work_s,
        unattributed_s=unattributed_s,
        over_allocated_s=over_s,
    )


def _parts(view: CostView) -> dict[tuple[str, str], dict[str, float]]:
    """Device-seconds of the attempts by session and device: the allocated total, and its parts."""
    parts: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for attempt in view.attempts:
        length, own = attempt.end_t - attempt.begin_t, attempt.allocated_s
        for device, amount in attempt.devices.items():
            if amount == 0 or length == 0:
                continue
            of_device = parts[attempt.session, device]
            of_device["allocated"] += amount * length
            # An attempt's parts are in device-seconds of its own kind; their shares hold for each of its devices.
            for part, seconds in (
                ("productive", attempt.productive_s), ("overhead", attempt.overhead_s), ("lost", attempt.lost_s),
            ):  # fmt: skip
                of_device[part] += amount * length * (seconds / own if own else 0.0)
    return parts


def _raw_holds(evidence: Evidence, view: CostView) -> list[Hold]:
    """What was held, from the allocation records; from the attempts if there is no such record, or no close."""
    holds: list[Hold] = []
    last_end: dict[SpanKey, float] = {}
    said: dict[SpanKey, dict[str, float]] = {}
    for attempt in view.attempts:
        key = (attempt.session, str(attempt.allocation))
        if key in evidence.opened:
            last_end[key] = max(last_end.get(key, attempt.end_t), attempt.end_t)
            said.setdefault(key, attempt.devices)
        else:
            holds += _holds(attempt.session, attempt.devices, attempt.begin_t, attempt.end_t)
    for key, end_t in last_end.items():
        opened, closed_t = evidence.opened[key], evidence.closed_t(key)
        devices = opened["devices"] or said[key]
        holds += _holds(key[0], devices, opened["t"], end_t if closed_t is None else closed_t)
    return holds


def _holds(session: str, devices: dict[str, float], begin_t: float, end_t: float) -> Iterable[Hold]:
    return [Hold(session, device, amount, begin_t, end_t) for device, amount in devices.items() if end_t > begin_t]


Span = tuple[float, float, float]
"""Begin, end, and the amount of a device between them."""


AmountsOverTime = list[tuple[float, dict[str, float]]]
"""From each of these times on, the amount of each device that is there, by device."""


def _amounts_over_time(session: Session) -> AmountsOverTime:
    """From the session's begin on; a session whose nodes stay has but one entry."""
    first = session.initial_capacity if session.capacity_changes else session.capacity
    return [(t, _amounts(devices)) for t, devices in ((session.begin_t, first), *session.capacity_changes)]


def _amounts(devices: Iterable[Device]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for entry in devices:
        found[entry.device] += entry.amount
    return found


def _capacity_spans(session: Session, device: Device, holds: list[Hold], amounts: AmountsOverTime) -> list[Span]:
    """The amount of the device over time, from the session's begin to its end.

    The time on record at which a node left may be a moment late, or before its last worker ended; so its devices count
    until nothing holds them any more. A hold that began after the node came back does not extend this, nor does a node
    that has not joined yet count as one that left.
    """
    edges = [(session.begin_t, amounts[0][1].get(device.device, 0.0))]
    for t, there in amounts[1:]:
        amount = there.get(device.device, 0.0)
        if amount == 0 and edges[-1][1] > 0:
            t = max([t, *(hold.end_t for hold in holds if hold.begin_t < t)])
        edges.append((min(max(t, edges[-1][0]), session.end_t), amount))
    ends = [t for t, _ in edges[1:]] + [session.end_t]
    return [(begin_t, end_t, amount) for (begin_t, amount), end_t in zip(edges, ends, strict=True) if end_t > begin_t]


def _sweep(holds: list[Hold], spans: list[Span]) -> tuple[float, float]:
    """Device-seconds idle and over-allocated within the spans."""
    idle_s = over_s = 0.0
    for begin_t, end_t, capacity in spans:
        edges = [(begin_t, 0.0), (end_t, 0.0)]
        for hold in holds:
            if hold.end_t > begin_t and hold.begin_t < end_t:
                edges += [(max(hold.begin_t, begin_t), hold.amount), (min(hold.end_t, end_t), -hold.amount)]
        edges.sort()
        held = 0.0
        for (t, change), (next_t, _) in pairwise(edges):
            held += change
            idle_s += max(0.0, capacity - held) * (next_t - t)
            over_s += max(0.0, held - capacity) * (next_t - t)
    return idle_s, over_s
