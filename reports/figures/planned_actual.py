"""Planned and actual cost of each route and phase: whether the plan can be trusted."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from accounting.words.names import label_text
from reports.data.frames import Frames
from reports.figures._axes import legend_below, tidy, unit_of
from reports.measure.planned import planned_steps
from reports.measure.unusable import plans_beside
from reports.words.colours import INK, route_colour
from reports.words.wording import number

TITLE = "Planned and actual cost"
OPTIONAL = True
COLUMNS = ["route", "phase", "jobs_planned", "jobs_done", "planned_h", "planned_done_h", "actual_h", "plans", "unit"]


def data(frames: Frames) -> pd.DataFrame:
    """One row per route and phase, or none without a plan in hours; ``planned_done_h`` is for as many jobs as are done."""
    plans = plans_beside(frames)
    latest = plans[-1] if plans and plans[-1].unit == frames.unit else None
    if latest is None or latest.hours is None:
        return pd.DataFrame(columns=COLUMNS)
    rows = [
        [step.route, step.phase, step.jobs_planned, step.jobs_done, step.planned_h, step.planned_done_h, step.actual_h,
         len(plans), frames.unit]
        for step in planned_steps(latest, frames.view)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def caption(data: pd.DataFrame) -> str:
    """How to read it, with the totals."""
    planned, actual = float(data["planned_h"].sum()), float(data["actual_h"].sum())
    times = f", {actual / planned:.2f} times the plan" if planned > 0 else ""
    plans = int(data["plans"].iloc[0])
    which = (
        "the plan that was kept when the study began" if plans == 1 else f"the last of the {plans} plans that were kept"
    )
    open_jobs = int((data["jobs_planned"] - data["jobs_done"]).clip(lower=0).sum())
    left = f" {open_jobs} planned jobs are not done." if open_jobs else ""
    return (
        f"Bars: {unit_of(data)} held, failed attempts included; line: {which}. In all {number(actual)} of "
        f"{number(planned)} planned{times} (n = {int(data['jobs_done'].sum())} jobs done).{left}"
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A bar per route and phase, with a line at the planned cost."""
    rows = data.iloc[::-1].reset_index(drop=True)
    figure.set_size_inches(7.6, 0.9 + 0.27 * len(rows))
    panel = figure.subplots()
    tidy(panel)
    panel.grid(axis="y", visible=False)
    longest = max(float(rows["planned_h"].max()), float(rows["actual_h"].max()), 1e-12)
    for place, row in rows.iterrows():
        y, actual, planned = float(str(place)), float(row["actual_h"]), float(row["planned_h"])
        panel.barh(y, actual, 0.62, color=route_colour(str(row["route"])), linewidth=0)
        panel.vlines(planned, y - 0.42, y + 0.42, color=INK, linewidth=2)
        times = f"{actual / planned:.2f}×" if planned > 0 else "not planned"
        panel.text(max(actual, planned) + 0.012 * longest, y, times, va="center", fontsize=8.5)
    names = [
        f"{label_text(str(r))}: {p}" if r else str(p).replace("_", "-")
        for r, p in zip(rows["route"], rows["phase"], strict=True)
    ]
    panel.set_yticks(range(len(rows)), names)
    panel.set_ylim(-0.6, len(rows) - 0.4)
    panel.set_xlim(0, 1.12 * longest)
    panel.xaxis.set_major_locator(MaxNLocator(6))
    panel.set_xlabel(f"cost of all replicates ({unit_of(data)})")
    handles = [Patch(facecolor="#999999", label="actual"), Line2D([], [], color=INK, linewidth=2, label="planned")]
    legend_below(figure, handles, 2)
