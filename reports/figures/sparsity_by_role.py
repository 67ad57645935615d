"""From which roles of layers pruning removes weights, and how the remaining MACs are divided among the roles."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from accounting.words.methods import ONE_SHOT, parse_method
from accounting.words.names import PRUNE
from accounting.words.quantities import macs_short
from reports.data.frames import Frames
from reports.figures._axes import WIDE_IN, legend_below, replicates_text, tidy
from reports.measure.pruned_layers import by_role, method_rank, pruned_layers
from reports.statistics import mean_interval
from reports.words.colours import INK, criterion_colour, role_colour, role_rank
from reports.words.wording import percent_interval, role_text

TITLE = "Sparsity by role"
OPTIONAL = True
MOST_METHODS = 7
"""Most methods shown, one bar each per role; further ones are in the table and in the figure of the layers."""
DENSE = "dense parent"
COLUMNS = ["target", "method", "replicate", "role", "sparsity", "share_before", "share_after"]


def data(frames: Frames) -> pd.DataFrame:
    """One row per target, one-shot method of the prune route, replicate and role; global scopes first."""
    layers = pruned_layers(frames)
    layers = layers[layers["route"] == PRUNE]
    methods = sorted(
        (name for name in set(layers["method"]) if parse_method(name).schedule == ONE_SHOT), key=method_rank
    )
    shown = layers[layers["method"].isin(methods[:MOST_METHODS])]
    return by_role(shown)[COLUMNS].reset_index(drop=True) if len(shown) else pd.DataFrame(columns=COLUMNS)


def caption(data: pd.DataFrame) -> str:
    """How to read it, and what became of the squeeze-excite layers."""
    text = (
        "Left: share of the weights of each role that one-shot pruning set to zero; mean and 95 % t-interval "
        f"({replicates_text(data, ['target', 'method'])} per bar). Plain: one threshold for all layers (global scope); "
        "striped: other scopes. Right: shares of the roles in the MACs, of the dense parent and of what each method "
        "left. Methods that remove channels or blocks leave no zeros and are not shown."
    )
    of_se = data[(data["role"] == "se") & data["method"].str.startswith("global")]
    parts = [
        f"{parse_method(str(method)).text} at ≤ {macs_short(int(str(target)))} MACs: "
        + percent_interval(mean_interval([float(value) for value in group["sparsity"]], at_least=0.0, at_most=1.0))
        for (target, method), group in of_se.groupby(["target", "method"])
        if method == min(of_se["method"], key=method_rank)
    ]
    return f"{text} Sparsity of the squeeze-excite layers, {'; '.join(parts)}." if parts else text


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A row per target: bars of sparsity by role, and stacked shares of MACs by method."""
    targets = sorted(data["target"].unique())
    methods = sorted(data["method"].unique(), key=method_rank)
    roles = sorted(data["role"].unique(), key=role_rank)
    figure.set_size_inches(8.6, 0.9 + len(targets) * max(1.9, 0.5 + 0.24 * (len(methods) + 1)))
    panels = figure.subplots(len(targets), 2, width_ratios=[1.7, 1], sharex="col", squeeze=False)
    for (left, right), target in zip(panels, targets, strict=True):
        of_target = data[data["target"] == target]
        _draw_sparsity(left, of_target, methods, roles)
        _draw_shares(right, of_target, methods, roles)
        left.set_title(f"≤ {macs_short(target)} MACs", fontsize=10, loc="left")
        left.set_xticks(range(len(roles)), [role_text(role) for role in roles])
        if figure.get_size_inches()[0] < WIDE_IN:
            left.tick_params(axis="x", labelrotation=40)
    panels[-1][1].set_xlabel("share of the MACs (%)")
    handles = [
        Patch(facecolor=_colour(name), edgecolor="white", hatch=_hatch(name), label=parse_method(name).text)
        for name in methods
    ]
    handles += [Patch(facecolor=role_colour(role), label=f"MACs of {role_text(role)}") for role in roles]
    legend_below(figure, handles, 5)


def _draw_sparsity(panel: Axes, rows: pd.DataFrame, methods: list[str], roles: list[str]) -> None:
    tidy(panel)
    panel.grid(axis="x", visible=False)
    width = 0.84 / len(methods)
    for (method, role), group in rows.groupby(["method", "role"]):
        estimate = mean_interval([100 * float(value) for value in group["sparsity"]], at_least=0.0, at_most=100.0)
        x = roles.index(str(role)) + (methods.index(str(method)) - (len(methods) - 1) / 2) * width
        panel.bar(x, estimate.value or 0.0, width, color=_colour(str(method)), edgecolor="white", linewidth=0.3,
                  hatch=_hatch(str(method)))  # fmt: skip
        if estimate.low is not None and estimate.high is not None:
            panel.vlines(x, estimate.low, estimate.high, color=INK, linewidth=0.8)
    panel.set_ylim(0, 104)
    panel.set_ylabel("weights at zero (%)")


def _draw_shares(panel: Axes, rows: pd.DataFrame, methods: list[str], roles: list[str]) -> None:
    tidy(panel)
    panel.grid(axis="y", visible=False)
    bars = {DENSE: rows.groupby("role")["share_before"].mean()}
    bars |= {name: rows[rows["method"] == name].groupby("role")["share_after"].mean() for name in methods}
    for position, shares in enumerate(bars.values()):
        left = 0.0
        for role in roles:
            share = 100 * float(shares.get(role, 0.0))
            panel.barh(position, share, 0.72, left=left, color=role_colour(role), edgecolor="white", linewidth=0.3)
            left += share
    panel.set_yticks(range(len(bars)), [DENSE, *(parse_method(name).text for name in methods)], fontsize=8)
    panel.invert_yaxis()
    panel.set_xlim(0, 100)


def _colour(name: str) -> str:
    return criterion_colour(parse_method(name).criterion)


def _hatch(name: str) -> str:
    return "" if parse_method(name).scope == "global" else "////"
