"""What the device itself says about an attempt: energy, memory, utilisation, beside the wall clock.

The headline cost (allocated device-seconds) needs no meter: it comes from the ledger. A meter adds columns, and says of
each measurement how it was made: hardware that is absent is a normal case (:class:`NullReader`), a reading that cannot
be trusted is flagged instead of reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

MeterName = Literal["nvml", "rapl", "wall_clock", "scripted"]


@dataclass(frozen=True)
class Reading:
    """One look at a device; None where the device does not say."""

    energy_j: float | None = None
    """Total since some fixed moment: only differences mean anything."""
    utilisation: float | None = None
    """Fraction 0-1 of the time, just before, in which at least one kernel ran."""
    memory_mb: float | None = None
    """Used, by everyone on the device; MB are 1e6 bytes."""
    sm_activity: float | None = None
    """Fraction 0-1 of the streaming multiprocessors that were busy, on average since it was sampled last."""
    power_w: float | None = None
    """Drawn just now."""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """What was seen of an attempt between ``begin`` and ``end``, summed over its devices."""

    wall_s: float
    energy_j: float | None
    """Energy of the whole devices, including what others used."""
    mean_utilisation: float | None
    """Mean over the devices of the looks at begin and end: a hint, not an average over time."""
    peak_memory_mb: float | None
    """The larger of the looks at begin and end, of the device that used most."""
    meter: MeterName
    flags: tuple[str, ...] = ()
    """``energy_reset``, ``energy_unsupported``, ``device_unreadable`` and what readers add."""


class DeviceReader(Protocol):
    """Reads devices of one kind, by id."""

    meter: MeterName

    def devices(self) -> tuple[str, ...]:
        """Ids of the devices this reader can read."""
        ...

    def read(self, device: str) -> Reading:
        """Look at one device now; for one it does not know, an empty flagged reading."""
        ...

    def sample(self, device: str) -> Reading:
        """The same with what takes longer to ask, or compares with the look before: for who looks again and again."""
        ...


class NullReader:
    """Where there is no device to read: the wall clock is the meter."""

    meter: MeterName = "wall_clock"

    def devices(self) -> tuple[str, ...]:
        """None."""
        return ()

    def read(self, device: str) -> Reading:
        """Nothing."""
        return Reading()

    def sample(self, device: str) -> Reading:
        """Nothing."""
        return Reading()


class ScriptedReader:
    """Gives prepared readings one after another: for tests and replays."""

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
    """Measures attempts from ``begin`` to ``end``; several may be under way at once."""

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
        """Stop measuring and say what was seen.

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
    """Whether it is one that a reader should know: if it does not, its reading is flagged. CPU cores have a clock only."""
    return device.startswith(("GPU-", "MIG-"))


def _energy_j(looks: Sequence[tuple[Reading, Reading]]) -> tuple[float | None, set[str]]:
    """Sum of the counters' differences; None, and why, when one of them cannot be trusted."""
    total = 0.0
    for before, after in looks:
        if before.energy_j is None or after.energy_j is None:
            return None, {"energy_unsupported"}
        if after.energy_j < before.energy_j:
            return None, {"energy_reset"}
        total += after.energy_j - before.energy_j
    return total, set()
