"""A figure for a phone: the same drawing, but narrow, with its panels stacked."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure as Canvas

NARROW_IN = 4.6
"""Width in inches at which 10-point letters are readable on a phone without zooming."""
MOST_LEGEND_COLUMNS = 2


class NarrowCanvas(Canvas):
    """A canvas that makes narrow whatever a figure's ``draw`` sets up: its size, its panels, its legend."""

    def set_size_inches(self, w: Any, h: float | None = None, forward: bool = True) -> None:
        """Set the size, but never wider than :data:`NARROW_IN`."""
        width, height = (float(w[0]), float(w[1])) if h is None else (float(w), float(h))
        super().set_size_inches(min(width, NARROW_IN), height, forward)

    def subplots(self, nrows: int = 1, ncols: int = 1, **options: Any) -> Any:
        """Stack panels that would be side by side, column after column; each keeps its height."""
        if ncols == 1:
            return super().subplots(nrows, ncols, **options)
        width, height = self.get_size_inches()
        self.set_size_inches(width, height * ncols)
        for name in ("width_ratios", "height_ratios"):
            options.pop(name, None)
        is_squeezed = bool(options.pop("squeeze", True))
        if "sharex" in options:
            options["sharex"] = options["sharex"] is True or options["sharex"] == "all"
        panels = super().subplots(nrows * ncols, 1, squeeze=False, **options).reshape(ncols, nrows).T
        return panels[0] if nrows == 1 and is_squeezed else panels

    def legend(self, *args: Any, **options: Any) -> Any:
        """Draw a legend with at most two columns."""
        if "ncols" in options:
            options["ncols"] = min(MOST_LEGEND_COLUMNS, options["ncols"])
        return super().legend(*args, **options)
