"""A study in a notebook: :func:`load` its frames, and :func:`draw` any figure of the report wherever you like.

``docs/frames.md`` describes each frame and column.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure

from reports.data.frames import Frames, load_frames
from reports.figures import discover, list_figures

LEGEND_PLACE = (0.5, -0.2)
"""Below the axes, in fractions of their size."""


def load(study: Path | str) -> Frames:
    """The frames of the study in a folder; raises the errors of :func:`reports.data.source.load_source`."""
    return load_frames(Path(study))


def draw(name: str, frames: Frames, ax: Axes | None = None) -> Canvas | SubFigure:
    """Draw the figure of that name on ``ax`` or on a new canvas, and return the figure or sub-figure drawn on.

    A figure with one panel is drawn on ``ax`` itself. One with several empties ``ax`` and divides its place.

    Raises:
        ValueError: there is no such figure, the study has no data for it, or ``ax`` must be divided but is not a subplot.

    """
    figures = discover()
    if name not in figures:
        raise ValueError(f"{name!r} is not a figure; there are {', '.join(list_figures())}")
    data = figures[name].data(frames)
    if data.empty:
        raise ValueError(f"figure {name}: {frames.info.name} has not measured it yet")
    if ax is None:
        canvas = Canvas(layout="constrained")
        figures[name].draw(data, canvas)
        return canvas
    place: Any = _Place(ax)
    figures[name].draw(data, place)
    drawn: Canvas | SubFigure = place.drawn_in
    return drawn


class _Place:
    """Acts as a figure's canvas, but takes only the place of one axes."""

    def __init__(self, ax: Axes) -> None:
        self._ax = ax
        self.drawn_in: Canvas | SubFigure = ax.figure

    def set_size_inches(self, *_: float) -> None:
        """Do nothing: the size is that of the axes."""

    def get_size_inches(self) -> tuple[float, float]:
        """Width and height of the axes, which is all the room available."""
        box, dpi = self._ax.bbox, self._ax.figure.dpi
        return box.width / dpi, box.height / dpi

    def subplots(self, nrows: int = 1, ncols: int = 1, *, squeeze: bool = True, **options: Any) -> Any:
        """The axes themselves if one panel is enough; otherwise panels in their place."""
        if (nrows, ncols) == (1, 1):
            return self._ax if squeeze else np.array([[self._ax]])
        spec = self._ax.get_subplotspec()
        if spec is None:
            raise ValueError("ax is not a subplot, and this figure has several panels; give an ax of plt.subplots()")
        self._ax.set_axis_off()
        self.drawn_in = self._ax.figure.add_subfigure(spec)
        return self.drawn_in.subplots(nrows, ncols, squeeze=squeeze, **options)

    def legend(self, *, handles: Any, **options: Any) -> Any:
        """Put the legend below the panels."""
        if self.drawn_in is not self._ax.figure:
            return self.drawn_in.legend(handles=handles, **options)
        options["loc"] = "upper center"
        return self._ax.legend(handles=handles, bbox_to_anchor=LEGEND_PLACE, **options)

    def __getattr__(self, name: str) -> Any:
        """Anything else that a canvas can do, such as ``colorbar`` or ``text``."""
        return getattr(self.drawn_in, name)
