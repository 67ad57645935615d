"""A figure for a phone: the same drawing in a narrow place, its panels one below the other."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure as Canvas

NARROW_IN = 4.6
"""Width in inches: at this, letters of 10 points are read on a phone without enlarging."""
MOST_LEGEND_COLUMNS = 2


class NarrowCanvas(Canvas):
    """Takes what a figure's ``draw`` says, and makes it narrow: its size, the places of its panels, its legend."""

    def set_size_inches(self, w: Any, h: float | None = None, forward: bool = True) -> None:
        """Never wider than narrow."""
        width, height = (float(w[0]), float(w[1])) if h is None else (float(w), float(h))
        super().set_size_inches(min(width, NARROW_IN), height, forward)

    def subplots(self, nrows: int = 1, ncols: int = 1, **options: Any) -> Any:
        """Panels that were side by side are placed below each other, a column after the other; each keeps its height."""
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
        """Not more than two columns."""
        if "ncols" in options:
            options["ncols"] = min(MOST_LEGEND_COLUMNS, options["ncols"])
        return super().legend(*args, **options)
