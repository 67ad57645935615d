"""A figure for a desktop screen and for files: the same drawing, with many panels side by side broken into rows.

Otherwise a figure with a panel per target would grow with their number, and its letters would shrink on the page.
"""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

MOST_IN_ROW = 3
"""The most panels side by side."""


class WideCanvas(Canvas):
    """A canvas that breaks each row of panels into rows of at most :data:`MOST_IN_ROW`, of equal length but the last."""

    _begun: tuple[tuple[Axes, list[Axes]], ...] = ()
    """The first panel of each row that was broken, and the panels that begin its further rows."""

    def subplots(self, nrows: int = 1, ncols: int = 1, **options: Any) -> Any:
        """Create panels as Matplotlib does; the returned array has the shape that was asked for."""
        if ncols <= MOST_IN_ROW:
            return super().subplots(nrows, ncols, **options)
        lines = math.ceil(ncols / MOST_IN_ROW)
        columns = math.ceil(ncols / lines)
        width, height = self.get_size_inches()
        self.set_size_inches(width * columns / ncols, height * lines)
        for name in ("width_ratios", "height_ratios"):
            options.pop(name, None)
        is_squeezed = bool(options.pop("squeeze", True))
        grid = super().subplots(nrows * lines, columns, squeeze=False, **options).reshape(nrows, lines * columns)
        for panel in grid[:, ncols:].flat:
            panel.remove()
        self._begun = tuple((row[0], list(row[columns:ncols:columns])) for row in grid)
        panels = grid[:, :ncols]
        return panels[0] if nrows == 1 and is_squeezed else panels

    def label_rows(self) -> None:
        """Give each row that a break began the vertical label of the row it continues; to be called after drawing."""
        for first, begun in self._begun:
            for panel in begun:
                panel.set_ylabel(panel.get_ylabel() or first.get_ylabel())
