"""Draw the figures of ``verdict_calibration.py``: how often the cheaper route is named and intervals contain the truth.

python -m benchmarks.verdict_figure
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from reports.figures._axes import tidy

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "benchmarks" / "results" / "verdict_calibration.csv"
FIGURE = ROOT / "docs" / "figures" / "verdict_calibration.png"
SHOWN = {"full": "#0072B2", "mild": "#D55E00", "plateau": "#009E73", "compete": "#CC79A7"}
STYLES = {3: ("-", "present rules"), 1: ("--", "version 1")}


def draw(table: pd.DataFrame) -> Figure:
    """Draw power at n = 3 against the true ratio (left), and coverage against n at a true ratio of 2 (right)."""
    figure = Figure(figsize=(9.2, 4.2), layout="constrained")
    power, coverage = figure.subplots(1, 2)
    for scenario, colour in SHOWN.items():
        for rules, (style, name) in STYLES.items():
            rows = table[(table["scenario"] == scenario) & (table["rules"] == rules)]
            at = rows[rows["n"] == 3].sort_values("true_ratio")  # a gap at a ratio of 1, where no route is cheaper
            label = f"{scenario}, {name}"
            power.plot(at["true_ratio"], 100 * at["shown_rightly"], style, color=colour, marker=".", label=label)
            at = rows[rows["true_ratio"] == 2].sort_values("n")
            coverage.plot(at["n"], 100 * at["coverage"], style, color=colour, marker=".")
    _ratio_axis(power, sorted(table["true_ratio"].unique()))
    power.set(
        xlabel="true cost ratio, search / pruning", ylabel="studies that name the cheaper route (%)", ylim=(0, 100)
    )
    figure.legend(*power.get_legend_handles_labels(), fontsize=8, frameon=False, loc="outside lower center", ncols=4)
    coverage.axhspan(93, 97, color="0.9")
    coverage.set(xlabel="replicates (true ratio 2)", ylabel="intervals that hold the true ratio (%)", ylim=(0, 100))
    for panel in (power, coverage):
        tidy(panel)
    return figure


def _ratio_axis(panel: Axes, ratios: list[float]) -> None:
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(ratios))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticklabels([f"{ratio:g}" for ratio in ratios])


if __name__ == "__main__":
    draw(pd.read_csv(TABLE)).savefig(FIGURE, dpi=110)
