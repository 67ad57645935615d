"""The effect of a teacher on a pruning method: test accuracy and cost with and without it, paired by replicate."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import method_label, method_of, without_method
from accounting.words.quantities import macs_short
from accounting.words.task import task
from reports.data.frames import Frames
from reports.figures._axes import replicates_text, tidy, unit_of
from reports.measure.methods import method_text
from reports.statistics import Estimate, mean_interval, ratio_interval
from reports.words.colours import INK, route_colour

TITLE = "Pruning with and without a teacher"
OPTIONAL = True
COLUMNS = [
    "target", "label", "route", "replicate", "test_top1", "distilled_test_top1", "cost_h", "distilled_cost_h", "unit",
]  # fmt: skip


def data(frames: Frames) -> pd.DataFrame:
    """One row per target, method and replicate delivered both ways; ``label`` is that of the method without a teacher.

    Costs are those of each network's own chain of jobs, charged in full, in device-hours of ``unit``.
    """
    found = {(n.target, n.label, n.replicate): n for n in frames.delivered if n.test_top1 is not None}
    rows = []
    for (target, label, replicate), taught in sorted(found.items()):
        method = method_of(label)
        if method is None or not method.is_distilled:
            continue
        plain = found.get((target, method_label(without_method(label), method.undistilled), replicate))
        if plain is not None:
            costs = plain.cost_h[HEADLINE_POLICY], taught.cost_h[HEADLINE_POLICY]
            tops = plain.test_top1, taught.test_top1
            rows.append([target, plain.label, plain.route, replicate, *tops, *costs, frames.unit])
    return pd.DataFrame(rows, columns=COLUMNS)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    return (
        "Each method fine-tuned with a teacher against the same method without, paired by replicate "
        f"({replicates_text(data, ['target', 'label'])}). Left: difference in test {task().quality} in points, "
        "mean with 95 % "
        f"t-interval; faint: the replicates. Right: ratio of their costs in {unit_of(data)}, each network's own chain "
        "charged in full, geometric mean with 95 % t-interval of the logarithm."
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A row per target and method; differences of accuracy on the left, ratios of cost on the right."""
    groups = list(data.groupby(["target", "label"]))[::-1]
    figure.set_size_inches(8.4, 1.5 + 0.36 * len(groups))
    accuracy, cost = figure.subplots(1, 2, sharey=True)
    for position, ((_, _), rows) in enumerate(groups):
        colour = route_colour(str(rows["route"].iloc[0]))
        points = [100 * float(d) for d in rows["distilled_test_top1"] - rows["test_top1"]]
        accuracy.plot(points, [position] * len(points), ".", color=colour, alpha=0.35, markersize=5)
        _mark(accuracy, position, mean_interval(points), colour)
        replicates = [int(replicate) for replicate in rows["replicate"]]
        taught_h = dict(zip(replicates, map(float, rows["distilled_cost_h"]), strict=True))
        ratio = ratio_interval(taught_h, dict(zip(replicates, map(float, rows["cost_h"]), strict=True)))
        _mark(cost, position, ratio, colour)
    accuracy.set_yticks(
        range(len(groups)),
        [f"{method_text(str(label))}, ≤ {macs_short(int(str(target)))}" for (target, label), _ in groups],
    )
    accuracy.set_ylim(-0.6, len(groups) - 0.4)
    for panel, nothing, title in (
        (accuracy, 0.0, f"test {task().quality}, points"),
        (cost, 1.0, "cost, times that without"),
    ):
        tidy(panel)
        panel.axvline(nothing, color=INK, linewidth=0.8)
        panel.set_xlabel(title)


def _mark(panel: Axes, position: int, estimate: Estimate, colour: str) -> None:
    if estimate.value is None:
        return
    if estimate.low is not None and estimate.high is not None:
        panel.hlines(position, estimate.low, estimate.high, color=colour, linewidth=1.6)
    panel.plot([estimate.value], [position], "o", color=colour, markersize=5)
