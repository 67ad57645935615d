"""Each contender's cost to reach each accuracy, at each target; where curves cross, another one becomes cheaper."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import label_text
from accounting.words.quantities import macs_short
from accounting.words.task import task
from reports.answers.study import JudgedStudy, judged
from reports.compare.contenders import Contender
from reports.compare.reach import Floats
from reports.data.frames import Frames
from reports.figures._axes import counts_text, legend_below, percent_axis, tidy, unit_of
from reports.figures._contenders import columns_of, cost_axis, handles_of, line_style, shown_contenders
from reports.statistics import Estimate, mean_interval, ratio_interval
from reports.words.colours import INK
from reports.words.wording import POLICY_SHORT, number, percent

TITLE = "Cost to reach each {quality}"
POINTS_SHOWN = 0.12
"""The axis begins this far below the lowest final accuracy, because the last few points are what matters."""
NUM_LEVELS = 49
SHOWN_POLICIES = (HEADLINE_POLICY, "free")
CURVE, COMMON, FINAL = "curve", "common", "final"
"""Kinds of rows: a point on the curve, the point at a*, the end of the curve."""
COLUMNS = [
    "target", "policy", "label", "route", "is_headline", "kind", "val_top1", "val_top1_low", "val_top1_high", "cost_h",
    "cost_low_h", "cost_high_h", "num_reached", "n", "unit",
]  # fmt: skip
MEASURED = COLUMNS[6:12]


def data(frames: Frames) -> pd.DataFrame:
    """Rows of three kinds for each target, policy and contender.

    ``curve``: the cost of reaching ``val_top1``, as the geometric mean over the ``num_reached`` of ``n`` replicates
    that reached it, with its interval if all did. ``common``: the same at a*. ``final``: the mean final accuracy with
    its interval, at the mean of the total charged.
    """
    study = judged(frames)
    rows: list[list[object]] = []
    for target in frames.info.targets:
        shown = shown_contenders(study, target)
        finals = {one.label: _known(study.contenders.entered(one, target)) for one in shown}
        ends = [float(np.median(found)) for found in finals.values() if len(found)]
        if not ends:
            continue
        best = max(float(found.max()) for found in finals.values() if len(found))
        levels = np.linspace(max(0.0, min(ends) - POINTS_SHOWN), best, NUM_LEVELS)
        for policy in SHOWN_POLICIES:
            for one in shown:
                if len(finals[one.label]):
                    rows += _rows(study, one, target, policy, levels, finals[one.label])
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(MEASURED, float))


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    return (
        f"What each contender had been charged ({unit_of(data)}) when a network within the target’s MACs first had "
        f"{task().a_quality} on validation: geometric mean over replicates ({counts_text(data['n'])}); band: "
        "its 95 % interval, of "
        "the headline’s two. Dashed: only some replicates had it, and their mean stands for all. The mark is at a*, the "
        f"{task().quality} at which costs are compared (dotted), with the interval of the cost; the bar at the "
        "upper end is the "
        f"interval of the final {task().quality}, at what everything had cost. The {task().quality} axis begins "
        f"{100 * POINTS_SHOWN:.0f} points below the lowest contender’s end. Single methods after a route’s first have a "
        "figure of their own."
    )


def alternative(data: pd.DataFrame) -> str:
    """The costs at a* in words."""
    common = data[(data["kind"] == COMMON) & (data["policy"] == HEADLINE_POLICY)]
    parts = [
        f"at {macs_short(int(str(target)))} MACs and {percent(of_target['val_top1'].iloc[0])}: "
        + ", ".join(_said(row) for _, row in of_target.iterrows())
        for target, of_target in common.groupby("target")
    ]
    return f"Mean cost in {unit_of(data)}, all work charged, {'; '.join(parts) or f'no {task().quality} is compared'}."


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A panel per target (column) and charge policy (row)."""
    targets, policies = list(data["target"].unique()), list(data["policy"].unique())
    figure.set_size_inches(max(6.4, 2.7 * len(targets)), 2.8 * len(policies) + 0.6)
    panels = figure.subplots(len(policies), len(targets), sharey=True, squeeze=False)
    for row, policy in enumerate(policies):
        for column, target in enumerate(targets):
            panel, mine = panels[row][column], data[(data["target"] == target) & (data["policy"] == policy)]
            tidy(panel)
            for (label, route), rows in mine.groupby(["label", "route"]):
                _draw_contender(panel, rows, str(label), str(route))
                if rows["is_headline"].all():
                    _draw_band(panel, rows, str(label), str(route))
            common = mine[mine["kind"] == COMMON]
            if len(common):
                panel.axhline(
                    100 * common["val_top1"].iloc[0], color=INK, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1
                )
            cost_axis(panel, data["cost_h"].dropna())
            panel.set_title(f"≤ {macs_short(target)} MACs, {POLICY_SHORT[str(policy)]}", fontsize=10)
            panel.set_ylabel(f"validation {task().quality} ({task().unit})" if column == 0 else "")
            panel.set_xlabel(f"cost ({unit_of(data)})" if row == len(policies) - 1 else "")
    percent_axis(panels[0][0], "y")
    handles = handles_of(zip(data["label"], data["route"], strict=True), linewidth=1.8)
    legend_below(figure, handles, columns_of(handles))


