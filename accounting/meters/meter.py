"""What a device reports about an attempt, in addition to the wall clock: energy, memory, utilisation.

The headline cost (allocated device-seconds) needs no meter, as it comes from the ledger. A meter adds columns, and each
measurement says how it was made. Missing hardware is a normal case (:class:`NullReader`), and a reading that cannot be
trusted is flagged instead of reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

MeterName = Literal["nvml", "rapl", "wall_clock", "scripted"]


@dataclass(frozen=True)
class Reading:
    """One reading of a device; None for what the device does not report."""

    energy_j: float | None = None
    """Total since an arbitrary moment; only differences are meaningful."""
    utilisation: float | None = None
    """Fraction 0-1 of the time just before the reading in which at least one kernel ran."""
    memory_mb: float | None = None
    """Memory used by everyone on the device; MB are 1e6 bytes."""
    sm_activity: float | None = None
    """Fraction 0-1 of the streaming multiprocessors that were busy, on average since the last sample."""
    power_w: float | None = None
    """Power drawn at this moment."""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """What was seen of an attempt between ``begin`` and ``end``, summed over its devices."""

    wall_s: float
    energy_j: float | None
    """Energy of the whole devices, including what others used."""
    mean_utilisation: float | None
    """Mean over the devices' readings at begin and end: a hint, not an average over time."""
    peak_memory_mb: float | None
    """The larger of the readings at begin and end, for the device that used most."""
    meter: MeterName
    flags: tuple[str, ...] = ()
    """``energy_reset``, ``energy_unsupported``, ``device_unreadable``, and any that readers add."""


class DeviceReader(Protocol):
    """Reads devices of one kind, by id."""

    meter: MeterName

    def devices(self) -> tuple[str, ...]:
        """Ids of the devices that this reader can read."""
        ...

    def read(self, device: str) -> Reading:
        """Read one device now; an unknown device gives an empty, flagged reading."""
        ...

    def sample(self, device: str) -> Reading:
        """Read one device regularly; adds values that take longer to query or compare with the previous sample."""
        ...


class NullReader:
    """The reader for when there is no device to read; the wall clock is the meter."""

    meter: MeterName = "wall_clock"

    def devices(self) -> tuple[str, ...]:
        """No devices."""
        return ()

    def read(self, device: str) -> Reading:
        """An empty reading."""
        return Reading()

    def sample(self, device: str) -> Reading:
        """An empty reading."""
        return Reading()


class ScriptedReader:
    """Returns prepared readings one after another, for tests and replays."""

    meter: MeterName = "scripted"

    def __init__(self, script: Mapping[str, Sequence[Reading]]) -> None:
        self._script = {device: list(readings) for device, readings in script.items()}

    def devices(self) -> tuple[str, ...]:
        """The devices of the script."""
        return tuple(self._script)

    def read(self, device: str) -> Reading:
        """The next reading of the device.

        Raises:
            LookupError: the script has no reading left for it.

        """
        if not self._script.get(device):
            raise LookupError(f"the script has no reading left for device {device!r}")
        return self._script[device].pop(0)

    def sample(self, device: str) -> Reading:
        """The next reading of the device, as :meth:`read`."""
        return self.read(device)


class Meter:
    """Measures attempts from ``begin`` to ``end``; several can be measured at once."""

    def __init__(self, reader: DeviceReader, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader, self._clock = reader, clock
        self._begun: dict[str, tuple[float, dict[str, Reading]]] = {}

    def begin(self, attempt: str, devices: Sequence[str]) -> None:
        """Start measuring; devices that the reader does not know (CPU cores) have a wall clock only.

        Raises:
            ValueError: the attempt is being measured already.

        """
        if attempt in self._begun:
            raise ValueError(f"attempt {attempt!r} is being measured already; end it first")
        known = set(self._reader.devices())
        looks = {device: self._reader.read(device) for device in devices if device in known or is_gpu(device)}
        self._begun[attempt] = (self._clock(), looks)

    def end(self, attempt: str) -> Measurement:
        """Stop measuring and return what was seen.

        Raises:
            ValueError: the attempt was not begun.

        """
        if attempt not in self._begun:
            raise ValueError(f"attempt {attempt!r} was not begun; being measured: {', '.join(self._begun) or 'none'}")
        begin_s, before = self._begun.pop(attempt)
        wall_s = self._clock() - begin_s
        after = {device: self._reader.read(device) for device in before}
        if not before:
            return Measurement(wall_s, None, None, None, "wall_clock")
        flags = {flag for look in (*before.values(), *after.values()) for flag in look.flags}
        energy_j, energy_flags = _energy_j([(before[device], after[device]) for device in before])
        looks = (*before.values(), *after.values())
        utilisation = [look.utilisation for look in looks if look.utilisation is not None]
        memory = [look.memory_mb for look in looks if look.memory_mb is not None]
        return Measurement(
            wall_s=wall_s,
            energy_j=energy_j,
            mean_utilisation=sum(utilisation) / len(utilisation) if utilisation else None,
            peak_memory_mb=max(memory, default=None),
            meter=self._reader.meter,
            flags=tuple(sorted(flags | energy_flags)),
        )


def is_gpu(device: str) -> bool:
    """Whether it is a GPU, which a reader should know: if it does not, the reading is flagged. CPU cores have none."""
    return device.startswith(("GPU-", "MIG-"))


def _energy_j(looks: Sequence[tuple[Reading, Reading]]) -> tuple[float | None, set[str]]:
    """Sum of the counters' differences; None and the reason if one of them cannot be trusted."""
    total = 0.0
    for before, after in looks:
        if before.energy_j is None or after.energy_j is None:
            return None, {"energy_unsupported"}
        if after.energy_j < before.energy_j:
            return None, {"energy_reset"}
        total += after.energy_j - before.energy_j
    return total, set()
