"""Test accuracy bought per device-hour, by kind of delivered network and target."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import is_method, label_rank, label_text
from accounting.words.quantities import macs_short
from reports.data.frames import Frames
from reports.figures._axes import legend_below, replicates_text, tidy, unit_of
from reports.words.colours import label_marker, route_colour

TITLE = "Accuracy per device-hour"
COLUMNS = ["target", "label", "route", "replicate", "policy", "test_top1_per_h", "unit"]
SHOWN_POLICIES = (HEADLINE_POLICY, "free")
LOG_FROM = 12.0
"""Ratio of the largest to the smallest value from which the axis is logarithmic."""


def data(frames: Frames) -> pd.DataFrame:
    """One row per network of a route or control: test top-1 per device-hour charged; two where the parent counts."""
    rows = [
        [n.target, n.label, n.route, n.replicate, policy, n.top1_per_hour(policy), frames.unit]
        for n in frames.delivered
        if not is_method(n.label)
        for policy in SHOWN_POLICIES
        if policy == HEADLINE_POLICY or n.cost_h[policy] != n.cost_h[HEADLINE_POLICY]
    ]
    return pd.DataFrame(rows, columns=COLUMNS).dropna(subset=["test_top1_per_h"]).reset_index(drop=True)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    return (
        f"Percentage points of test accuracy per {unit_of(data)[:-1]}; higher is cheaper. Filled: all work charged; "
        f"hollow: the parent's pretraining free. Mean and one standard deviation, "
        f"{replicates_text(data, ['target', 'label'])} per mark. A control (scratch) is charged its own training only."
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A group per target, a mark per kind of network and policy."""
    targets, labels = sorted(data["target"].unique()), sorted(data["label"].unique(), key=label_rank)
    figure.set_size_inches(7.6, 4.4)
    panel = figure.subplots()
    tidy(panel)
    panel.grid(axis="x", visible=False)
    step = 0.72 / max(len(labels), 1)
    for (label, policy, target), rows in data.groupby(["label", "policy", "target"]):
        colour = route_colour(str(rows["route"].iloc[0]))
        values = 100 * rows["test_top1_per_h"]
        shift = (labels.index(label) - (len(labels) - 1) / 2) * step + (0 if policy == HEADLINE_POLICY else 0.05)
        panel.errorbar(
            targets.index(target) + shift, values.mean(), yerr=values.std() if len(values) > 1 else 0.0,
            color=colour, marker=label_marker(str(label)), markersize=8, capsize=3,
            markerfacecolor=colour if policy == HEADLINE_POLICY else "white",
        )  # fmt: skip
    if data["test_top1_per_h"].max() > LOG_FROM * data["test_top1_per_h"].min():
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    else:
        panel.set_ylim(bottom=0)
    for boundary in range(1, len(targets)):
        panel.axvline(boundary - 0.5, color="#bbbbbb", linewidth=1)
    panel.set_xlim(-0.5, len(targets) - 0.5)
    panel.set_xticks(range(len(targets)), [f"≤ {macs_short(target)} MACs" for target in targets])
    panel.set_ylabel(f"test accuracy (%) per {unit_of(data)[:-1]}")
    routes = dict(zip(data["label"], data["route"], strict=True))
    marks = [
        Line2D([], [], color=route_colour(str(routes[label])), marker=label_marker(str(label)), markersize=8,
               linewidth=0, label=label_text(str(label)))
        for label in labels
    ]  # fmt: skip
    legend_below(figure, marks, 2 if len(marks) > 3 else len(marks))
