"""Where a study's jobs run: the available devices, and a function that runs a scheduler's jobs on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from accounting.ledger.records import DeviceRecord
from accounting.ledger.store import LedgerWriter
from accounting.words.names import Unit
from harness.scheduling.scheduler import Scheduler


@dataclass(frozen=True)
class Backend:
    """``capacity`` is as in the ledger's ``session_opened``; ``run(scheduler, session, ledger)`` returns when done."""

    capacity: list[DeviceRecord]
    run: Callable[[Scheduler, str, LedgerWriter], None]

    @property
    def unit(self) -> Unit:
        """The unit of cost: GPU-hours if there are GPUs, else CPU-core-hours."""
        kinds = {device["device_kind"] for device in self.capacity}
        return Unit.of("cuda" if "cuda" in kinds else "cpu_core")
