"""Accuracy against cost: the best deliverable network so far, for both routes and each target."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.anytime import anytime_curve
from reports.colours import route_colour
from reports.costs import HEADLINE_POLICY
from reports.figures._axes import legend_below, replicates_text, tidy, unit_of
from reports.frames import Frames
from reports.study import COMPARED
from reports.wording import POLICY_TEXT, macs_short

TITLE = "Accuracy against cost"
SHOWN_POLICIES = (HEADLINE_POLICY, "free")
COLUMNS = ["target", "policy", "route", "replicate", "cost_h", "val_top1", "unit"]


def data(frames: Frames) -> pd.DataFrame:
    """The steps of every anytime curve; the last row of a curve is where the route's cost ended."""
    rows: list[list[object]] = []
    for target in frames.info.targets:
        for policy in SHOWN_POLICIES:
            for route in COMPARED:
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
                    rows += [[target, policy, route, replicate, *step, frames.unit] for step in [*steps, *ends]]
    return pd.DataFrame(rows, columns=COLUMNS)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    return (
        "Best validation accuracy of any network within the target's MACs, against what the route had been charged "
        f"so far ({unit_of(data)}). Thin: single replicates; thick: their mean, from where all have a network "
        f"({replicates_text(data, ['target', 'route'])}). Solid: all work charged; dashed: the parent's pretraining free."
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
            panel.set_title(f"≤ {macs_short(target)} MACs, {POLICY_TEXT[policy]}", fontsize=10)
            if column == 0:
                panel.set_ylabel("best val. accuracy (%)")
            if row == len(policies) - 1:
                panel.set_xlabel(f"cost so far ({unit_of(data)})")
    legend_below(figure, [Line2D([], [], color=route_colour(r), linewidth=2.5, label=r) for r in COMPARED], 2)


def _draw_panel(panel: Axes, rows: pd.DataFrame, policy: str) -> None:
    style = "-" if policy == HEADLINE_POLICY else (0, (4, 1.5))
    for route, of_route in rows.groupby("route"):
        colour = route_colour(str(route))
        for _, curve in of_route.groupby("replicate"):
            panel.step(curve["cost_h"], 100 * curve["val_top1"], where="post", color=colour, linewidth=0.9, alpha=0.45)
        mean = _mean_curve(of_route)
        panel.step(mean.index, 100 * mean, where="post", color=colour, linewidth=2.5, linestyle=style)
        panel.plot(mean.index[-1], 100 * mean.iloc[-1], "o", color=colour, markersize=5)
    panel.set_xlim(left=0)


def _mean_curve(of_route: pd.DataFrame) -> pd.Series:
    """Mean over replicates of the best accuracy at each cost, up to the mean of their total costs."""
    wide = of_route.pivot_table(index="cost_h", columns="replicate", values="val_top1", aggfunc="max").ffill().dropna()
    end = max(of_route.groupby("replicate")["cost_h"].max().mean(), wide.index[0])
    mean = wide.mean(axis=1)
    inside = mean[mean.index <= end]
    return pd.concat([inside, pd.Series([inside.iloc[-1]], index=[end])])
