"""The command ``cost``: sections of the cost report as text, the whole report as JSON, or its rows as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accounting.cost.prices import BadPrices
from accounting.study.plans import NotAPlan
from harness.console.terminal import say, say_json
from harness.errors import InputError
from reports.cost_report.as_json import as_json
from reports.cost_report.build import cost_report
from reports.cost_report.focus import as_csv
from reports.cost_report.text import SECTIONS, as_text
from reports.cost_report.values import CostReport

USUAL = ("total", "route", "plan", "forecast", "use", "networks", "energy")
"""The sections shown by default."""


def show_cost(folder: Path, prices: Path | None, show: Sequence[str], *, json: bool, csv: bool) -> None:
    """Print the cost report of a study; ``InputError`` for invalid options, prices or plans."""
    unknown = [name for name in show if name not in SECTIONS]
    if unknown:
        raise InputError(f"--show {unknown[0]}: allowed are {', '.join(SECTIONS)}")
    if json + csv + bool(show) > 1:
        raise InputError("--json, --csv and --show: give one of them; --json has every section, --csv the rows")
    report = _report(folder, prices)
    if json:
        say_json(as_json(report))
    elif csv:
        say(as_csv(report).rstrip("\n"))
    else:
        say(as_text(report, list(dict.fromkeys(show)) or USUAL))


def _report(folder: Path, prices: Path | None) -> CostReport:
    try:
        return cost_report(folder, prices)
    except (BadPrices, NotAPlan) as error:
        raise InputError(str(error)) from None
