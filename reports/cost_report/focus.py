"""What a study held, as rows with the column names of FOCUS 1.2, for finance tools that read cloud bills.

FOCUS (FinOps Open Cost and Usage Specification, version 1.2 of May 2025, focus.finops.org) defines the columns of
bills. A study is not a bill. Nothing was billed, so BilledCost, EffectiveCost, ListCost, ContractedCost and the columns
of invoices, billing accounts and billing periods are left out, and this is not a conforming FOCUS dataset. Estimates at
stated prices are in columns of our own, which begin with ``x_`` as FOCUS requires. Each row is the usage of one device
by an attempt or start-up, so ConsumedQuantity adds up, in each ConsumedUnit, to the ledger's total, in hours as they were
held even if a study declares what an hour of another GPU model counts as. There are no rows
for totals or idle time.
"""

from __future__ import annotations

import csv
import io
import json
import time

from accounting.cost.entries import Entry, Piece
from accounting.cost.values import StartUp
from accounting.words.names import DeviceKind
from reports.cost_report.values import CostReport
from reports.export.csv_cells import plain_cell

FOCUS_VERSION = "1.2"
SERVICE = "prune-or-search"
UNITS: dict[DeviceKind, str] = {"cuda": "GPU-Hours", "cpu_core": "Core-Hours"}
"""Units in the format of FOCUS."""
RESOURCE_TYPES: dict[DeviceKind, str] = {"cuda": "GPU", "cpu_core": "CPU core"}
COLUMNS = (
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SubAccountId",
    "SubAccountName",
    "Tags",
)
"""Columns of FOCUS 1.2."""
OWN_COLUMNS = (
    "x_FocusVersion",
    "x_Owner",
    "x_Session",
    "x_Route",
    "x_Phase",
    "x_TargetMacs",
    "x_Replicate",
    "x_Job",
    "x_Attempt",
    "x_Status",
    "x_ProductiveQuantity",
    "x_OverheadQuantity",
    "x_LostQuantity",
    "x_EstimatedListCost",
    "x_EstimatedListUnitPrice",
    "x_EstimateCurrency",
    "x_PriceDate",
    "x_PriceSource",
    "x_EnergyKwh",
    "x_EnergyMeter",
)


def as_csv(report: CostReport) -> str:
    """The whole table as CSV with a header; lines end with a line feed."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*COLUMNS, *OWN_COLUMNS])
    for entry in report.entries:
        for piece in entry.pieces:
            row = {**_usage(report, entry, piece), **_own(entry, piece)}
            writer.writerow([plain_cell(row[column]) for column in (*COLUMNS, *OWN_COLUMNS)])
    return stream.getvalue()


def _usage(report: CostReport, entry: Entry, piece: Piece) -> dict[str, str]:
    kind = piece.device.device_kind
    what = "start-up without an attempt" if isinstance(entry.held, StartUp) else f"attempt at {entry.held.job}"
    return {
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": what,
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _time(entry.held.begin_t),
        "ChargePeriodEnd": _time(entry.held.end_t),
        "ConsumedQuantity": repr(piece.hours),
        "ConsumedUnit": UNITS[kind],
        "ResourceId": piece.device.device,
        "ResourceName": piece.device.name,
        "ResourceType": RESOURCE_TYPES[kind],
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": SERVICE,
        "ServiceSubcategory": "Machine Learning",
        "SubAccountId": report.study,
        "SubAccountName": report.study,
        "Tags": json.dumps(dict(entry.whose.labels), sort_keys=True) if entry.whose.labels else "",
    }


def _own(entry: Entry, piece: Piece) -> dict[str, str]:
    attempt, price, held_h = entry.attempt, piece.price, entry.amount.allocated_h
    share = piece.hours / held_h if held_h > 0 else 0.0
    energy = entry.energy
    energy_share = piece.hours / whole if (whole := sum(each.hours for each in entry.pieces)) > 0 else 0.0
    return {
        "x_FocusVersion": FOCUS_VERSION,
        "x_Owner": entry.whose.owner or "",
        "x_Session": entry.held.session,
        "x_Route": entry.route,
        "x_Phase": entry.phase,
        "x_TargetMacs": "" if entry.target is None else str(entry.target),
        "x_Replicate": "" if entry.replicate is None else str(entry.replicate),
        "x_Job": "" if attempt is None else attempt.job,
        "x_Attempt": "" if attempt is None else attempt.attempt,
        "x_Status": "" if attempt is None else str(attempt.status),
        "x_ProductiveQuantity": repr(share * entry.amount.productive_h),
        "x_OverheadQuantity": repr(share * entry.amount.overhead_h),
        "x_LostQuantity": repr(share * entry.amount.lost_h),
        "x_EstimatedListCost": "" if piece.money is None else repr(piece.money),
        "x_EstimatedListUnitPrice": "" if price is None else repr(price.value),
        "x_EstimateCurrency": "" if price is None else str(price.currency),
        "x_PriceDate": "" if price is None else price.date,
        "x_PriceSource": "" if price is None else price.source,
        "x_EnergyKwh": "" if energy is None else repr(energy_share * energy.kwh),
        "x_EnergyMeter": "" if energy is None else energy.meter,
    }


def _time(t: float) -> str:
    """A time in the format of FOCUS: UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t))
