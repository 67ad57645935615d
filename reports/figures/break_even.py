"""Who pays: the cost ratio by the parent's price and the number of targets that share it, and where costs are equal."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accounting.words.names import PRUNE, label_text
from accounting.words.quantities import macs_short
from reports.answers.study import JudgedStudy, judged
from reports.compare.charges import BreakEven, Charges, Terms, ratio_under
from reports.data.frames import Frames
from reports.figures._axes import counts_text, legend_below, ratio_axis, tidy, unit_of
from reports.figures._contenders import columns_of, handles_of, line_style, plain_log_ticks, shown_contenders
from reports.words.colours import INK

TITLE = "Break-even"
OPTIONAL = True
PRICE, TARGETS = "price", "targets"
"""What a row varies: the parent's price relative to its charge, or the number of targets that share the common work."""
MULTIPLES = (0.0, *np.geomspace(0.05, 20.0, 27).tolist())
SERVED = tuple(np.geomspace(1.0, 100.0, 15).tolist())
FREE_AT = 0.04
"""Position of a price of 0 on the logarithmic axis."""
AXIS = {PRICE: (FREE_AT / 1.15, max(MULTIPLES)), TARGETS: (1.0, max(SERVED))}
"""The ends of the axis, by what is varied."""
COLUMNS = [
    "target", "label", "route", "is_headline", "varied", "value", "ratio", "ratio_low", "ratio_high", "break_even",
    "break_even_low", "break_even_high", "parent_h", "n", "unit",
]  # fmt: skip
MEASURED = COLUMNS[5:13]


def data(frames: Frames) -> pd.DataFrame:
    """Cost to a* relative to pruning's, with the interval of its verdict, by target, contender and value varied.

    ``value`` is a number of targets, or the parent's price divided by ``parent_h``, its charge. ``break_even`` is the
    value at which both cost the same, with the interval outside of which one of them is shown to be cheaper.
    """
    study = judged(frames)
    rows: list[list[object]] = []
    for target in frames.info.targets:
        pays = study.who_pays(target)
        base = study.contender(study.contenders.pair[0], target)
        if pays is None or base is None or not pays.parent_h.value:
            continue
        parent_h = pays.parent_h.value
        below = _charges(study, base.label, target)
        for one in shown_contenders(study, target):
            if one.label not in pays.against:
                continue
            against, above = pays.against[one.label], _charges(study, one.label, target)
            even = {PRICE: _ends(against.price, parent_h), TARGETS: _ends(against.targets, 1.0)}
            for varied, value, terms in _terms(parent_h):
                ratio = ratio_under([(below, above)], terms)
                if ratio.mean is not None:
                    found = [
                        math.exp(ratio.mean),
                        *(ratio.interval(against.price.alpha) or (None, None)),
                        *even[varied],
                    ]
                    key = [target, one.label, one.route, one.label == study.challenger, varied, value]
                    rows.append([*key, *found, parent_h, ratio.n, frames.unit])
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(MEASURED, float))


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    parent = " or ".join(sorted({f"{float(hours):.3g}" for hours in data["parent_h"]}))
    return (
        f"Each contender’s cost to a* over pruning’s ({counts_text(data['n'])}); above 1 pruning is cheaper. Left: were the "
        f"parent’s price another multiple of the {parent} {unit_of(data)} that it is charged with. Right: were as many "
        "targets, all like this one, to share what serves all of them. Band: the headline’s interval, at the level of its "
        "verdict. The diamond on the line at 1 is where the headline breaks even; outside of its bar one of the two is "
        "shown to be cheaper (without a bar: nowhere)."
    )


