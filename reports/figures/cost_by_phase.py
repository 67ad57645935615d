"""Where each route's device-hours went: by phase, and within a phase into productive, overhead and lost time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from accounting.cost.attempts import Attempt
from accounting.cost.shares import HEADLINE_POLICY, charged_rate, rates_of, route_attempts
from accounting.ledger.records import Phase
from accounting.words.names import Role, label_text, words_of
from accounting.words.quantities import HOUR_S, macs_short
from reports.data.frames import Frames
from reports.figures._axes import WIDE_IN, legend_below, replicates_text, tidy, unit_of
from reports.measure.money import money_beside
from reports.words.colours import route_colour, tint

TITLE = "Cost per route, by phase"
SPLIT = ("productive", "overhead", "lost")
HATCHES = {"productive": "", "overhead": "////", "lost": "xxxx"}
COLUMNS = ["target", "route", "phase", "replicate", *(f"{part}_h" for part in SPLIT), "allocated_h", "unit"]
NUM_PARTS = len(SPLIT) + 2
"""Number of values that are summed: the parts of the split, their total, and its price in money."""
PHASE_ORDER = [phase.value for phase in Phase]
LETTER_IN, NAMES_IN = 0.075, 1.3
"""Inches per letter that a bar needs to have its phase's name in it; inches left of the axis for the routes' names."""


def data(frames: Frames) -> pd.DataFrame:
    """Device-hours charged in full, by target, route, phase and replicate, split into productive, overhead and lost.

    If there are usable prices next to the study, the rows have money too.

    Work for several targets counts at each of them, so rows of different targets cannot be added up (those of
    :mod:`reports.measure.phase_costs` can). The training of a teacher counts likewise at each route that it taught. The
    analysis of the parent and exports are charged to no target and have no rows.
    """
    money = money_beside(frames)
    rows: dict[tuple[int, str, str, int], list[float]] = {}
    begun = [key for key in frames.view.by_route if words_of(key[0]).role is not Role.MEASURES]
    for target, (route, replicate) in product(frames.info.targets, begun):
        attempts = route_attempts(frames.view, route, replicate, target)
        for attempt, share in zip(attempts, *rates_of(attempts, _charged(frames, target)), strict=True):
            rate = share / HOUR_S
            key = (target, route, attempt.phase, replicate)
            priced = money.of_attempts.get(attempt.attempt, 0.0) * HOUR_S
            if (so_far := rows.get(key)) is None:
                so_far = rows[key] = [0.0] * NUM_PARTS
            so_far[0] += rate * attempt.productive_s
            so_far[1] += rate * attempt.overhead_s
            so_far[2] += rate * attempt.lost_s
            so_far[3] += rate * attempt.allocated_s
            so_far[4] += rate * priced
    spent = [(key, parts) for key, parts in rows.items() if parts[3] > 0]
    ordered = sorted(spent, key=lambda item: (item[0][0], item[0][1], PHASE_ORDER.index(item[0][2]), item[0][3]))
    table = pd.DataFrame(
        [[*key, *parts, frames.unit] for key, parts in ordered], columns=[*COLUMNS[:-1], "money", "unit"]
    )
    return table.drop(columns="money") if money.currency is None else table.assign(currency=money.currency)


def _charged(frames: Frames, target: int) -> Callable[[Attempt], float]:
    return lambda attempt: charged_rate(frames.view, attempt, HEADLINE_POLICY, target, frames.info.num_targets)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    return (
        f"Mean per replicate of the allocated {unit_of(data)}, all work charged (what serves several targets counts "
        f"in full at each; {replicates_text(data, ['target', 'route'])}). Shades from dark to light are the phases in "
        "the order of the work; within a phase plain is productive, striped overhead, crossed lost. A network that taught "
        "others is charged to their routes, too. The scratch bar holds all of its controls."
        + (" Behind a bar: device-hours, and money at the prices beside the study." if "money" in data else "")
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A panel per target, a bar per route, a shade per phase."""
    targets = list(data["target"].unique())
    routes = sorted(
        data["route"].unique(), key=lambda route: (words_of(route).role is Role.CONTROL, route), reverse=True
    )
    figure.set_size_inches(8.4, 0.9 + len(targets) * (0.7 + 0.42 * len(routes)))
    panels = figure.subplots(len(targets), 1, sharex=True, squeeze=False)[:, 0]
    replicates = data.groupby(["target", "route"])["replicate"].nunique()
    longest = float((data.groupby(["target", "route"])["allocated_h"].sum() / replicates).max())
    width_in = figure.get_size_inches()[0]
    for panel, target in zip(panels, targets, strict=True):
        tidy(panel)
        panel.xaxis.set_major_locator(MaxNLocator(7 if width_in > WIDE_IN else 4))
        panel.grid(axis="y", visible=False)
        panel.set_xlim(0, (1.3 if "money" in data else 1.12) * longest if longest > 0 else 1)
        panel.set_title(f"target {macs_short(target)} MACs", fontsize=10, loc="left")
        panel.set_yticks(range(len(routes)), [label_text(route) for route in routes])
        for position, route in enumerate(routes):
            mine = data[(data["target"] == target) & (data["route"] == route)]
            if len(mine):
                _draw_bar(panel, position, str(route), mine, longest, LETTER_IN / (width_in - NAMES_IN))
    panels[-1].set_xlabel(f"mean cost per replicate ({unit_of(data)})")
    patches = [Patch(facecolor="#999999", edgecolor="white", hatch=HATCHES[part], label=part) for part in SPLIT]
    legend_below(figure, patches, 3)


def _draw_bar(panel: Axes, position: int, route: str, rows: pd.DataFrame, longest: float, letter: float) -> None:
    """Draw one bar; ``letter`` is the share of the axis that a letter takes."""
    num_replicates = rows["replicate"].nunique()
    phases = [phase for phase in PHASE_ORDER if phase in set(rows["phase"])]
    left = 0.0
    for index, phase in enumerate(phases):
        share = 1.0 - 0.72 * index / max(len(phases) - 1, 1)
        of_phase = rows[rows["phase"] == phase]
        begin = left
        for part in SPLIT:
            width = float(of_phase[f"{part}_h"].sum()) / num_replicates
            panel.barh(
                position, width, left=left, height=0.66, color=tint(route_colour(route), share),
                edgecolor="white", linewidth=0, hatch=HATCHES[part],
            )  # fmt: skip
            left += width
        if index:
            panel.vlines(begin, position - 0.33, position + 0.33, color="white", linewidth=1.2)
        if left - begin > letter * len(phase) * panel.get_xlim()[1]:
            ink = "white" if share > 0.6 else "#222222"
            box = {"facecolor": tint(route_colour(route), share), "edgecolor": "none", "pad": 1.2}
            panel.text((begin + left) / 2, position, phase, ha="center", va="center", fontsize=8, color=ink, bbox=box)
    money = ""
    if "money" in rows:
        money = f"  {rows['money'].sum() / num_replicates:.3g} {rows['currency'].iloc[0]}"
    panel.text(left + 0.01 * longest, position, f"{left:.3g}{money}", va="center", fontsize=9)
