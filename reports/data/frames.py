"""A study folder as data frames, for figures and tables.

Hours are *device-hours*, device-seconds / 3600, in the unit that the ledger's devices give (``Frames.unit``:
``gpu_hours`` or ``cpu_core_hours``). Columns in them end in ``_h``; tables that leave the program carry the unit's
name in the header instead (:mod:`reports.export.tables`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from accounting.audit.audit import AuditReport, Balance, audit
from accounting.audit.rules import rules_text
from accounting.cost.attempts import Attempt, CostView, DriverWork, Job, Progress, Session
from accounting.cost.shares import POLICIES
from accounting.study.facts import StudyDocument, StudyFacts
from accounting.words.quantities import HOUR_S
from reports.data.extensions import History, history_of
from reports.data.levels import num_classes
from reports.data.networks import Network, delivered_networks
from reports.data.source import load_source
from reports.data.undelivered import undelivered_sentences

OPTIONAL_COUNTS = {"target", "network_macs"}
"""Whole numbers that may be missing; without a type of their own they would become floats."""
NESTED = ("cost_h", "int8", "size_bytes", "latency")
"""Fields of a network that are objects; they have columns or a table of their own (:mod:`reports.measure.deployment`)."""
SESSION_COLUMNS = ("session", "begin_t", "end_t", "closed", "reason")


@dataclass(frozen=True)
class Frames:
    """Everything a report shows of one study.

    ``view`` and ``delivered`` hold the same facts as typed values, for the statistics; the data frames are for
    figures and tables. All frames have their columns even when they have no rows.
    """

    folder: Path
    info: StudyFacts
    document: StudyDocument
    """The whole of ``study.yaml``: the resolved config and what else was so when it was written."""
    environment: dict[str, Any]
    unit: str
    warnings: tuple[str, ...]
    view: CostView
    audit: AuditReport
    delivered: tuple[Network, ...]
    num_classes: int | None
    history: History
    cost_rules: str
    """The version of the cost rules, with the sessions of each where there are several."""
    undelivered: tuple[str, ...]
    """A sentence for each planned network that a spent budget left out."""
    attempts: pd.DataFrame
    jobs: pd.DataFrame
    networks: pd.DataFrame
    progress: pd.DataFrame
    sessions: pd.DataFrame
    driver_work: pd.DataFrame
    balances: pd.DataFrame


def load_frames(folder: Path) -> Frames:
    """Read a study folder; errors as :func:`reports.data.source.load_source`."""
    source = load_source(folder)
    view, info = source.view, source.info
    report = audit(source.ledger.records, source.ledger.findings)
    delivered = delivered_networks(view, info)
    environment = source.document.facts.get("environment")
    return Frames(
        folder=Path(folder),
        info=info,
        document=source.document,
        environment=environment if isinstance(environment, dict) else {},
        unit=view.unit,
        warnings=tuple(str(warning) for warning in source.ledger.warnings),
        view=view,
        audit=report,
        delivered=delivered,
        num_classes=num_classes(info.num_classes, view),
        history=history_of(source.ledger.records),
        cost_rules=rules_text(source.ledger.records),
        undelivered=tuple(undelivered_sentences(source.ledger.records, view.unit)),
        attempts=_in_hours(_frame(Attempt, view.attempts)),
        jobs=_frame(Job, view.jobs),
        networks=_networks_frame(delivered),
        progress=_frame(Progress, view.progress),
        sessions=_sessions_frame(view.sessions),
        driver_work=_in_hours(_frame(DriverWork, view.driver_work)),
        balances=_in_hours(_frame(Balance, report.balances)),
    )


def _frame(kind: type, rows: Iterable[Any]) -> pd.DataFrame:
    """One row per dataclass instance, in the order of the ledger; JSON for values that are not scalars."""
    columns = [field.name for field in dataclasses.fields(kind)]
    frame = pd.DataFrame([[_cell(getattr(row, name)) for name in columns] for row in rows], columns=columns)
    for name in OPTIONAL_COUNTS & set(columns):
        frame[name] = frame[name].astype("Int64")
    return frame


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    return json.dumps(value, default=str, sort_keys=True)


def _in_hours(frame: pd.DataFrame) -> pd.DataFrame:
    """Add a ``*_h`` column for each column of (device-)seconds."""
    for column in [str(name) for name in frame.columns if str(name).endswith("_s")]:
        frame[f"{column[:-2]}_h"] = pd.to_numeric(frame[column]) / HOUR_S
    return frame


def _networks_frame(networks: Iterable[Network]) -> pd.DataFrame:
    fields = [field.name for field in dataclasses.fields(Network) if field.name not in NESTED]
    rows = [
        [getattr(network, name) for name in fields]
        + [network.cost_h[policy] for policy in POLICIES]
        + [network.top1_per_hour(policy) for policy in POLICIES]
        for network in networks
    ]
    columns = [*fields, *(f"cost_{name}_h" for name in POLICIES), *(f"test_top1_per_h_{name}" for name in POLICIES)]
    return pd.DataFrame(rows, columns=columns)


def _sessions_frame(sessions: Iterable[Session]) -> pd.DataFrame:
    """One row per session and device."""
    columns = [*SESSION_COLUMNS, "device", "device_kind", "amount", "name", "node"]
    rows = [
        [getattr(session if name in SESSION_COLUMNS else device, name) for name in columns]
        for session in sessions
        for device in session.capacity
    ]
    return pd.DataFrame(rows, columns=columns)
