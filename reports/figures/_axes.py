"""What the figures share: plain axes, percent ticks, a legend below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from accounting.words.names import unit_text
from accounting.words.quantities import macs_short
from reports.words.colours import GRID, INK

PERCENT_MARGIN = 2.0
"""Room for marks at 0 and 100 %."""


def tidy(axes: Axes) -> None:
    """No box, light grid behind the data, dark text."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#888888")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)


def macs_axis(axes: Axes, ticks: Sequence[int]) -> None:
    """A logarithmic x axis in MACs that is labelled at the targets."""
    axes.set_xscale("log")
    axes.set_xticks(list(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda macs, _: macs_short(macs)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("MACs of the delivered network (log scale)")


def percent_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """An axis of percentages, once everything is drawn: it ends near 0 and 100, and no tick beyond them has a number."""
    low, high = getattr(axes, f"get_{which}lim")()
    getattr(axes, f"set_{which}lim")(max(low, -PERCENT_MARGIN), min(high, 100 + PERCENT_MARGIN))
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if 0 <= value <= 100 else ""))


def legend_below(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """One legend for all panels, outside and below them."""
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def unit_of(data: pd.DataFrame) -> str:
    """The unit of device-hours of a figure's data, in words."""
    return unit_text(str(data["unit"].iloc[0]))


def replicates_text(data: pd.DataFrame, keys: list[str]) -> str:
    """``n = 3 replicates``, or the range where groups (by ``keys``) differ."""
    counts = data.groupby(keys, observed=True)["replicate"].nunique()
    low, high = int(counts.min()), int(counts.max())
    if low == high:
        return f"n = {low} replicate{'s' if low != 1 else ''}"
    return f"n = {low} to {high} replicates"
