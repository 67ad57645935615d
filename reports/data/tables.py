"""The data frames of a study, made from typed values: one row per value, in the order of the ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa

from accounting.audit.audit import Balance
from accounting.cost.attempts import Attempt, CostView, DriverWork, Job, Progress
from accounting.cost.shares import POLICIES
from accounting.words.quantities import HOUR_S
from reports.data.networks import Network
from reports.data.spec_cells import AS_JSON, SpecCells

OPTIONAL_COUNTS = {"target", "network_macs"}
"""Integer columns with missing values; without an explicit type, they would become floats."""
NESTED = ("cost_h", "int8", "size_bytes", "latency")
"""Fields of a network that are objects; they have their own columns or table (:mod:`reports.measure.deployment`)."""
SPEC = "spec"
"""The field of an attempt that is long when written as JSON."""
AT_A_TIME = 5000
PLAIN = {type(None), bool, int, float, str}
"""Types of values that can be cells without conversion."""
SESSION_COLUMNS = ("session", "begin_t", "end_t", "closed", "reason")


def attempts(view: CostView) -> pd.DataFrame:
    """One row per attempt, with hours as well as device-seconds."""
    return _in_hours(_frame(Attempt, view.attempts))


def jobs(view: CostView) -> pd.DataFrame:
    """One row per job."""
    return _frame(Job, view.jobs)


def progress(view: CostView) -> pd.DataFrame:
    """One row per finished epoch."""
    fields = [field.name for field in dataclasses.fields(Progress)]
    if not len(view.progress):
        return pd.DataFrame([], columns=fields).astype(dict.fromkeys(sorted(OPTIONAL_COUNTS), "Int64"))
    started, place, columns = view.progress.in_order()
    names = [name for name in fields if name not in columns]
    of_attempt = pd.DataFrame({name: [record[name] for record in started] for name in names})  # type: ignore[literal-required]
    of_attempt = of_attempt.astype(dict.fromkeys(sorted(OPTIONAL_COUNTS), "Int64"))
    cells = {  # each in its turn, as a million rows are 30 MB a copy
        name: columns.pop(name) if name in columns else of_attempt[name].take(place).reset_index(drop=True)
        for name in fields
    }
    return pd.DataFrame(cells, copy=False)


def driver_work(view: CostView) -> pd.DataFrame:
    """One row per piece of work done in the driver."""
    return _in_hours(_frame(DriverWork, view.driver_work))


def balances(found: Iterable[Balance]) -> pd.DataFrame:
    """One row per session and device."""
    return _in_hours(_frame(Balance, found))


def networks(delivered: Iterable[Network]) -> pd.DataFrame:
    """One row per delivered network."""
    fields = [field.name for field in dataclasses.fields(Network) if field.name not in NESTED]
    rows = [
        [getattr(network, name) for name in fields]
        + [network.cost_h[policy] for policy in POLICIES]
        + [network.top1_per_hour(policy) for policy in POLICIES]
        for network in delivered
    ]
    columns = [*fields, *(f"cost_{name}_h" for name in POLICIES), *(f"test_top1_per_h_{name}" for name in POLICIES)]
    return pd.DataFrame(rows, columns=columns)


def sessions(view: CostView) -> pd.DataFrame:
    """One row per session and device."""
    columns = [*SESSION_COLUMNS, "device", "device_kind", "amount", "name", "node"]
    rows = [
        [getattr(session if name in SESSION_COLUMNS else device, name) for name in columns]
        for session in view.sessions
        for device in session.capacity
    ]
    return pd.DataFrame(rows, columns=columns)


def _frame(kind: type, rows: Iterable[object]) -> pd.DataFrame:
    """One row per dataclass instance, in the order of the ledger; values that are not scalars become JSON."""
    columns = [field.name for field in dataclasses.fields(kind)]
    rows = list(rows)
    frame = pd.DataFrame({name: _column(rows, name) for name in columns} if rows else [], columns=columns)
    for name in OPTIONAL_COUNTS & set(columns):
        frame[name] = frame[name].astype("Int64")
    return frame


def _column(rows: Sequence[object], name: str) -> pd.Series | list[object]:
    """One field of each row. Texts become a type that takes less memory at once, long ones some at a time."""
    if name == SPEC and rows:
        specs = SpecCells()
        parts = (cast("Sequence[Attempt]", rows[begin : begin + AT_A_TIME]) for begin in range(0, len(rows), AT_A_TIME))
        return pd.concat([_packed(specs.cells(part)) for part in parts], ignore_index=True)
    cells = _cells(list(map(attrgetter(name), rows)))
    return pd.Series(cells) if all(type(cell) is str for cell in cells) else cells


def _packed(texts: Sequence[str | None]) -> pd.Series:
    """Texts in buffers of just their size; those that pandas lets grow take a third more."""
    known = [text for text in texts if text is not None]
    ends = np.cumsum([0, *map(len, known)], dtype=np.int64)
    joined = "".join(known)
    if len(known) < len(texts) or not joined.isascii():  # otherwise a letter is a byte
        return pd.Series(list(texts), dtype="str")
    return pd.Series(
        pa.LargeStringArray.from_buffers(len(known), pa.py_buffer(ends), pa.py_buffer(joined.encode())), dtype="str"
    )


def _cells(values: list[object]) -> list[object]:
    """The values as cells; one that occurs in many rows, as the devices of attempts do, is converted once."""
    if PLAIN.issuperset(map(type, values)):
        return values
    cells = {place: _cell(value) for place, value in {id(value): value for value in values}.items()}
    return [cells[id(value)] for value in values]


def _cell(value: object) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    return AS_JSON(value)


def _in_hours(frame: pd.DataFrame) -> pd.DataFrame:
    """Add a ``*_h`` column for each column of (device-)seconds."""
    for column in [str(name) for name in frame.columns if str(name).endswith("_s")]:
        frame[f"{column[:-2]}_h"] = pd.to_numeric(frame[column]) / HOUR_S
    return frame
