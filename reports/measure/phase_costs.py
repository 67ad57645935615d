"""Every device-hour of the ledger once, by route, phase, target and replicate; the total is the ledger's.

Work that serves several targets has no target; start-ups in which no attempt began have no route. The charged view, in which
shared work counts for every target, is :mod:`reports.figures.cost_by_phase`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pandas as pd

from accounting.cost.attempts import CostView
from accounting.ledger.records import Phase
from accounting.words.names import Unit
from accounting.words.quantities import HOUR_S

TOTAL = "total"
START_UP = "start_up"
"""The phase of what was held before any attempt began."""
PARTS = ("productive", "overhead", "lost", "allocated")
COLUMNS = ["unit", "route", "phase", "target", "replicate", "attempts", *(f"{part}_device_hours" for part in PARTS)]
_PHASES = [*(phase.value for phase in Phase), START_UP]

Key = tuple[str, str, str, int | None, int | None]


def phase_costs(view: CostView) -> pd.DataFrame:
    """One row per unit, route, phase, target (missing: all targets) and replicate, then a ``total`` row per unit."""
    sums: dict[Key, list[float]] = defaultdict(lambda: [0.0] * 5)
    for attempt in view.attempts:
        key: Key = (Unit.of(attempt.device_kind), attempt.route, attempt.phase, attempt.target, attempt.replicate)
        _add(sums[key], (1, attempt.productive_s, attempt.overhead_s, attempt.lost_s, attempt.allocated_s))
    for start in view.startups:
        held: Key = (Unit.of(start.device_kind), "", START_UP, None, None)
        _add(sums[held], (0, 0.0, start.allocated_s, 0.0, start.allocated_s))
    rows = [_row(key, sums[key]) for key in sorted(sums, key=_order)]
    for unit in sorted({key[0] for key in sums}):
        mine = [values for key, values in sums.items() if key[0] == unit]
        rows.append(_row((unit, TOTAL, "", None, None), [sum(column) for column in zip(*mine, strict=True)]))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"target": "Int64", "replicate": "Int64", "attempts": "Int64"})


def _add(so_far: list[float], values: Sequence[float]) -> None:
    for place, value in enumerate(values):
        so_far[place] += value


def _row(key: Key, values: Sequence[float]) -> list[object]:
    return [*key, int(values[0]), *(value / HOUR_S for value in values[1:])]


def _order(key: Key) -> tuple[str, str, int, int, int]:
    unit, route, phase, target, replicate = key
    return unit, route or "~", _PHASES.index(phase), target or 0, -1 if replicate is None else replicate
