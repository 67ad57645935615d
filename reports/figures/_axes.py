"""Parts that the figures share: plain axes, percent ticks, a legend below the panels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from accounting.words.names import unit_text
from accounting.words.quantities import macs_short
from reports.words.colours import GRID, INK

LETTERS_PER_IN, KEY_LETTERS, LINE_IN = 13.5, 6, 0.19
"""Sizes in a legend: letters per inch, width of a key in letters, and height of a line in inches."""
PERCENT_MARGIN = 2.0
"""Margin for marks at 0 and 100 %, in percentage points."""
WIDE_IN = 6.0
"""From this width on, a figure is for a desktop screen; below it, for a phone."""
MOST_BEYOND = 30.0
"""An interval's bound gets room on an axis of ratios if it is at most this many times beyond all ratios."""


def tidy(axes: Axes) -> None:
    """Style axes: no box, a light grid behind the data, dark text."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#888888")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)


def macs_axis(axes: Axes, ticks: Sequence[int]) -> None:
    """Make the x axis logarithmic, in MACs, and label it at the targets."""
    axes.set_xscale("log")
    axes.set_xticks(list(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda macs, _: macs_short(macs)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("MACs of the delivered network (log scale)")


def percent_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis one of percentages, after drawing: it ends near 0 and 100, and ticks beyond them have no number."""
    low, high = getattr(axes, f"get_{which}lim")()
    getattr(axes, f"set_{which}lim")(max(low, -PERCENT_MARGIN), min(high, 100 + PERCENT_MARGIN))
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if 0 <= value <= 100 else ""))


def ratio_limits(ratios: Iterable[float], bounds: Iterable[float] = ()) -> tuple[float, float]:
    """The ends of an axis of ratios: it contains 1, all ratios, and the ``bounds`` of their intervals.

    A bound that is more than ``MOST_BEYOND`` times beyond all ratios is ignored, or else the rest would look flat.
    """
    logs = [0.0, *(math.log(ratio) for ratio in ratios if ratio > 0)]
    low, high, far = min(logs), max(logs), math.log(MOST_BEYOND)
    held = [math.log(bound) for bound in bounds if 0 < bound < math.inf]
    low, high = min([low, *(max(one, low - far) for one in held)]), max([high, *(min(one, high + far) for one in held)])
    room = max(0.12 * (high - low), math.log(1.15))
    return math.exp(low - room), math.exp(high + room)


def ratio_axis(
    axes: Axes, which: Literal["x", "y"], ratios: Iterable[float], bounds: Iterable[float] = ()
) -> tuple[float, float]:
    """Make an axis one of ratios, logarithmic with plain numbers; return its ends, those of :func:`ratio_limits`."""
    low, high = ratio_limits(ratios, bounds)
    span = math.log(high / low)
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    axis = axes.yaxis if which == "y" else axes.xaxis
    subs = (1.0, 2.0, 5.0) if span > math.log(8) else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs if span < math.log(300) else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    return low, high


def counts_text(counts: pd.Series) -> str:
    """``n = 3 replicates``, or the range of a column of counts."""
    low, high = int(counts.min()), int(counts.max())
    return f"n = {low} replicate{'s' if low != 1 else ''}" if low == high else f"n = {low} to {high} replicates"


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """Add one legend for all panels, below them, in at most ``columns`` columns and only as many as fit.

    If it takes more than two lines, the figure is made taller by the rest.
    """
    columns = _fitting_columns([len(str(handle.get_label())) for handle in handles], columns, figure)
    lines = math.ceil(len(handles) / max(columns, 1))
    if isinstance(figure, Figure) and lines > 2:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + LINE_IN * (lines - 2))
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def unit_of(data: pd.DataFrame) -> str:
    """The unit of device-hours of a figure's data, in words."""
    return unit_text(str(data["unit"].iloc[0]))


def _fitting_columns(lengths: Sequence[int], most: int, figure: Figure) -> int:
    """The largest number of columns that fits the figure's width.

    Matplotlib fills columns from top to bottom, the first ones with one more; each is as wide as its longest name.
    """
    room = LETTERS_PER_IN * figure.bbox.width / figure.dpi
    for columns in range(max(1, min(most, len(lengths))), 1, -1):
        short, longer = divmod(len(lengths), columns)
        ends = list(itertools.accumulate(short + (place < longer) for place in range(columns)))
        widest = [max(lengths[begin:end]) + KEY_LETTERS for begin, end in zip([0, *ends], ends, strict=False)]
        if sum(widest) <= room:
            return columns
    return 1


def replicates_text(data: pd.DataFrame, keys: list[str]) -> str:
    """``n = 3 replicates``, or the range if groups (by ``keys``) differ."""
    counts = data.groupby(keys, observed=True)["replicate"].nunique()
    low, high = int(counts.min()), int(counts.max())
    if low == high:
        return f"n = {low} replicate{'s' if low != 1 else ''}"
    return f"n = {low} to {high} replicates"