def alternative(data: pd.DataFrame) -> str:
    """The headline's break-evens in words."""
    parts = []
    for (target, varied), rows in data[data["is_headline"]].groupby(["target", "varied"], sort=False):
        even, name = float(rows["break_even"].iloc[0]), label_text(str(rows["label"].iloc[0]))
        where = "times the parent’s price" if varied == PRICE else "targets"
        at = f"break even at {even:.3g} {where}" if not math.isnan(even) else f"break even at no number of {where}"
        parts.append(f"at {macs_short(int(str(target)))} MACs {name} and {label_text(PRUNE)} {at}")
    return f"{'; '.join(parts)}." if parts else "The headline’s costs cannot be compared."


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A row of panels per target: by the parent's price on the left, by the number of targets on the right."""
    targets = list(data["target"].unique())
    figure.set_size_inches(8.4, 2.5 * len(targets) + 0.6)
    panels = figure.subplots(len(targets), 2, sharey=True, squeeze=False)
    for row, target in zip(panels, targets, strict=True):
        for panel, varied in zip(row, (PRICE, TARGETS), strict=True):
            tidy(panel)
            mine = data[(data["target"] == target) & (data["varied"] == varied)]
            panel.axhline(1.0, color=INK, linewidth=1.1)
            for (label, route), rows in mine.groupby(["label", "route"]):
                _draw_contender(panel, rows, str(label), str(route), varied)
            panel.set_xscale("log")
            panel.set_title(f"≤ {macs_short(target)} MACs", fontsize=10)
            if varied == PRICE:
                panel.set_xticks([FREE_AT, 0.1, 0.3, 1, 3, 10], ["free", "0.1", "0.3", "1", "3", "10"])
                panel.minorticks_off()
                panel.set_xlim(*AXIS[PRICE])
                panel.axvline(1.0, color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
                panel.set_ylabel(f"cost / cost of {label_text(PRUNE)}")
            else:
                panel.set_xlim(*AXIS[TARGETS])
                plain_log_ticks(panel, "x", 40)
    panels[-1][0].set_xlabel("parent’s price / what it is charged with")
    panels[-1][1].set_xlabel("targets that share what is common")
    ratio_axis(panels[0][0], "y", data["ratio"])
    handles = handles_of(zip(data["label"], data["route"], strict=True), linewidth=1.8)
    legend_below(figure, handles, columns_of(handles))


def _draw_contender(panel: Axes, rows: pd.DataFrame, label: str, route: str, varied: str) -> None:
    style, is_headline = line_style(label, route), bool(rows["is_headline"].iloc[0])
    x = rows["value"].where(rows["value"] > 0, FREE_AT)
    panel.plot(x, rows["ratio"], color=style["color"], linewidth=2.2 if is_headline else 1.3)
    if is_headline:
        panel.fill_between(x, rows["ratio_low"], rows["ratio_high"], color=style["color"], alpha=0.16, linewidth=0)
        even = rows.iloc[0]
        if not math.isnan(even["break_even"]):
            ends = [float(even[f"break_even{end}"]) for end in ("_low", "_high")]
            if not all(map(math.isnan, ends)):  # shown on one side only, it goes to the end of the axis on the other
                low, high = AXIS[varied]
                left = low if math.isnan(ends[0]) else max(ends[0], low)
                panel.hlines(
                    1.0, left, high if math.isnan(ends[1]) else ends[1], color=style["color"], linewidth=4, alpha=0.6
                )
            panel.plot(
                even["break_even"], 1.0, "D", color=style["color"], markeredgecolor="#ffffff", markersize=7, zorder=4
            )
    at = rows[rows["value"] == 1.0] if varied == TARGETS else rows.iloc[(rows["value"] - 1).abs().argsort()].head(1)
    panel.plot(at["value"], at["ratio"], linewidth=0, clip_on=False, **style)


def _terms(parent_h: float) -> Iterator[tuple[str, float, Terms]]:
    for multiple in MULTIPLES:
        yield PRICE, float(multiple), Terms(parent_h=multiple * parent_h)
    for served in SERVED:
        yield TARGETS, float(served), Terms(targets_served=served)


def _ends(found: BreakEven, over: float) -> list[float | None]:
    return [None if value is None else value / over for value in (found.value, found.low, found.high)]


def _charges(study: JudgedStudy, label: str, target: int) -> Charges:
    one = study.contender(label, target)
    if one is None:
        raise ValueError(f"{label} does not compete at {target} MACs")
    return study.contenders.charges(one, target, study.contenders.common(target), study.frames.info.margin)
