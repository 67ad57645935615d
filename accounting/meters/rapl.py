"""Energy of processors from their own counters: RAPL, as Linux exposes it in ``/sys/class/powercap``.

Each package (socket) has a zone ``intel-rapl:N`` (AMD's too). Its memory, if it has a counter, is a subzone called
``dram``, which is not part of the package; both are counted. The counters cover whole packages, whoever uses them, and
wrap around to 0 after ``max_energy_range_uj``: after some 20 minutes at full load, so more frequent readings miss no
wrap. Most systems let only root read them; then there is no energy, which is a normal case.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from accounting.meters.meter import MeterName, Reading

logger = logging.getLogger(__name__)

POWERCAP = Path("/sys/class/powercap")
COUNTED = ("package", "dram")
"""Prefixes of the names of counted zones; others are parts of a package, or the whole machine (``psys``)."""


@dataclass
class _Zone:
    """A counter, followed across its overflows."""

    folder: Path
    range_uj: int
    last_uj: int
    total_uj: int

    def advance(self) -> None:
        """Read the counter; raises ``OSError`` or ``ValueError`` if it cannot be read."""
        now_uj = _number(self.folder / "energy_uj")
        passed_uj = now_uj - self.last_uj
        self.total_uj += passed_uj if passed_uj >= 0 else passed_uj + self.range_uj
        self.last_uj = now_uj


class RaplReader:
    """Energy of this machine's packages, as one device named ``device``.

    Raises:
        OSError: there is no counter, or none that this process may read.

    """

    meter: MeterName = "rapl"

    def __init__(self, device: str, powercap: Path = POWERCAP) -> None:
        self._device = device
        self._zones = [zone for folder in sorted(powercap.glob("intel-rapl:*")) if (zone := _zone(folder)) is not None]
        if not self._zones:
            raise OSError(f"no RAPL counter can be read in {powercap}")

    def devices(self) -> tuple[str, ...]:
        """The one device."""
        return (self._device,)

    def read(self, device: str) -> Reading:
        """Joules so far, over all packages; flagged if a counter can no longer be read."""
        if device != self._device:
            return Reading(flags=("device_unreadable",))
        try:
            for zone in self._zones:
                zone.advance()
        except (OSError, ValueError) as error:
            logger.debug("RAPL: %s", error)
            return Reading(flags=("device_unreadable",))
        return Reading(energy_j=sum(zone.total_uj for zone in self._zones) / 1e6)

    def sample(self, device: str) -> Reading:
        """The same as :meth:`read`."""
        return self.read(device)


def _zone(folder: Path) -> _Zone | None:
    """A zone that is counted and can be read; None for any other."""
    try:
        if not (folder / "name").read_text(encoding="ascii").startswith(COUNTED):
            return None
        now_uj = _number(folder / "energy_uj")
        return _Zone(folder, _number(folder / "max_energy_range_uj"), now_uj, now_uj)
    except (OSError, ValueError) as error:  # usually not permitted
        logger.debug("RAPL: %s", error)
        return None


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
