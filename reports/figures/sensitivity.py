"""The effect of sparsity on the trained parent without fine-tuning: by role of layer, and for the whole network."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from accounting.words.methods import Method
from accounting.words.task import task
from reports.data.frames import Frames
from reports.figures._axes import legend_below, percent_axis, replicates_text, tidy
from reports.words.colours import INK, criterion_colour, role_colour, role_rank
from reports.words.wording import role_text

TITLE = "Sensitivity to sparsity"
OPTIONAL = True
ROLE, WHOLE = "role", "whole"
COLUMNS = ["scan", "part", "sparsity", "macs", "val_top1", "replicate", "dense_val_top1", "num_val"]
SCOPE_STYLES = {"global": "-", "uniform": (0, (4, 1.5))}


def data(frames: Frames) -> pd.DataFrame:
    """One row per pruned network of a scan; ``part`` is the pruned role, or the scope and criterion for all layers."""
    return pd.DataFrame(list(_rows(frames)), columns=COLUMNS)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    num_val = ", ".join(f"{int(count):,}" for count in sorted(data["num_val"].dropna().unique()))
    return (
        f"Validation {task().quality} of the trained parent after weights of the smallest magnitude are set to "
        "zero, without "
        "fine-tuning (batch norm recalibrated). Left: the layers of one role alone, each to the sparsity of the "
        "axis; right: the whole network. Lines are means over replicates, bands one standard deviation "
        f"({replicates_text(data, ['scan', 'part'])}{f'; {num_val} images' if num_val else ''}). Dashed: the dense parent."
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """Two panels, either of which may be missing."""
    scans = [scan for scan in (ROLE, WHOLE) if (data["scan"] == scan).any()]
    figure.set_size_inches(1.2 + 3.5 * len(scans), 3.8)
    panels = figure.subplots(1, len(scans), sharey=True, squeeze=False)[0]
    handles = []
    for panel, scan in zip(panels, scans, strict=True):
        tidy(panel)
        rows = data[data["scan"] == scan]
        rank = role_rank if scan == ROLE else str
        for part in sorted(rows["part"].unique(), key=rank):
            handles.append(_draw_line(panel, rows[rows["part"] == part], scan, str(part)))
        panel.axhline(100 * rows["dense_val_top1"].mean(), color="#777777", linestyle=(0, (4, 2)), linewidth=1)
        panel.set_title("one role alone" if scan == ROLE else "whole network", fontsize=10)
        panel.set_xlabel("weights at zero (%)")
    percent_axis(panels[0], "y")
    panels[0].set_ylabel(f"val. {task().quality} ({task().unit}), no fine-tuning")
    legend_below(figure, handles, 5)


def _draw_line(panel: Axes, rows: pd.DataFrame, scan: str, part: str) -> Line2D:
    scope, _, criterion = part.partition("_")
    colour = role_colour(part) if scan == ROLE else criterion_colour(criterion) if criterion != "magnitude" else INK
    style = "-" if scan == ROLE else SCOPE_STYLES.get(scope, ":")
    groups = 100 * rows.set_index("sparsity")["val_top1"]
    mean, sd = groups.groupby(level=0).mean(), groups.groupby(level=0).std().fillna(0.0)
    x = [100 * float(sparsity) for sparsity in mean.index]
    panel.fill_between(x, (mean - sd).clip(0, 100), (mean + sd).clip(0, 100), color=colour, alpha=0.18, linewidth=0)
    text = role_text(part) if scan == ROLE else f"whole: {Method(scope, criterion).text}"
    (line,) = panel.plot(x, mean, color=colour, linestyle=style, linewidth=1.8, marker=".", markersize=6, label=text)
    return line


def _rows(frames: Frames) -> Iterator[list[object]]:
    for job in frames.view.jobs:
        if not job.outcome:
            continue
        ends = [job.replicate, job.outcome.get("dense_val_top1"), job.outcome.get("num_val")]
        for point in job.outcome.get("sensitivity") or []:
            yield [ROLE, str(point["role"]), point["sparsity"], point.get("macs"), point["val_top1"], *ends]
        for whole in job.outcome.get("sparsity_curve") or []:
            part = f"{whole['scope']}_{whole['criterion']}"
            yield [WHOLE, part, whole["sparsity"], whole.get("macs"), whole["val_top1"], *ends]
