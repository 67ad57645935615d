"""Figures of a report: each module of this folder is one, found by being here.

A figure module has ``TITLE`` (what it shows), ``data(frames)`` (the numbers, one tidy data frame), ``caption(data)``
(how to read it, with n and the unit) and ``draw(data, figure)`` (only draws). ``OPTIONAL = True`` says that it shows what
not every study measures: without data it is left off the page, where any other says that nothing is measured yet. Modules
whose name begins with an underscore are shared parts, not figures.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:  # the names of figures need neither pandas nor Matplotlib
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

    from reports.data.frames import Frames


class Figure(Protocol):
    """What a module of this folder provides."""

    TITLE: str

    def data(self, frames: Frames) -> pd.DataFrame:
        """The numbers of the figure; no rows where nothing of it was measured yet."""
        ...

    def caption(self, data: pd.DataFrame) -> str:
        """How to read it, with n and the unit."""
        ...

    def draw(self, data: pd.DataFrame, figure: Canvas) -> None:
        """Draw rows of :meth:`data` (at least one) and set the figure's size."""
        ...


def list_figures() -> list[str]:
    """The names of all figures, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def is_optional(figure: Figure) -> bool:
    """Whether the figure is left off a report that has no data for it."""
    return bool(getattr(figure, "OPTIONAL", False))


def discover() -> dict[str, Figure]:
    """All figures by name, in alphabetical order."""
    return {name: cast("Figure", importlib.import_module(f"{__name__}.{name}")) for name in list_figures()}
