"""The schedule of the cluster: who held which device when, with idle and lost time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from accounting.cost.values import Attempt
from accounting.ledger.records import Status
from accounting.words.names import label_text, route_rank
from accounting.words.quantities import HOUR_S
from reports.data.frames import Frames
from reports.figures._axes import legend_below, tidy
from reports.words.colours import INK, route_colour

TITLE = "Who held which device when"
OPTIONAL = True
MOST_SESSIONS = 4
"""Most sessions shown, one panel each; earlier ones are in the table of attempts only."""
MOST_LANES = 32
SHORTEST = 1 / 1500
"""Attempts of one route and kind on a lane are drawn as one if their gap is a smaller share of the panel's length."""
COLUMNS = ["session", "session_begin_t", "device", "lane", "route", "phase", "kept", "begin_h", "end_h", "unit"]
LANE_HEIGHT = 0.8


def data(frames: Frames) -> pd.DataFrame:
    """When each lane of each device was held, in hours since its session began; attempts with tiny gaps are merged.

    A lane is a share of a device that one attempt at a time holds; attempts that overlap on a device are on different
    lanes. ``kept`` is false if the attempt ended without an outcome.
    """
    view = frames.view
    begins = {session.session: session.begin_t for session in view.sessions}
    length = {session.session: session.end_t - session.begin_t for session in view.sessions}
    rows: list[list[object]] = []
    by_device: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in view.attempts:
        if attempt.device_kind == view.device_kind and attempt.session in begins and attempt.end_t > attempt.begin_t:
            for device in attempt.devices:
                by_device.setdefault((attempt.session, device), []).append(attempt)
    for (session, device), attempts in by_device.items():
        begin, apart = begins[session], SHORTEST * max(length[session], 1e-9)
        for lane, held in enumerate(_lanes(attempts)):
            for route, phase, kept, first, last in _merged(held, apart):
                rows.append([session, begin, device, lane, route, phase, kept, (first - begin) / HOUR_S,
                             (last - begin) / HOUR_S, frames.unit])  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def caption(data: pd.DataFrame) -> str:
    """How to read it."""
    sessions = data["session"].nunique()
    more = f" Of {sessions} sessions the last {MOST_SESSIONS} are shown." if sessions > MOST_SESSIONS else ""
    devices = data.groupby("session")["device"].nunique().max()
    return (
        f"What held the devices, by route, in each session (n = {sessions}, at most {devices} "
        f"device{'s' if devices != 1 else ''}): a row for each share of a device that one attempt at a time holds; white is "
        "idle, striped was held in vain (failed or lost). Attempts of one route that follow each other closely are drawn as "
        f"one.{more}"
    )


def alternative(data: pd.DataFrame) -> str:
    """How long each route held devices, in words."""
    held = (data["end_h"] - data["begin_h"]).groupby(data["route"]).sum().sort_values(ascending=False)
    return (
        f"Hours of lanes held: {', '.join(f'{label_text(str(route))} {hours:.3g}' for route, hours in held.items())}."
    )


def draw(data: pd.DataFrame, figure: Figure) -> None:
    """A panel for each of the last sessions, with a row per lane."""
    sessions = list(dict.fromkeys(data.sort_values("session_begin_t")["session"]))[-MOST_SESSIONS:]
    shown = [data[data["session"] == session] for session in sessions]
    lanes = [_places(rows) for rows in shown]
    heights = [0.45 + 0.24 * max(len(of_session), 2) for of_session in lanes]
    figure.set_size_inches(8.4, sum(heights) + 0.75)
    panels = figure.subplots(len(sessions), 1, squeeze=False, height_ratios=heights)[:, 0]
    scale, name = _scale(max(float(rows["end_h"].max()) for rows in shown))
    for panel, rows, places, session in zip(panels, shown, lanes, sessions, strict=True):
        tidy(panel)
        panel.grid(axis="y", visible=False)
        _draw_session(panel, rows.assign(begin_h=scale * rows["begin_h"], end_h=scale * rows["end_h"]), places)
        if len(sessions) > 1:
            panel.set_title(f"session {session}", fontsize=9, loc="left")
    panels[-1].set_xlabel(f"{name} since the session began")
    routes = sorted(set(data["route"]), key=route_rank)
    handles = [Patch(facecolor=route_colour(route), label=label_text(route)) for route in routes]
    if not data["kept"].all():
        handles.append(Patch(facecolor="#ffffff", edgecolor=INK, hatch="////", label="held in vain"))
    legend_below(figure, handles, min(len(handles), 6))


