"""The tables of a report, and their CSV and Parquet files. The header of a column in device-hours names their unit.

``cost_by_phase``, ``attempts`` and ``device_balances`` can be added up: they have each device-hour once, and a last row
``total`` per unit. Tables of networks, targets and verdicts cannot, because shared work counts at each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import pandas as pd

from accounting.ledger.uncollected import return_memory
from accounting.words.names import PRUNE
from reports.answers.refusal_text import reason_text
from reports.answers.values import Answer, Comparison, Refused, status_of
from reports.answers.verdict_words import guard_text
from reports.compare.verdict import cheaper_route
from reports.data import tables as ledger_frames
from reports.data.frames import Frames
from reports.export.csv_cells import write_csv
from reports.export.ledger_tables import attempts_table, balances_table
from reports.figures import cost_by_phase, sensitivity
from reports.measure.deployment import deployment_rows, deployments
from reports.measure.methods import method_rows
from reports.measure.phase_costs import phase_costs
from reports.measure.predictions import predictions
from reports.measure.pruned_layers import pruned_layers, role_rows
from reports.statistics import Cell

MANY_ROWS = 50_000
"""After a table of so many rows, freed memory is returned to the system."""
Tables = dict[str, Callable[[], pd.DataFrame]]


def build_tables(frames: Frames, answers: Iterable[Answer]) -> dict[str, pd.DataFrame]:
    """All tables by name, except those of things that the study does not measure; units replace ``_h`` in headers."""
    return {name: make() for name, make in {**long_makers_of(frames), **makers_of(frames, answers)}.items()}


def long_makers_of(frames: Frames) -> Tables:
    """The tables with a row per attempt, job or epoch; each is made on demand, because they take much memory."""
    view = frames.view
    makers: Tables = {
        "attempts": lambda: attempts_table(frames),
        "jobs": lambda: ledger_frames.jobs(view),
        "progress": lambda: ledger_frames.progress(view),
    }
    return {name: partial(_made, make, frames.unit) for name, make in makers.items()}


def makers_of(frames: Frames, answers: Iterable[Answer]) -> Tables:
    """The other tables; each is made on demand."""
    answers = list(answers)
    view = frames.view
    makers: Tables = {
        "networks": lambda: frames.networks,
        "verdicts": lambda: verdict_table(answers),
        "cost_by_phase": lambda: phase_costs(view),
        "charged_by_phase": lambda: cost_by_phase.data(frames).drop(columns="unit"),
        "sessions": lambda: frames.sessions,
        "driver_work": lambda: frames.driver_work.rename(columns={"duration_h": "duration_driver_hours"}),
        "device_balances": lambda: balances_table(frames),
    }
    layers = pruned_layers(frames)
    optional = {
        "further_routes": further_table(answers),
        "pruning_methods": _table(method_rows(frames)),
        "sparsity_by_role": _table(role_rows(layers)),
        "sparsity_by_layer": layers,
        "sensitivity": sensitivity.data(frames),
        "predictions": predictions(frames),
        "deployment": _table(deployment_rows(frames)),
        "deployments": deployments(frames),
    }
    makers |= {name: partial(pd.DataFrame, table) for name, table in optional.items() if not table.empty}
    return {name: partial(_made, make, frames.unit) for name, make in makers.items()}


def _made(make: Callable[[], pd.DataFrame], unit: str) -> pd.DataFrame:
    return with_unit(make(), unit)


class _Row(Protocol):
    def columns(self) -> dict[str, Cell]: ...


def _table(rows: Sequence[_Row]) -> pd.DataFrame:
    return pd.DataFrame([row.columns() for row in rows])


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write ``<name>.csv`` and ``<name>.parquet`` for each table; only the CSV, for spreadsheets, has its text marked."""
    write_made({name: partial(pd.DataFrame, table) for name, table in tables.items()}, folder)


def write_made(makers: Tables, folder: Path) -> None:
    """The same for tables that are made here, one after another."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in makers.items():
        table = make()
        write_csv(table, folder / f"{name}.csv")
        table.to_parquet(folder / f"{name}.parquet", index=False)
        is_large = len(table) >= MANY_ROWS
        del table
        if is_large:
            return_memory()


def with_unit(table: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Rename ``cost_full_h`` to ``cost_full_gpu_hours`` or ``cost_full_cpu_core_hours``, and ``..._per_h...`` likewise."""
    hour = unit.removesuffix("s")
    names = {str(column): str(column) for column in table.columns}
    for column in names:
        if column.endswith("_h"):
            names[column] = f"{column[:-2]}_{unit}"
        elif "_per_h_" in column:
            names[column] = column.replace("_per_h_", f"_per_{hour}_")
    return table.rename(columns=names)


def verdict_table(answers: Iterable[Answer]) -> pd.DataFrame:
    """One row per target and charge policy; a target without an answer has a row that says why."""
    rows: list[dict[str, Cell]] = []
    for given in answers:
        start: dict[str, Cell] = {"target": given.question.target, "status": status_of(given)}
        if isinstance(given, Refused):
            rows.append({**start, "reason": reason_text(given), "policy": None, "verdict": None})
        else:
            rows += [{**start, **row} for row in _cost_rows(given.headline, given, given.headline.challenger)]
    return pd.DataFrame(rows)


def further_table(answers: Iterable[Answer]) -> pd.DataFrame:
    """One row per further route, target and charge policy."""
    return pd.DataFrame(
        [
            {"route": compared.challenger, "target": given.question.target, **row}
            for given in answers
            for compared in given.further
            for row in _cost_rows(compared, given, "route")
        ]
    )


def _cost_rows(compared: Comparison, given: Answer, name: str) -> list[dict[str, Cell]]:
    """One row per charge policy; ``name`` is the challenger's name in the columns."""
    rows: list[dict[str, Cell]] = []
    for policy, costs in compared.by_policy.items():
        row: dict[str, Cell] = {
            "reason": None if costs.guarded is None else guard_text(costs.guarded, costs.challenger),
            "policy": policy,
            "verdict": cheaper_route(costs.verdict, costs.challenger),
            "provisional": compared.n < given.question.replicates,
            "neither": ", ".join(one.label for one in costs.instead) or None,
        }
        row |= {"common_val_top1": costs.level, "interval_alpha": costs.alpha}
        row |= costs.cost_ratio.columns("cost_ratio") | costs.total_cost_ratio.columns("total_cost_ratio")
        for column, route in ((name, costs.challenger), (PRUNE, PRUNE)):
            row[f"{column}_to_equal_quality_h"] = costs.to_quality[route].value
            row[f"{column}_total_h"] = costs.total[route].value
            row[f"{column}_replicates_reached"] = costs.num_reached[route]
            row[f"{column}_replicates_entered"] = costs.num_entered[route]
        rows.append(row | compared.difference.columns(f"test_top1_prune_minus_{name}"))
    return rows
