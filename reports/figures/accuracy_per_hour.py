"""Test accuracy per device-hour, with the accuracy itself, by kind of delivered network and target."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import is_method, label_rank, label_text
from accounting.words.quantities import macs_short
from accounting.words.task import task
from reports.data.frames import Frames
from reports.figures._axes import replicates_text, tidy, unit_of
from reports.figures._contenders import line_style, plain_log_ticks
from reports.statistics import Estimate, ratio_interval
from reports.words.wording import number, percent

TITLE = "{Quality} per device-hour"
COLUMNS = ["target", "label", "route", "replicate", "policy", "test_top1", "test_top1_per_h", "unit"]
SHOWN_POLICIES = (HEADLINE_POLICY, "free")


def data(frames: Frames) -> pd.DataFrame:
    """One row per network of a route or control: test top-1 per device-hour charged.

    There is a second row, with the parent free, if that changes the cost.
    """
    rows = [
        [n.target, n.label, n.route, n.replicate, policy, n.test_top1, n.top1_per_hour(policy), frames.unit]
        for n in frames.delivered
        if not is_method(n.label)
        for policy in SHOWN_POLICIES
        if policy == HEADLINE_POLICY or n.cost_h[policy] != n.cost_h[HEADLINE_POLICY]
    ]
    return pd.DataFrame(rows, columns=COLUMNS).dropna(subset=["test_top1_per_h"]).reset_index(drop=True)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    return (
        f"Percentage points of test {task().quality} per {unit_of(data)[:-1]} (log scale); further right is "
        "cheaper. Behind each "
        f"mark is the {task().quality} that was bought: a low one is easily cheap. Filled: all work charged; small: the "
        "parent’s pretraining free, where a network has a parent. Geometric mean with 95 % t-interval, "
        f"{replicates_text(data, ['target', 'label'])} per mark. A control is charged its own training only."
    )


def alternative(data: pd.DataFrame) -> str:
    """The accuracy per hour of each kind of network in words."""
    main = data[data["policy"] == HEADLINE_POLICY]
    parts = [
        f"{label_text(str(label))} at {macs_short(int(str(target)))} MACs "
        f"{number(_per_hour(rows).value)} for {percent(float(rows['test_top1'].mean()))}"
        for (target, label), rows in main.groupby(["target", "label"])
    ]
    return f"Percentage points of test {task().quality} per {unit_of(data)[:-1]}: {'; '.join(parts)}."


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A panel per target, a row per kind of network."""
    targets = sorted(data["target"].unique())
    labels = sorted(data["label"].unique(), key=label_rank, reverse=True)
    figure.set_size_inches(2.0 + 2.1 * len(targets), 1.3 + 0.36 * len(labels))
    panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    values = [value for value in 100 * data["test_top1_per_h"] if value > 0]
    for panel, target in zip(panels, targets, strict=True):
        tidy(panel)
        for (label, policy), rows in data[data["target"] == target].groupby(["label", "policy"]):
            _draw_mark(panel, labels.index(label), rows, str(label), is_main=policy == HEADLINE_POLICY)
        panel.set_title(f"≤ {macs_short(target)} MACs", fontsize=10)
        panel.set_xlabel(f"test {task().quality} ({task().unit})\nper {unit_of(data)[:-1]}")
        panel.set_xscale("log")
        panel.set_xlim(min(values) / 1.5, max(values) * 3.2)
        plain_log_ticks(panel, "x", 5 * max(values) / min(values))
        panel.set_yticks(range(len(labels)), [label_text(str(label)) for label in labels])
        panel.set_ylim(-0.6, len(labels) - 0.4)


def _draw_mark(panel: Axes, place: int, rows: pd.DataFrame, label: str, *, is_main: bool) -> None:
    style = line_style(label, str(rows["route"].iloc[0]))
    found = _per_hour(rows)
    value = found.value or 0.0
    y = place if is_main else place - 0.28
    if found.low is not None and found.high is not None:
        panel.hlines(y, found.low, found.high, color=style["color"], linewidth=1.4 if is_main else 0.9)
    panel.plot(value, y, linewidth=0, **{**style, "markersize": 7 if is_main else 4.5})
    if is_main:
        end = value if found.high is None else found.high
        panel.annotate(f"{100 * rows['test_top1'].mean():.1f} %", (end, y), xytext=(7, 0), textcoords="offset points",
                       va="center", fontsize=8)  # fmt: skip


def _per_hour(rows: pd.DataFrame) -> Estimate:
    values = dict(enumerate(100 * float(value) for value in rows["test_top1_per_h"]))
    return ratio_interval(values, dict.fromkeys(values, 1.0))