def _draw_session(panel: Axes, rows: pd.DataFrame, places: dict[tuple[str, int], int]) -> None:
    mine = rows[[(device, lane) in places for device, lane in zip(rows["device"], rows["lane"], strict=True)]]
    for (route, kept), group in mine.groupby(["route", "kept"]):
        y = np.array(
            [places[device, lane] for device, lane in zip(group["device"], group["lane"], strict=True)], dtype=float
        )
        begin, end = group["begin_h"].to_numpy(), group["end_h"].to_numpy()
        low, high = y - LANE_HEIGHT / 2, y + LANE_HEIGHT / 2
        corners = np.stack(
            [np.stack(pair, axis=-1) for pair in ((begin, low), (begin, high), (end, high), (end, low))], axis=1
        )
        panel.add_collection(
            PolyCollection(
                list(corners), facecolor=route_colour(str(route)) if kept else "#ffffff", linewidth=0 if kept else 0.6,
                edgecolor=route_colour(str(route)), hatch=None if kept else "////",
            )
        )  # fmt: skip
    panel.set_ylim(max(len(places), 1) - 0.4, -0.6)
    panel.set_xlim(0, float(rows["end_h"].max()) * 1.01 or 1.0)
    devices = list(dict.fromkeys(device for device, _ in places))
    middles = [np.mean([place for (of, _), place in places.items() if of == device]) for device in devices]
    panel.set_yticks(middles, [_short(device) for device in devices], fontsize=8)
    panel.tick_params(axis="y", length=0)


def _places(rows: pd.DataFrame) -> dict[tuple[str, int], int]:
    """The rows of a panel by device and lane, at most as many as have room."""
    found = sorted({(str(device), int(lane)) for device, lane in zip(rows["device"], rows["lane"], strict=True)})
    return {key: place for place, key in enumerate(found[:MOST_LANES])}


def _lanes(attempts: Iterable[Attempt]) -> list[list[Attempt]]:
    """The fewest lanes on which no two attempts overlap; each attempt gets the first one free when it begins."""
    lanes: list[list[Attempt]] = []
    for attempt in sorted(attempts, key=lambda attempt: attempt.begin_t):
        free = next((lane for lane in lanes if lane[-1].end_t <= attempt.begin_t), None)
        if free is None:
            lanes.append([attempt])
        else:
            free.append(attempt)
    return lanes


def _merged(attempts: Sequence[Attempt], apart: float) -> list[tuple[str, str, bool, float, float]]:
    """(route, phase, kept, begin, end) of each run of attempts that is drawn as one."""
    found: list[tuple[str, str, bool, float, float]] = []
    for attempt in attempts:
        kept = attempt.status in (Status.OK, Status.RUNNING)
        if found:
            route, phase, was_kept, begin, end = found[-1]
            if route == attempt.route and was_kept == kept and attempt.begin_t - end < apart:
                named = phase if phase == attempt.phase else "several"
                found[-1] = (route, named, kept, begin, max(end, attempt.end_t))
                continue
        found.append((attempt.route, attempt.phase, kept, attempt.begin_t, attempt.end_t))
    return found


def _scale(hours: float) -> tuple[float, str]:
    """(factor, unit) in which hours are shown, so that an axis has plain numbers."""
    return (1.0, "hours") if hours >= 2 else (60.0, "minutes") if hours >= 1 / 30 else (HOUR_S, "seconds")


def _short(device: str) -> str:
    return device if len(device) <= 22 else f"{device[:10]}…{device[-10:]}"
