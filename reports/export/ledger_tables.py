"""Attempts and balances as tables that add up: each device-hour once, in its own unit, and a total for each unit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from accounting.cost.values import StartUp
from accounting.words.names import Unit
from accounting.words.quantities import HOUR_S
from reports.data.frames import Frames
from reports.measure.phase_costs import PARTS, START_UP, TOTAL

Row = dict[str, Any]
HELD = (*PARTS, "uncertainty")
"""What of an attempt is in device-seconds."""
OF_DEVICE = ("capacity", "allocated", "idle", "productive", "overhead", "lost", "unattributed", "over_allocated")
"""What of a balance is in device-seconds."""
COUNTS = ("target", "replicate", "network_macs")


def attempts_table(frames: Frames) -> pd.DataFrame:
    """One row per attempt, then per start-up in which none began (phase ``start_up``), then a ``total`` of each unit.

    Columns in the study's unit are empty for devices of another kind; ``*_device_hours`` are in the unit of the row.
    """
    rows = [*_rows(frames.attempts), *map(_startup, frames.view.startups)]
    table = _added_up(rows, list(frames.attempts.columns), HELD, "attempt", frames.unit)
    return table.astype(dict.fromkeys(COUNTS, "Int64"))


def balances_table(frames: Frames) -> pd.DataFrame:
    """One row per session and device, then a ``total`` of each unit.

    The total of the study's unit is the ledger's. CPU cores that were held beside a GPU are no cost, yet they are here.
    A start-up whose devices are not on record has a row without a device.
    """
    rows = _rows(frames.balances) + [_unplaced(start) for start in frames.view.startups if not start.devices]
    table = _added_up(rows, list(frames.balances.columns), OF_DEVICE, "session", frames.unit)
    return table.rename(columns={"wall_h": "wall_hours", "driver_work_h": "driver_work_hours"})


def _added_up(rows: Sequence[Row], columns: list[str], parts: Sequence[str], name: str, unit: str) -> pd.DataFrame:
    """The rows and a total for each unit; ``parts`` are what adds up, ``name`` the column that says ``total``."""
    whole = [*rows]
    for kind in sorted({str(row["device_kind"]) for row in rows}):
        mine = [row for row in rows if row["device_kind"] == kind]
        seconds = {f"{part}_s": sum(row[f"{part}_s"] for row in mine) for part in parts}
        whole.append({name: TOTAL, "device_kind": kind, **seconds})
    filled = []
    for row in whole:
        of_unit = Unit.of(row["device_kind"])
        hours = {part: row[f"{part}_s"] / HOUR_S for part in parts}
        own = {f"{part}_h": value if of_unit == unit else None for part, value in hours.items()}
        filled.append({**row, **own, "unit": of_unit, **{f"{part}_device_hours": v for part, v in hours.items()}})
    table = pd.DataFrame(filled, columns=[*columns, "unit", *(f"{part}_device_hours" for part in parts)])
    return table.astype({f"{part}_h": float for part in parts})


def _rows(frame: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


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
        "uncertainty_s": 0.0,
    }
