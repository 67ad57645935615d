"""Accuracy against MACs of every contender's networks: pruned, searched, trained from scratch, by single methods."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from accounting.words.names import is_method, label_rank, label_text
from accounting.words.quantities import macs_short
from accounting.words.task import task
from reports.data.frames import Frames
from reports.figures._axes import legend_below, macs_axis, percent_axis, replicates_text, tidy
from reports.figures._contenders import columns_of, handles_of, line_style
from reports.statistics import mean_interval
from reports.words.wording import percent

TITLE = "{Quality} against MACs"
MOST_NAMED = 3
"""Most single pruning methods that the legend names; if there are more, another figure names them."""
SINGLE = "#777777"
COLUMNS = ["target", "label", "route", "replicate", "macs", "test_top1"]


def data(frames: Frames) -> pd.DataFrame:
    """One row per delivered network with a test accuracy."""
    return frames.networks[COLUMNS].dropna(subset=["macs", "test_top1"]).reset_index(drop=True)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    return (
        f"Test {task().quality} of the delivered networks. Faint marks: single replicates; strong marks: their "
        "mean, with the 95 % "
        f"t-interval ({replicates_text(data, ['target', 'label'])} per mark). Vertical lines: the targets, which no network "
        "exceeds. Networks found by search or taken from the family are below the target if no architecture meets it "
        "exactly. Thin lines: single pruning methods."
    )


def alternative(data: pd.DataFrame) -> str:
    """The mean accuracies in words."""
    means = data.groupby(["target", "label"])["test_top1"].mean()
    parts = []
    for target in sorted(data["target"].unique()):
        of_target = means[target].sort_values(ascending=False)
        said = ", ".join(f"{label_text(str(label))} {percent(float(top1))}" for label, top1 in of_target.items())
        parts.append(f"at {macs_short(target)} MACs {said}")
    return f"Mean test {task().qualities}, the highest first: {'; '.join(parts)}."


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """One panel; a line per kind of network."""
    figure.set_size_inches(7.6, 4.9)
    panel = figure.subplots()
    tidy(panel)
    targets = sorted(data["target"].unique())
    for target in targets:
        panel.axvline(target, color="#aaaaaa", linewidth=1, linestyle=":")
    for label in sorted(data["label"].unique(), key=lambda label: (not is_method(label), label_rank(label))):
        rows = data[data["label"] == label]
        style = line_style(label, str(rows["route"].iloc[0]))
        is_single = is_method(label)
        faint = {**style, "markersize": 3.5, "alpha": 0.3, "linewidth": 0}
        panel.plot(rows["macs"].astype(float), 100 * rows["test_top1"], **faint)
        points = []
        for _, group in rows.groupby("target"):
            top1 = mean_interval([100 * float(value) for value in group["test_top1"]], at_least=0.0, at_most=100.0)
            points.append((float(group["macs"].mean()), top1))
        known = [(x, top1) for x, top1 in points if top1.value is not None]
        y = [top1.value or 0.0 for _, top1 in known]
        low = [value - (value if top1.low is None else top1.low) for value, (_, top1) in zip(y, known, strict=True)]
        high = [(value if top1.high is None else top1.high) - value for value, (_, top1) in zip(y, known, strict=True)]
        panel.errorbar(
            [x for x, _ in known], y, yerr=[low, high], capsize=2.5, elinewidth=1.0, linewidth=0.8 if is_single else 1.7,
            **{**style, "markersize": 5 if is_single else 7.5},
        )  # fmt: skip
    macs_axis(panel, targets)
    panel.margins(x=0.12)
    percent_axis(panel, "y")
    panel.set_ylabel(f"test {task().quality} ({task().unit})")
    named = dict.fromkeys(zip(data["label"], data["route"], strict=True))
    single = [pair for pair in named if is_method(pair[0])]
    shown = named if len(single) <= MOST_NAMED else [pair for pair in named if pair not in single]
    handles = handles_of(shown, linewidth=1.5)
    if len(single) > MOST_NAMED:
        handles.append(Line2D([], [], color=SINGLE, linewidth=0.8, label=f"{len(single)} single pruning methods"))
    legend_below(figure, handles, columns_of(handles))
