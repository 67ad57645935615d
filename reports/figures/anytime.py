"""Accuracy against cost: the best deliverable network so far, for each route that is compared and each target."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import COMPARED, label_text
from accounting.words.quantities import macs_short
from reports.compare.anytime import anytime_curve
from reports.data.frames import Frames
from reports.figures._axes import legend_below, percent_axis, replicates_text, tidy, unit_of
from reports.words.colours import route_colour
from reports.words.wording import POLICY_SHORT

TITLE = "Accuracy against cost"
POINTS_SHOWN = 20
"""The axis begins this many points of accuracy below the lowest curve's end: what matters is the last few."""
SHOWN_POLICIES = (HEADLINE_POLICY, "free")
COLUMNS = ["target", "policy", "route", "replicate", "delivered", "cost_h", "val_top1", "unit"]


def data(frames: Frames) -> pd.DataFrame:
    """The steps of every anytime curve; the last row of a curve is where the route's cost ended."""
    delivered = {(n.label, n.target, n.replicate) for n in frames.delivered}
    rows: list[list[object]] = []
    for target in frames.info.targets:
        for policy in SHOWN_POLICIES:
            for route in (*COMPARED, *frames.info.challengers):
                for replicate in sorted({a.replicate for a in frames.view.attempts if a.route == route}):
                    curve = anytime_curve(
                        frames.view,
                        route=route,
                        replicate=replicate,
                        target=target,
                        policy=policy,
                        num_targets=frames.info.num_targets,
                    )
                    steps = [*zip(curve.cost_h, curve.val_top1, strict=True)]
                    ends = [(curve.total_h, curve.val_top1[-1])] if steps else []
                    curve_of = [target, policy, route, replicate, (route, target, replicate) in delivered]
                    rows += [[*curve_of, *step, frames.unit] for step in [*steps, *ends]]
    return pd.DataFrame(rows, columns=COLUMNS)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    return (
        "Best validation accuracy of any network within the target's MACs, against what the route had been charged "
        f"so far ({unit_of(data)}; {replicates_text(data, ['target', 'route'])}). Thin: single replicates; thick: their "
        "mean cost to reach each accuracy that all of them reached (solid: all charged; dashed: the parent's "
        "pretraining free); dot: mean best accuracy at the mean total cost, once "
        f"all have delivered. The best epoch counts, the last one is delivered. The axis begins {POINTS_SHOWN} points below "
        "the lowest curve's end."
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A panel per target (column) and charge policy (row)."""
    targets, policies = list(data["target"].unique()), list(data["policy"].unique())
    figure.set_size_inches(max(6.4, 3.9 * len(targets)), 2.9 * len(policies) + 0.6)
    panels = figure.subplots(len(policies), len(targets), sharey=True, sharex="col", squeeze=False)
    for row, policy in enumerate(policies):
        for column, target in enumerate(targets):
            panel = panels[row][column]
            tidy(panel)
            _draw_panel(panel, data[(data["target"] == target) & (data["policy"] == policy)], str(policy))
            panel.set_title(f"≤ {macs_short(target)} MACs, {POLICY_SHORT[policy]}", fontsize=10)
            if column == 0:
                panel.set_ylabel("best val. accuracy (%)")
            if row == len(policies) - 1:
                panel.set_xlabel(f"cost so far ({unit_of(data)})")
    lowest = float(data.groupby(["target", "policy", "route", "replicate"])["val_top1"].max().min())
    panels[0][0].set_ylim(bottom=max(0.0, 100 * lowest - POINTS_SHOWN))
    percent_axis(panels[0][0], "y")
    routes = list(data["route"].unique())
    handles = [Line2D([], [], color=route_colour(r), linewidth=2.5, label=label_text(r)) for r in routes]
    legend_below(figure, handles, len(handles))


def _draw_panel(panel: Axes, rows: pd.DataFrame, policy: str) -> None:
    style = "-" if policy == HEADLINE_POLICY else (0, (4, 1.5))
    for route, of_route in rows.groupby("route"):
        colour = route_colour(str(route))
        for _, curve in of_route.groupby("replicate"):
            panel.step(curve["cost_h"], 100 * curve["val_top1"], where="post", color=colour, linewidth=0.9, alpha=0.45)
        mean = _mean_cost_to_reach(of_route)
        panel.step(mean, 100 * mean.index, where="post", color=colour, linewidth=2.5, linestyle=style)
        if not of_route["delivered"].all():
            continue
        last = of_route.groupby("replicate")[["cost_h", "val_top1"]].max().mean()
        panel.plot(last["cost_h"], 100 * last["val_top1"], "o", color=colour, markersize=6)
    panel.set_xlim(left=0)
    panel.xaxis.set_major_locator(MaxNLocator(5))


def _mean_cost_to_reach(of_route: pd.DataFrame) -> pd.Series:
    """Mean over replicates of the cost at which each accuracy was first reached, where every replicate reached it."""
    curves = [curve.sort_values("cost_h") for _, curve in of_route.groupby("replicate")]
    highest = min(curve["val_top1"].max() for curve in curves)
    levels = sorted({level for curve in curves for level in curve["val_top1"] if level <= highest})
    costs = [sum(curve.loc[curve["val_top1"] >= level, "cost_h"].iloc[0] for curve in curves) for level in levels]
    return pd.Series([cost / len(curves) for cost in costs], index=levels)
