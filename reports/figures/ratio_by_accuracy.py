"""The cost ratio at accuracies other than a*: whether the verdict depends on the choice of a*."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import PRUNE, label_text
from accounting.words.quantities import macs_short
from accounting.words.task import task
from reports.answers.study import JudgedStudy, judged
from reports.compare.contenders import Contender
from reports.compare.log_ratio import log_ratio
from reports.compare.reach import Floats
from reports.compare.rule import ALPHA
from reports.data.frames import Frames
from reports.figures._axes import counts_text, legend_below, percent_axis, ratio_axis, tidy
from reports.figures._contenders import columns_of, handles_of, line_style, shown_contenders
from reports.words.colours import INK
from reports.words.wording import number, percent

TITLE = "Cost ratio against the {quality} asked for"
OPTIONAL = True
POINTS_BELOW = 0.08
"""How far below a* the axis begins."""
NUM_LEVELS = 41
MOST_FACTOR = 100.0
"""An interval whose ends differ by more than this factor is not drawn, because it says nothing."""
COLUMNS = [
    "target", "label", "route", "is_headline", "val_top1", "common_val_top1", "ratio", "ratio_low", "ratio_high",
    "num_reached_base", "num_reached", "n",
]  # fmt: skip


def data(frames: Frames) -> pd.DataFrame:
    """Cost relative to pruning's with the 95 % interval, by target, contender and accuracy, and how many reached it."""
    study, margin = judged(frames), frames.info.margin
    rows: list[list[object]] = []
    for target in frames.info.targets:
        compared = study.verdicts.costs.get(target, {})
        base = study.contender(study.contenders.pair[0], target)
        common = next((costs[HEADLINE_POLICY].level for costs in compared.values()), None)
        if base is None or common is None:
            continue
        shown = [one for one in shown_contenders(study, target) if one.label in compared]
        best = max(
            (float(np.nanmax(f)) for one in (base, *shown) if len(f := _finals(study, one, target))), default=common
        )
        levels = np.append(np.linspace(max(0.0, common - POINTS_BELOW), max(best, common), NUM_LEVELS), common)
        below, below_spent = study.contenders.costs_at(base, target, HEADLINE_POLICY, levels, margin)
        for one in shown:
            above, above_spent = study.contenders.costs_at(one, target, HEADLINE_POLICY, levels, margin)
            for place in np.argsort(levels, kind="stable"):
                ratio = log_ratio(above[:, place], above_spent, below[:, place], below_spent)
                asked = float(levels[place])
                judged_at = compared[one.label][HEADLINE_POLICY].cost_ratio
                bounds = (judged_at.low, judged_at.high) if asked == common else ratio.interval(ALPHA) or (None, None)
                reached = [int(np.isfinite(costs[:, place]).sum()) for costs in (below, above)]
                value = None if ratio.mean is None or 0 in reached else math.exp(min(ratio.mean, 700.0))
                rows.append([target, one.label, one.route, one.label == study.challenger, asked, common,
                             value, *bounds, *reached, ratio.n])  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"ratio": float, "ratio_low": float, "ratio_high": float}).dropna(subset=["ratio"])


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    return (
        f"Each contender’s cost over pruning’s, all work charged, had another {task().quality} been asked for: "
        "geometric mean over "
        f"replicates ({counts_text(data['n'])}); above 1 pruning is cheaper. Band: the headline’s 95 % interval at "
        f"{task().a_quality} that is fixed, not corrected for the many of them. The vertical line is a*, and "
        "the bar on it the "
        "interval that the verdict is read from: a* comes from the replicates, which makes it wider. Dashed: one of the "
        f"two did not have that {task().quality} in every replicate, and what it had spent there is a lower bound."
    )


def alternative(data: pd.DataFrame) -> str:
    """The headline's ratio at a* and a few points below."""
    parts = []
    for target, rows in data[data["is_headline"]].groupby("target"):
        common = float(rows["common_val_top1"].iloc[0])
        at = [rows.iloc[(rows["val_top1"] - (common - less)).abs().argmin()] for less in (0.0, 0.02, 0.04)]
        said = ", ".join(f"{number(row['ratio'])} at {percent(row['val_top1'])}" for row in at)
        parts.append(
            f"{label_text(str(rows['label'].iloc[0]))} over pruning at {macs_short(int(str(target)))} MACs: {said}"
        )
    return f"{'; '.join(parts)}." if parts else "No ratio of the headline."


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A panel per target."""
    targets = list(data["target"].unique())
    figure.set_size_inches(max(6.4, 2.7 * len(targets)), 3.5)
    panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    for column, (panel, target) in enumerate(zip(panels, targets, strict=True)):
        tidy(panel)
        mine = data[data["target"] == target]
        panel.axhline(1.0, color=INK, linewidth=1.1)
        panel.axvline(100 * mine["common_val_top1"].iloc[0], color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
        for (label, route), rows in mine.groupby(["label", "route"]):
            _draw_contender(panel, rows, str(label), str(route))
        panel.set_title(f"≤ {macs_short(target)} MACs", fontsize=10)
        panel.set_xlabel(f"validation {task().quality}\nasked for ({task().unit})")
        panel.set_ylabel(f"cost / cost of {label_text(PRUNE)}" if column == 0 else "")
        percent_axis(panel, "x")
    ratio_axis(panels[0], "y", data["ratio"])
    handles = handles_of(zip(data["label"], data["route"], strict=True), linewidth=1.8)
    legend_below(figure, handles, columns_of(handles))


def _draw_contender(panel: Axes, rows: pd.DataFrame, label: str, route: str) -> None:
    style = line_style(label, route)
    colour, is_headline = style["color"], bool(rows["is_headline"].iloc[0])
    whole = rows[(rows["num_reached"] == rows["n"]) & (rows["num_reached_base"] == rows["n"])]
    width = 2.2 if is_headline else 1.3
    panel.plot(100 * rows["val_top1"], rows["ratio"], color=colour, linewidth=0.7 * width, linestyle=(0, (3, 1.5)))
    panel.plot(100 * whole["val_top1"], whole["ratio"], color=colour, linewidth=width)
    at = rows[rows["val_top1"] == rows["common_val_top1"]].head(1)
    narrow = rows["ratio_high"] <= MOST_FACTOR * rows["ratio_low"]
    band = rows[narrow & (rows["val_top1"] != rows["common_val_top1"])]
    if is_headline:
        bar = at[narrow.loc[at.index]]
        panel.vlines(100 * bar["val_top1"], bar["ratio_low"], bar["ratio_high"], color=colour, linewidth=1.6)
        panel.fill_between(
            100 * band["val_top1"], band["ratio_low"], band["ratio_high"], color=colour, alpha=0.16, linewidth=0
        )
    panel.plot(100 * at["val_top1"], at["ratio"], linewidth=0, **style)


def _finals(study: JudgedStudy, one: Contender, target: int) -> Floats:
    found = study.contenders.entered(one, target)
    return np.asarray(found[~np.isnan(found)], dtype=np.float64)
