"""Accuracy of every pruning method delivered on its own, and of the controls, at each target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from accounting.words.methods import schedule_text
from accounting.words.names import FAMILY_CONTROL, PRUNE, SCRATCH, is_method, method_of
from accounting.words.quantities import macs_short
from accounting.words.task import task
from reports.data.frames import Frames
from reports.figures._axes import legend_below, percent_axis, replicates_text, tidy
from reports.measure.methods import method_networks, method_text, parent_test_top1, parent_val_top1, schedule_of
from reports.statistics import mean_interval
from reports.words.colours import INK, SCHEDULE_MARKERS, label_marker, route_colour

TITLE = "Pruning methods"
OPTIONAL = True
PARENT_STYLE = (0, (4, 2))


def data(frames: Frames) -> pd.DataFrame:
    """One row per delivered network of a method or control.

    ``parent_top1`` is the dense parent's accuracy on ``parent_split``: test if the study measured it, else validation.
    """
    table = method_networks(frames)[["target", "label", "route", "replicate", "test_top1"]].dropna()
    on_test = parent_test_top1(frames).value
    top1, split = (parent_val_top1(frames).value, "validation") if on_test is None else (on_test, "test")
    return table.assign(parent_top1=top1, parent_split=split).reset_index(drop=True)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    return (
        f"Test {task().quality} of each pruning method after fine-tuning, and of the controls trained from "
        "scratch: mean and 95 % "
        f"t-interval ({replicates_text(data, ['target', 'label'])} per mark). Methods are in the order of their mean over "
        "the targets, the same in all panels. Filled: zeros in a network of the parent's size; hollow: a physically "
        "smaller one. Dashed: the mean of the dense parents before pruning, on the "
        f"{data['parent_split'].iloc[0] if len(data) else 'test'} split."
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A panel per target, a row per method, the best on top."""
    targets = sorted(data["target"].unique())
    labels = _worst_first(data)
    figure.set_size_inches(2.6 + 1.9 * len(targets), 1.5 + 0.27 * len(labels))
    panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    for panel, target in zip(panels, targets, strict=True):
        tidy(panel)
        panel.set_title(f"≤ {macs_short(target)} MACs", fontsize=10)
        panel.set_xlabel(f"test {task().quality} ({task().unit})")
        panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        _draw_rows(panel, data[data["target"] == target], labels)
        percent_axis(panel, "x")
    panels[0].set_yticks(range(len(labels)), [method_text(label) for label in labels])
    panels[0].set_ylim(-0.6, len(labels) - 0.4)
    schedules = [name for name in SCHEDULE_MARKERS if name in {schedule_of(x) for x in labels if is_method(x)}]
    handles = [
        Line2D([], [], color=route_colour(PRUNE), marker=SCHEDULE_MARKERS[name], linewidth=0, label=schedule_text(name))
        for name in schedules
    ]
    if any((method := method_of(label)) is not None and method.is_structured for label in labels):
        style: dict[str, Any] = {"color": route_colour(PRUNE), "marker": "o", "markerfacecolor": "white"}
        handles.append(Line2D([], [], linewidth=0, label="physically smaller", **style))
    if not all(is_method(label) for label in labels):
        style = {
            "color": route_colour(SCRATCH),
            "marker": label_marker(FAMILY_CONTROL),
            "linewidth": 0,
        }
        handles.append(Line2D([], [], label="from scratch", **style))
    if data["parent_top1"].notna().any():
        handles.append(
            Line2D(
                [],
                [],
                color=INK,
                linestyle=PARENT_STYLE,
                linewidth=1,
                label=f"dense parent ({data['parent_split'].iloc[0]})",
            )
        )
    legend_below(figure, handles, len(handles))


def _draw_rows(panel: Axes, rows: pd.DataFrame, labels: Mapping[str, int]) -> None:
    for label, group in rows.groupby("label"):
        estimate, colour = (
            mean_interval([100 * value for value in group["test_top1"]], at_least=0.0, at_most=100.0),
            route_colour(group["route"].iloc[0]),
        )
        position, method = labels[str(label)], method_of(str(label))
        marker = label_marker(str(label)) if method is None else SCHEDULE_MARKERS.get(method.schedule, "o")
        is_filled = method is None or not method.is_structured
        if estimate.low is not None and estimate.high is not None:
            panel.hlines(position, estimate.low, estimate.high, color=colour, linewidth=1.6)
        panel.plot(
            [estimate.value or 0.0], [position], marker, color=colour, markersize=5,
            markerfacecolor=colour if is_filled else "white",
        )  # fmt: skip
    if rows["parent_top1"].notna().any():
        panel.axvline(100 * rows["parent_top1"].iloc[0], color=INK, linestyle=PARENT_STYLE, linewidth=1)


def _worst_first(data: pd.DataFrame) -> dict[str, int]:
    """Labels with their positions, worst first, by the mean over targets of the difference from the target's mean."""
    means = data.groupby(["target", "label"])["test_top1"].mean()
    apart = (means - means.groupby("target").transform("mean")).groupby("label").mean()
    ordered = sorted(apart.items(), key=lambda item: (item[1], str(item[0])))
    return {str(label): position for position, (label, _) in enumerate(ordered)}
