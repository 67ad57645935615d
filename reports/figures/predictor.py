"""How well a search's predictor did: predicted against measured validation accuracy of its candidates."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from accounting.words.names import label_rank, label_text
from accounting.words.task import task
from reports.data.frames import Frames
from reports.figures._axes import PERCENT_MARGIN, legend_below, percent_axis, tidy
from reports.measure.predictions import coverage, predictions, rank_correlation
from reports.words.colours import label_marker, route_colour
from reports.words.wording import number_estimate, percent_interval

TITLE = "Predicted and measured {quality}"
OPTIONAL = True


def data(frames: Frames) -> pd.DataFrame:
    """One row per trained search candidate whose accuracy was predicted before its training."""
    return predictions(frames)


def caption(data: pd.DataFrame) -> str:
    """How to read it, with the rank correlation and the coverage of the predicted intervals."""
    searches = data.groupby(["route", "replicate"]).ngroups
    text = (
        f"Validation {task().quality} of {len(data)} search candidates after their short training, and what the "
        "predictor said of "
        f"each before it was trained, ± 1 predicted standard deviation ({searches} searches, one per route and replicate). "
        "Dashed: equality. Over the searches, with 95 % t-intervals: Kendall's tau "
        f"{number_estimate(rank_correlation(data))}; share of candidates whose measured value is in the predicted 95 % "
        f"interval {percent_interval(coverage(data))}."
    )
    tau = rank_correlation(data)
    if tau.low is not None and tau.low <= 0:
        text += (
            " Its interval holds 0: this study does not show that the predictor ranked the candidates that it proposed."
        )
    stopped = int(data["is_stopped"].sum())
    return f"{text} Hollow: {stopped} candidates that the search stopped early." if stopped else text


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """One square panel, a mark per candidate."""
    figure.set_size_inches(7.2, 4.6)
    panel = figure.subplots()
    tidy(panel)
    handles = []
    for route in sorted(data["route"].unique(), key=label_rank):
        colour, marker = route_colour(route), label_marker(route)
        for is_stopped, rows in data[data["route"] == route].groupby("is_stopped"):
            panel.errorbar(
                100 * rows["measured"], 100 * rows["predicted"], yerr=100 * rows["sd"], fmt=marker, color=colour,
                markersize=4.5, markerfacecolor="white" if is_stopped else colour, elinewidth=0.7, alpha=0.75,
            )  # fmt: skip
        handles.append(Line2D([], [], color=colour, marker=marker, linewidth=0, label=label_text(route)))
    low = 100 * min(data["measured"].min(), (data["predicted"] - data["sd"]).min())
    high = 100 * max(data["measured"].max(), (data["predicted"] + data["sd"]).max())
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    panel.plot(limits, limits, color="#777777", linestyle=(0, (4, 2)), linewidth=1)
    limits = (max(limits[0], -PERCENT_MARGIN), min(limits[1], 100 + PERCENT_MARGIN))
    panel.set(xlim=limits, ylim=limits, aspect="equal")
    percent_axis(panel, "x")
    percent_axis(panel, "y")
    panel.set_xlabel(f"measured val. {task().quality} ({task().unit})")
    panel.set_ylabel(f"predicted val. {task().quality} ({task().unit})")
    legend_below(figure, handles, len(handles))
