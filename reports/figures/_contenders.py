"""Parts shared by figures of contenders: which are shown, how they look, and their legend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from accounting.words.names import label_rank, label_text, without_method
from reports.answers.study import JudgedStudy
from reports.compare.contenders import Contender
from reports.words.colours import look_of

LOG_FROM = 12.0
"""Ratio of the largest to the smallest value from which an axis of costs is logarithmic."""


def shown_contenders(study: JudgedStudy, target: int) -> list[Contender]:
    """The contenders to show: the headline's pair, the first method of each further route, and the controls."""
    pair, kept = study.contenders.pair, []
    seen: set[str] = set()
    for one in study.contenders.at(target):
        is_first = one.method is None or one.route not in seen
        if one.label in pair or (is_first and not _is_in_pair(one.route, pair)):
            kept.append(one)
        seen.add(one.route)
    return kept


def line_style(label: str, route: str | None = None) -> dict[str, Any]:
    """Keyword arguments for a line in its contender's colour and marker."""
    look = look_of(label, route)
    return {"color": look.colour, "marker": look.marker, "markerfacecolor": look.face, "markersize": 6.5}


def handles_of(labels: Iterable[tuple[str, str]], **style: Any) -> list[Line2D]:
    """Legend entries of contenders, given as (label, route), in the order used everywhere."""
    found = sorted(set(labels), key=lambda pair: label_rank(pair[0]))
    return [Line2D([], [], label=label_text(label), **line_style(label, route), **style) for label, route in found]


def columns_of(handles: Sequence[object]) -> int:
    """The number of columns that keeps a legend short."""
    return min(len(handles), 4 if len(handles) > 5 else 5)


def cost_axis(axes: Axes, values: Iterable[float], which: str = "x") -> None:
    """Make an axis one of costs: logarithmic, over the range of these values with a margin; ticks are plain numbers."""
    known = [value for value in values if value > 0]
    if not known:
        return
    low, high = min(known) / 1.6, max(known) * 1.6
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    plain_log_ticks(axes, which, high / low)


def plain_log_ticks(axes: Axes, which: str, span: float) -> None:
    """Set ticks at 1, 2 and 5 of each decade (over more decades at 1 and 3, or at 1 only), as plain numbers."""
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1.0,) if span > 300 else (1.0, 3.0) if span > 25 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _is_in_pair(route: str, pair: tuple[str, str]) -> bool:
    return any(without_method(label) == route for label in pair)
