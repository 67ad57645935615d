"""Measured latency against the remaining MACs: whether fewer MACs are also faster."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from accounting.words.names import is_method, label_rank, label_text, method_of
from reports.answers.refusal import parent_macs
from reports.data.frames import Frames
from reports.figures._axes import legend_below, replicates_text, tidy
from reports.measure.deployment import CONDITIONS, deployments
from reports.words.colours import HOLLOW_LABELS, label_marker, route_colour
from reports.words.wording import number

TITLE = "Latency against MACs"
OPTIONAL = True
COLUMNS = ["target", "label", "route", "replicate", "macs_ratio", "latency_ms", "latency_p10_ms", "latency_p90_ms"]
SMALLER, MASKED = "single methods: smaller network", "single methods: zeros"
SHIFT = 0.3
"""Shift between kinds of networks, in percent of the parent's MACs; without it, they would overlap at the targets."""


def data(frames: Frames) -> pd.DataFrame:
    """One row per delivered network with a latency; ``macs_ratio`` is its share of the dense parent's MACs."""
    table, parent = deployments(frames), parent_macs(frames)
    if table.empty or parent is None:
        return pd.DataFrame(columns=[*COLUMNS, *CONDITIONS])
    known = table.dropna(subset=["latency_ms", "macs"])
    return known.assign(macs_ratio=known["macs"].astype(float) / parent)[[*COLUMNS, *CONDITIONS]].reset_index(drop=True)


def caption(data: pd.DataFrame) -> str:
    """How to read it, and the conditions under which the times were measured."""
    settings = data[list(CONDITIONS)].drop_duplicates().itertuples(index=False)
    conditions = "; ".join(
        f"batch {s.batch_size:g}, {s.threads:g} threads, {s.device}, {s.runtime}".replace(" 1 threads", " 1 thread")
        for s in settings
    )
    fastest, slowest = data["latency_ms"].min(), data["latency_ms"].max()
    return (
        f"Median latency of one forward pass of each delivered network ({conditions}) against its MACs as a share of the "
        f"dense parent's, from {number(fastest)} to {number(slowest)} ms. Bars: 10th to 90th percentile of the passes; "
        f"{replicates_text(data, ['target', 'label'])} per target and kind of network. Zeros count as saved MACs, but a "
        "dense kernel multiplies them all the same. Kinds of networks are set a little apart sideways."
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """One panel, a mark per network; kinds with the same MACs are drawn side by side."""
    figure.set_size_inches(7.6, 4.8)
    panel = figure.subplots()
    tidy(panel)
    labels = sorted(data["label"].unique(), key=lambda label: (not is_method(label), label_rank(label)))
    names = list(dict.fromkeys(_appearance(label)[0] for label in labels))
    handles = {}
    for label in labels:
        rows = data[data["label"] == label]
        name, marker, is_filled = _appearance(label)
        colour = route_colour(str(rows["route"].iloc[0]))
        low, high = rows["latency_ms"] - rows["latency_p10_ms"], rows["latency_p90_ms"] - rows["latency_ms"]
        style: dict[str, Any] = {"marker": marker, "color": colour, "markersize": 5}
        style |= {"markerfacecolor": colour if is_filled else "white"}
        panel.errorbar(
            100 * rows["macs_ratio"] + SHIFT * (names.index(name) - (len(names) - 1) / 2), rows["latency_ms"],
            yerr=[low.fillna(0.0), high.fillna(0.0)], linewidth=0, elinewidth=0.8, alpha=0.8, **style,
        )  # fmt: skip
        handles[name] = Line2D([], [], linewidth=0, label=name, **style)
    panel.set_xlim(0, 100 * max(1.0, float(data["macs_ratio"].max())) + SHIFT * len(names))
    panel.set_ylim(bottom=0)
    panel.set_xlabel("MACs, share of the dense parent's (%)")
    panel.set_ylabel("median latency (ms)")
    legend_below(figure, list(handles.values()), 3)


def _appearance(label: str) -> tuple[str, str, bool]:
    """(name in the legend, marker, whether filled); single methods differ only by the kind of network they leave."""
    method = method_of(label)
    if method is not None:
        return (SMALLER, "d", False) if method.is_structured else (MASKED, "d", True)
    return label_text(label), label_marker(label), label not in HOLLOW_LABELS
