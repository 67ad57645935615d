"""Tables of attempts and balances that add up: each device-hour occurs once, in its own unit, with a total per unit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd

from accounting.cost.values import StartUp
from accounting.words.names import Unit
from accounting.words.quantities import HOUR_S
from reports.data import tables
from reports.data.frames import Frames
from reports.measure.phase_costs import PARTS, START_UP, TOTAL

Row = dict[str, Any]
HELD = (*PARTS, "uncertainty")
"""The quantities of an attempt in device-seconds."""
OF_DEVICE = ("capacity", "allocated", "idle", "productive", "overhead", "lost", "unattributed", "over_allocated")
"""The quantities of a balance in device-seconds."""
COUNTS = ("target", "replicate", "network_macs")


def attempts_table(frames: Frames) -> pd.DataFrame:
    """One row per attempt, one per start-up in which no attempt began (phase ``start_up``), and a ``total`` per unit.

    Columns in the study's unit are empty for devices of another kind; ``*_device_hours`` are in the unit of the row.
    """
    table = _added_up(
        tables.attempts(frames.view), list(map(_startup, frames.view.startups)), HELD, "attempt", frames.unit
    )
    return table.astype(dict.fromkeys(COUNTS, "Int64"))


def balances_table(frames: Frames) -> pd.DataFrame:
    """One row per session and device, then a ``total`` per unit.

    The total in the study's unit is the ledger's. CPU cores held along with a GPU are listed although they are not a
    cost. A start-up whose devices are not on record has a row without a device.
    """
    unplaced = [_unplaced(start) for start in frames.view.startups if not start.devices]
    table = _added_up(frames.balances, unplaced, OF_DEVICE, "session", frames.unit)
    return table.rename(columns={"wall_h": "wall_hours", "driver_work_h": "driver_work_hours"})


def _added_up(frame: pd.DataFrame, rows: Sequence[Row], parts: Sequence[str], name: str, unit: str) -> pd.DataFrame:
    """The frame with further rows and a total per unit.

    ``parts`` are the quantities that are summed; ``name`` is the column that says ``total``.
    """
    kinds = [*map(str, frame["device_kind"]), *(str(row["device_kind"]) for row in rows)]
    of_kind = {kind: [mine == kind for mine in kinds] for kind in sorted(set(kinds))}
    totals: list[Row] = [{name: TOTAL, "device_kind": kind} for kind in of_kind]
    for column in (f"{part}_s" for part in parts):
        held = [*frame[column].tolist(), *(row[column] for row in rows)]
        for total, mine in zip(totals, of_kind.values(), strict=True):
            total[column] = sum(compress(held, mine))
    del kinds, of_kind
    table = pd.DataFrame({str(column): _longer(values, [*rows, *totals]) for column, values in frame.items()})
    del frame  # of many attempts it takes as much memory as the table
    unit_of = {kind: Unit.of(kind) for kind in table["device_kind"].unique()}
    units = [unit_of[kind] for kind in table["device_kind"]]
    is_own = np.array([of_row == unit for of_row in units], dtype=bool)
    hours = {part: table[f"{part}_s"].astype(float) / HOUR_S for part in parts}
    own = {f"{part}_h": held.where(is_own) for part, held in hours.items()}
    return table.assign(**own, unit=units, **{f"{part}_device_hours": held for part, held in hours.items()})


def _longer(values: pd.Series, rows: Sequence[Row]) -> pd.Series | list[object]:
    """A column with the cells of further rows; texts and floats, the bulk of the table, are not converted for that."""
    more = [row.get(str(values.name), float("nan")) for row in rows]
    if values.dtype == np.float64 and all(isinstance(cell, float) for cell in more):
        return pd.Series(np.append(values.to_numpy(), more))
    if isinstance(values.dtype, pd.StringDtype):
        return pd.concat([values, pd.Series(more, dtype=values.dtype)], ignore_index=True)
    return [*values.tolist(), *more]


def _unplaced(start: StartUp) -> Row:
    held = {f"{part}_s": start.allocated_s for part in ("allocated", "overhead", "unattributed")}
    nothing = {f"{part}_s": 0.0 for part in OF_DEVICE}
    return {"session": start.session, "device_kind": start.device_kind, **nothing, **held}


def _startup(start: StartUp) -> Row:
    return {
        "phase": START_UP,
        "session": start.session,
        "allocation": start.allocation,
        "devices": json.dumps(start.devices, sort_keys=True),
        "device_kind": start.device_kind,
        "begin_t": start.begin_t,
        "end_t": start.end_t,
        "allocated_s": start.allocated_s,
        "productive_s": 0.0,
        "overhead_s": start.allocated_s,
        "lost_s": 0.0,
        "uncertainty_s": start.uncertainty_s,
    }
