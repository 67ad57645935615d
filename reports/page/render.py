"""Draws every figure into files: PNG and SVG, byte-identical for the same study."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from reports.data.frames import Frames
from reports.figures import discover, is_optional

PNG_DPI = 160
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "hatch.linewidth": 0.6,
    "hatch.color": "white",
    "text.parse_math": False,  # a name with dollars is a name
}


@dataclass(frozen=True)
class Rendered:
    """A figure for the page; ``svg_uri`` is empty where nothing of it was measured yet."""

    name: str
    title: str
    caption: str
    svg_uri: str


def render_figures(frames: Frames, folder: Path) -> dict[str, Rendered]:
    """Write ``<name>.png`` and ``<name>.svg`` of each figure with data; the figures by name, less optional ones without."""
    folder.mkdir(parents=True, exist_ok=True)
    rendered: dict[str, Rendered] = {}
    for name, figure in discover().items():
        data = figure.data(frames)
        if data.empty and is_optional(figure):
            continue
        if data.empty:
            rendered[name] = Rendered(name, figure.TITLE, "Nothing of this is measured yet.", "")
            continue
        with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
            canvas = Canvas(layout="constrained")
            FigureCanvasAgg(canvas)
            figure.draw(data, canvas)
            canvas.draw_without_rendering()
            canvas.set_layout_engine("none")  # solved once, for both files
            canvas.savefig(folder / f"{name}.png", dpi=PNG_DPI, metadata={"Software": None})
            canvas.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
        svg = base64.b64encode((folder / f"{name}.svg").read_bytes()).decode("ascii")
        rendered[name] = Rendered(name, figure.TITLE, figure.caption(data), f"data:image/svg+xml;base64,{svg}")
    return rendered
