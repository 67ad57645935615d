"""Accuracy against MACs of the routes' networks and of the controls: pruned, found by search, trained from scratch."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from accounting.words.names import is_method, label_rank, label_text
from reports.data.frames import Frames
from reports.figures._axes import legend_below, macs_axis, percent_axis, replicates_text, tidy
from reports.words.colours import HOLLOW_LABELS, label_marker, route_colour

TITLE = "Accuracy against MACs"
COLUMNS = ["target", "label", "route", "replicate", "macs", "test_top1"]


def data(frames: Frames) -> pd.DataFrame:
    """One row per network of a route or control with a test accuracy; single methods have their own figure."""
    networks = frames.networks[~frames.networks["label"].map(is_method).astype(bool)]
    return networks[COLUMNS].dropna(subset=["macs", "test_top1"]).reset_index(drop=True)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    return (
        "Test accuracy of the delivered networks. Small marks: single replicates; large marks: their mean, with one "
        f"standard deviation ({replicates_text(data, ['target', 'label'])} per mark). Vertical lines: the targets, "
        "which no network exceeds. Networks found by search or taken from the family lie below the target where no "
        "architecture meets it exactly."
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """One panel; a line per kind of network."""
    figure.set_size_inches(7.6, 4.6)
    panel = figure.subplots()
    tidy(panel)
    targets = sorted(data["target"].unique())
    for target in targets:
        panel.axvline(target, color="#aaaaaa", linewidth=1, linestyle=":")
    handles = []
    for label in sorted(data["label"].unique(), key=label_rank):
        rows = data[data["label"] == label]
        colour, marker = route_colour(str(rows["route"].iloc[0])), label_marker(label)
        filled = colour if label not in HOLLOW_LABELS else "white"
        panel.plot(rows["macs"], 100 * rows["test_top1"], marker, color=colour, markersize=4, alpha=0.4, linewidth=0)
        groups = rows.groupby("target")
        means = groups[["macs", "test_top1"]].mean()
        spread, percents = 100 * groups["test_top1"].std().fillna(0.0), 100 * means["test_top1"]
        style: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "markersize": 8,
            "markerfacecolor": filled,
            "linewidth": 1.4,
        }
        panel.errorbar(
            means["macs"],
            100 * means["test_top1"],
            yerr=[spread.clip(upper=percents), spread.clip(upper=100 - percents)],
            capsize=3,
            **style,
        )
        handles.append(Line2D([], [], label=label_text(label), **style))
    macs_axis(panel, targets)
    panel.margins(x=0.12)
    percent_axis(panel, "y")
    panel.set_ylabel("test accuracy (%)")
    legend_below(figure, handles, 2 if len(handles) > 3 else len(handles))