def _draw_contender(panel: Axes, rows: pd.DataFrame, label: str, route: str) -> None:
    style = line_style(label, route)
    colour = style["color"]
    curve = rows[(rows["kind"] == CURVE) & (rows["num_reached"] > 0)]
    whole = curve[curve["num_reached"] == curve["n"]]
    panel.plot(curve["cost_h"], 100 * curve["val_top1"], color=colour, linewidth=1.3, linestyle=(0, (3, 1.5)))
    panel.plot(whole["cost_h"], 100 * whole["val_top1"], color=colour, linewidth=1.9)
    for kind in (FINAL, COMMON):
        for _, point in rows[(rows["kind"] == kind) & rows["cost_h"].notna()].iterrows():
            is_final = kind == FINAL
            across = None if is_final else _ends(point["cost_h"], point["cost_low_h"], point["cost_high_h"], 1.0)
            up = _ends(point["val_top1"], point["val_top1_low"], point["val_top1_high"], 100.0) if is_final else None
            marker = "_" if is_final else style["marker"]
            panel.errorbar(
                point["cost_h"], 100 * point["val_top1"], xerr=across, yerr=up, capsize=2.5, elinewidth=1.2, linewidth=0,
                **{**style, "marker": marker},
            )  # fmt: skip


def _draw_band(panel: Axes, rows: pd.DataFrame, label: str, route: str) -> None:
    """Draw the interval of the cost at each accuracy; only for the headline's pair, since more bands would overlap."""
    band = rows[rows["kind"] == CURVE].dropna(subset=["cost_low_h", "cost_high_h"])
    panel.fill_betweenx(
        100 * band["val_top1"], band["cost_low_h"], band["cost_high_h"], color=line_style(label, route)["color"],
        alpha=0.16, linewidth=0,
    )  # fmt: skip


def _said(row: pd.Series) -> str:
    name = label_text(str(row["label"]))
    return f"{name} {number(float(row['cost_h']))}" if row["num_reached"] else f"{name} not reached"


def _ends(value: float, low: float, high: float, scale: float) -> list[list[float]] | None:
    return (
        None if pd.isna(low) or pd.isna(high) else [[scale * max(value - low, 0.0)], [scale * max(high - value, 0.0)]]
    )


def _rows(
    study: JudgedStudy, one: Contender, target: int, policy: str, levels: Floats, finals: Floats
) -> list[list[object]]:
    common = _level(study, target, policy)
    asked = levels if common is None else np.append(levels, common)
    costs, spent = study.contenders.costs_at(one, target, policy, levels)
    if common is not None:
        margin = study.frames.info.margin
        costs = np.hstack([costs, study.contenders.costs_at(one, target, policy, np.array([common]), margin)[0]])
    done = ~np.isnan(spent)
    key = [target, policy, one.label, one.route, one.label in study.contenders.pair]
    rows: list[list[object]] = []
    for place, level in enumerate(asked):
        of_level = costs[done, place]
        reached = of_level[np.isfinite(of_level)]
        mean = _geometric(reached)
        ends = [mean.low, mean.high] if len(reached) == done.sum() else [None, None]
        kind = CURVE if place < len(levels) else COMMON
        rows.append(
            [*key, kind, float(level), None, None, mean.value, *ends, len(reached), int(done.sum()), study.frames.unit]
        )
    final, total = mean_interval(list(finals), at_least=0.0, at_most=1.0), mean_interval(list(spent[done]))
    rows.append(
        [
            *key,
            FINAL,
            final.value,
            final.low,
            final.high,
            total.value,
            None,
            None,
            len(finals),
            int(done.sum()),
            study.frames.unit,
        ]
    )
    return rows


def _level(study: JudgedStudy, target: int, policy: str) -> float | None:
    """The accuracy a* of the target."""
    found = study.verdicts.costs.get(target, {}).values()
    return next((costs[policy].level for costs in found if policy in costs), None)


def _geometric(costs: Floats) -> Estimate:
    return ratio_interval(dict(enumerate(map(float, costs))), dict.fromkeys(range(len(costs)), 1.0))


def _known(finals: Floats) -> Floats:
    return np.asarray(finals[~np.isnan(finals)], dtype=np.float64)
