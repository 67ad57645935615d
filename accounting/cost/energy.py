"""The energy that the meters recorded for each attempt, and how it was measured.

A meter reads the counters of whole devices. An attempt that held a share of a device is assigned that share of what the
device used meanwhile; this is an estimate if others used the rest. Energy that no meter read is not measured, never 0.

An attempt's own readings at its beginning and end take precedence. If it has none (it was killed, or held CPU cores), the
readings of its node's sampler count, which may miss up to two heartbeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accounting.cost.values import Attempt, CostView
from accounting.ledger.records import Kind, Record

KWH_J = 3.6e6
"""Joules in a kilowatt-hour."""
COUNTER = {
    "nvml": "the device's own energy counter, through NVML",
    "rapl": "the processors' own energy counters, through RAPL",
    "scripted": "a prepared script, for tests",
}


@dataclass(frozen=True)
class Energy:
    """Kilowatt-hours of one attempt's devices from its beginning to its end, as read by ``meter``.

    ``is_shared``: it held only shares of its devices, and this is the same share of what they used.
    """

    kwh: float
    meter: str
    is_shared: bool

    @property
    def how(self) -> str:
        """How it was measured, in words."""
        text = COUNTER.get(self.meter, self.meter)
        return f"{text}; by the share of the device that was held" if self.is_shared else text


def energy_of(view: CostView, records: Sequence[Record]) -> dict[str, Energy]:
    """Energy of each attempt for which a meter read any. If an attempt ended twice, its first record counts."""
    attempts = {attempt.attempt: attempt for attempt in view.attempts}
    found: dict[str, Energy] = {}
    sampled: dict[str, Energy] = {}
    seen: set[str] = set()
    for record in records:
        if record["kind"] == Kind.ATTEMPT_MEASURED:
            into, share = sampled, _number(record["measurement"], "held_share")
        elif record["kind"] == Kind.ATTEMPT_ENDED and record["attempt"] not in seen:
            seen.add(record["attempt"])
            into, share = found, None
        else:
            continue
        attempt, measurement = attempts.get(record["attempt"]), record["measurement"]
        joules = _number(measurement, "energy_j")
        if attempt is None or measurement is None or joules is None:
            continue
        share = _share(attempt) if share is None else min(1.0, share)
        into[attempt.attempt] = Energy(joules / KWH_J * share, str(measurement.get("meter", attempt.meter)), share < 1)
    return sampled | found


def _number(measurement: object, name: str) -> float | None:
    """The number if it is one of at least 0; otherwise None."""
    value = measurement.get(name) if isinstance(measurement, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def _share(attempt: Attempt) -> float:
    """The share of the metered devices that the attempt held; 1 for whole devices."""
    held = [amount for device, amount in attempt.devices.items() if device.startswith(("GPU-", "MIG-"))]
    return min(1.0, sum(held) / len(held)) if held else 1.0
