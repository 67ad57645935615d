"""What the jobs that led to a network have cost so far, for its model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accounting.cost.attempts import derive
from accounting.cost.lineage import lineage, specs_of
from accounting.ledger.records import Phase
from accounting.ledger.store import read_ledger
from accounting.words.quantities import HOUR_S


def cost_so_far(ledger: Path, job: str) -> dict[str, Any]:
    """Device-hours of ``job`` and its ancestors: ``own_h``, and ``parent_h`` of the parent's pre-training among them.

    Every attempt counts. ``unit`` is ``gpu_hours`` or ``cpu_core_hours``.
    """
    view = derive(read_ledger(ledger).records)
    jobs = set(lineage(specs_of(view.attempts), job))
    hours = {True: 0.0, False: 0.0}
    for attempt in view.attempts:
        if attempt.job in jobs and attempt.device_kind == view.device_kind:
            hours[attempt.phase == Phase.PRETRAIN] += attempt.allocated_s / HOUR_S
    return {"unit": view.unit, "own_h": hours[False], "parent_h": hours[True]}
