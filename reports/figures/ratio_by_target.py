"""Cost ratios by target, and where they cross 1: the size from which another contender is cheaper."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import PRUNE, label_text
from accounting.words.quantities import macs_short
from reports.answers.study import judged
from reports.compare.crossover import crossovers
from reports.data.frames import Frames
from reports.figures._axes import counts_text, legend_below, macs_axis, ratio_axis, ratio_limits, tidy
from reports.figures._contenders import columns_of, handles_of, line_style
from reports.words.colours import INK
from reports.words.wording import number

TITLE = "Cost ratio along the targets"
OPTIONAL = True
SPREAD = 0.018
"""Share of a logarithmic step by which contenders are shifted sideways, so that their intervals can be told apart."""
COLUMNS = ["target", "label", "route", "is_headline", "ratio", "ratio_low", "ratio_high", "interval_alpha", "n"]


def data(frames: Frames) -> pd.DataFrame:
    """One row per contender and target at which its cost is comparable with pruning's; none with a single target."""
    study = judged(frames)
    rows: list[list[object]] = []
    for target, compared in study.verdicts.costs.items():
        for label, costs in compared.items():
            main, one = costs[HEADLINE_POLICY], study.contender(label, target)
            if main.guarded is None and main.cost_ratio.value is not None and one is not None:
                ratio = main.cost_ratio
                rows.append([target, label, one.route, label == study.challenger, ratio.value, ratio.low, ratio.high,
                             main.alpha, ratio.n])  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table if table["target"].nunique() > 1 else table.iloc[:0]


def caption(data: pd.DataFrame) -> str:
    """How to read it, and where the headline's ratio crosses 1."""
    crossed = [
        f"{label_text(label)} and {label_text(PRUNE)} cost the same at about {macs_short(at)} MACs"
        for label, at in _crossed(data)
    ]
    found = f" On a straight line between targets, {'; '.join(crossed)}." if crossed else " No line crosses 1."
    low, high = ratio_limits(data["ratio"], _bounds(data))
    cut = " An arrow: the interval ends beyond the axis." if any(not low < x < high for x in _bounds(data)) else ""
    return (
        "Each contender’s cost over pruning’s at a*, all work charged; above 1 pruning is cheaper. Bars: intervals, "
        f"corrected for the number of claims, as in the verdict ({counts_text(data['n'])}).{cut} Contenders are set a "
        f"little apart sideways.{found} Nothing was trained between the targets."
    )


def alternative(data: pd.DataFrame) -> str:
    """The headline's ratios in words."""
    rows = data[data["is_headline"]]
    said = ", ".join(f"{number(float(row['ratio']))} at {macs_short(int(row['target']))}" for _, row in rows.iterrows())
    return (
        f"The headline’s ratio by target: {said} MACs." if said else "Ratios of other contenders than the headline’s."
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """One panel, a line per contender."""
    figure.set_size_inches(7.2, 4.2)
    panel = figure.subplots()
    tidy(panel)
    panel.axhline(1.0, color=INK, linewidth=1.1)
    names = list(dict.fromkeys(data["label"]))
    for (label, route), rows in data.groupby(["label", "route"], sort=False):
        style = line_style(str(label), str(route))
        shift = _shift(names, str(label))
        width = 2.2 if rows["is_headline"].all() else 1.2
        known = rows[["ratio_low", "ratio_high"]].notna().all(axis=1)
        low, high = (rows["ratio"] - rows["ratio_low"]), (rows["ratio_high"] - rows["ratio"])
        panel.errorbar(
            rows["target"] * shift, rows["ratio"], yerr=[low.where(known, 0.0), high.where(known, 0.0)],
            linewidth=width, elinewidth=1.1, capsize=2.5, **style,
        )  # fmt: skip
    for label, at in _crossed(data):
        panel.axvline(at, color=line_style(label)["color"], linewidth=1, linestyle=(0, (1, 2)))
        panel.text(at, 0.99, f" {macs_short(at)}", transform=panel.get_xaxis_transform(), va="top", fontsize=8.5)
    macs_axis(panel, sorted(data["target"].unique()))
    panel.set_xlabel("target (MACs, log scale)")
    panel.margins(x=0.1)
    ends = ratio_axis(panel, "y", data["ratio"], _bounds(data))
    for (label, route), rows in data.groupby(["label", "route"], sort=False):
        colour = line_style(str(label), str(route))["color"]
        x = rows["target"] * _shift(names, str(label))
        are_out = (rows["ratio_low"] <= ends[0], rows["ratio_high"] >= ends[1])
        for end, is_out, marker in zip(ends, are_out, "v^", strict=True):
            panel.plot(x[is_out], [end] * int(is_out.sum()), marker, color=colour, markersize=6, clip_on=False)
    panel.set_ylabel(f"cost / cost of {label_text(PRUNE)}")
    handles = handles_of(zip(data["label"], data["route"], strict=True), linewidth=1.6)
    legend_below(figure, handles, columns_of(handles))


def _shift(names: list[str], label: str) -> float:
    return math.exp(SPREAD * (names.index(label) - (len(names) - 1) / 2))


def _bounds(data: pd.DataFrame) -> list[float]:
    """The bounds of all known intervals."""
    return [float(x) for name in ("ratio_low", "ratio_high") for x in data[name].dropna()]


def _crossed(data: pd.DataFrame) -> list[tuple[str, float]]:
    """(label, MACs) where the ratio of the headline's contender crosses 1."""
    rows = data[data["is_headline"]].sort_values("target")
    points = [(int(row["target"]), float(row["ratio"])) for _, row in rows.iterrows()]
    return [(str(rows["label"].iloc[0]), at) for at in crossovers(points)]
