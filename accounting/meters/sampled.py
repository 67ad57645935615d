"""Summary of many readings of an attempt's devices: energy between the first and the last, means and peaks over all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from accounting.meters.meter import MeterName, Reading, is_gpu

Attribution = Literal["exclusive", "shared_estimate", "unavailable"]
MEANS = ("utilisation", "sm_activity", "power_w")
DIGITS = 3
"""Decimal places of recorded values: millijoules and milliwatts."""


@dataclass(frozen=True)
class Sampled:
    """What was seen of an attempt, over all its readable devices; it covers whole devices, including use by others."""

    seen_s: float
    """Seconds from the first look to the last."""
    num_looks: int
    energy_j: float | None
    energy: Attribution
    """``exclusive``: it held its devices alone. ``shared_estimate``: its part is estimated as ``held_share`` of what
    they used. ``unavailable``: a device has no counter, could not be read, or had its counter reset."""
    held_share: float
    """The share of these devices that it held: 1 for whole ones."""
    mean_utilisation: float | None
    mean_sm_activity: float | None
    mean_power_w: float | None
    """Total over its devices."""
    peak_memory_mb: float | None
    """Peak of the device that used most."""
    meter: MeterName
    flags: tuple[str, ...] = ()


@dataclass
class Watch:
    """What has been seen of an attempt so far. ``devices``: how much of each it holds."""

    devices: Mapping[str, float]
    is_shared: bool = False
    """Whether another attempt held one of its devices at the same time."""
    first_t: float | None = None
    last_t: float = 0.0
    num_looks: int = 0
    peak_memory_mb: float | None = None
    _first: dict[str, float | None] = field(default_factory=dict)
    _last: dict[str, float | None] = field(default_factory=dict)
    """Energy by device at the first and last look; the last is None once a counter was unreported or reset."""
    _sums: dict[str, tuple[float, int]] = field(default_factory=dict)
    """For each of :data:`MEANS`: the sum of the values read, and their number."""
    _flags: set[str] = field(default_factory=set)

    def look(self, t: float, readings: Mapping[str, Reading]) -> None:
        """Add one reading of its devices."""
        self.first_t = t if self.first_t is None else self.first_t
        self.last_t, self.num_looks = t, self.num_looks + 1
        for device in self.devices:
            if (reading := readings.get(device)) is not None:
                self._take(device, reading)

    def sampled(self, meter_of: Callable[[str], MeterName], num_cores: float) -> Sampled | None:
        """The summary; None if none of its devices can be read. A processor's share is out of ``num_cores``."""
        devices = {device: amount for device, amount in self.devices.items() if device in self._first}
        if not devices or self.first_t is None:
            return None
        energy_j = self._energy_j()
        shares = [min(1.0, amount / (1.0 if is_gpu(device) else num_cores)) for device, amount in devices.items()]
        held_share = sum(shares) / len(shares)
        attributed: Attribution = "shared_estimate" if self.is_shared or held_share < 1 else "exclusive"
        power_w = self._mean("power_w")
        return Sampled(
            seen_s=round(self.last_t - self.first_t, DIGITS),
            num_looks=self.num_looks,
            energy_j=energy_j,
            energy="unavailable" if energy_j is None else attributed,
            held_share=held_share,
            mean_utilisation=self._mean("utilisation"),
            mean_sm_activity=self._mean("sm_activity"),
            mean_power_w=None if power_w is None else round(power_w * len(devices), DIGITS),
            peak_memory_mb=self.peak_memory_mb,
            meter=meter_of(next(iter(devices))),
            flags=tuple(sorted(self._flags)),
        )

    def _take(self, device: str, reading: Reading) -> None:
        before, now = self._last.get(device), reading.energy_j
        if device not in self._first:
            self._first[device] = self._last[device] = now
        elif before is None or now is None or now < before:
            self._last[device] = None
            if before is not None and now is not None:
                self._flags.add("energy_reset")
        else:
            self._last[device] = now
        for name in MEANS:
            value: float | None = getattr(reading, name)
            if value is not None:
                total, number = self._sums.get(name, (0.0, 0))
                self._sums[name] = total + value, number + 1
        if reading.memory_mb is not None:
            self.peak_memory_mb = max(reading.memory_mb, self.peak_memory_mb or 0.0)
        self._flags.update(reading.flags)

    def _energy_j(self) -> float | None:
        used_j = 0.0
        for device, begin_j in self._first.items():
            end_j = self._last[device]
            if begin_j is None or end_j is None:
                return None
            used_j += end_j - begin_j
        return round(used_j, DIGITS)

    def _mean(self, name: str) -> float | None:
        if name not in self._sums:
            return None
        total, number = self._sums[name]
        return round(total / number, 4)
