"""Draw the figure of ``simulate_cluster.py``: orchestration time per job and a cluster's idle share, by number of jobs.

python -m benchmarks.simulate_figure
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from reports.figures._axes import tidy

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "benchmarks" / "results" / "simulate_cluster.jsonl"
FIGURE = ROOT / "docs" / "figures" / "simulate_cluster.png"


def latest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last row of each number of jobs, the smallest first."""
    return sorted({row["num_jobs"]: row for row in rows}.values(), key=lambda row: int(row["num_jobs"]))


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Draw processor time per job (left), peak memory (middle), and idle device time with its bound (right)."""
    figure = Figure(figsize=(9.2, 3.4), layout="constrained")
    time, memory, idle = figure.subplots(1, 3)
    jobs = [row["num_jobs"] for row in rows]
    time.plot(jobs, [row["orchestration_ms_per_job"] for row in rows], color="#0072B2", marker="o")
    time.set(ylabel="orchestration, processor ms a job")
    memory.plot(jobs, [row["driver_mb"] for row in rows], color="#009E73", marker="o", label="driver")
    memory.plot(jobs, [row["audit_mb"] for row in rows], color="#CC79A7", marker="s", label="audit")
    memory.plot(jobs, [row["answer_mb"] for row in rows], color="#E69F00", marker="^", label="answer")
    memory.set(ylabel="peak memory (MB)")
    idle.plot(jobs, [100 * row["idle_share"] for row in rows], color="#D55E00", marker="o", label="simulated")
    idle.plot(jobs, [100 * row["bound_idle_share"] for row in rows], color="0.5", marker="s", ls="--", label="bound")
    idle.set(ylabel="idle device time (%)")
    for panel in (time, memory, idle):
        _jobs_axis(panel, jobs)
        panel.set_ylim(bottom=0)
        tidy(panel)
    for panel in (memory, idle):
        panel.legend(fontsize=8, frameon=False)
    return figure


def _jobs_axis(panel: Axes, jobs: list[int]) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(jobs))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticklabels([f"{count:,}" for count in jobs])
    panel.set_xlabel("jobs of the study")


if __name__ == "__main__":
    with ROWS.open(encoding="utf-8") as file:
        draw(latest([json.loads(line) for line in file])).savefig(FIGURE, dpi=110)
