"""The figures of a report. Each is a module: in this folder, in an installed package, or named by a study.

A figure module has ``TITLE`` (what it shows), ``data(frames)`` (the numbers as one tidy data frame), ``caption(data)``
(how to read it, with n and the unit) and ``draw(data, figure)`` (which only draws). It may have ``alternative(data)``,
which says in words what the figure shows, for readers who cannot see it; without it, they get the caption.

``OPTIONAL = True`` means that not every study measures this: without data, the figure is left off the page. Any other
figure then says that nothing has been measured yet. Modules with a leading underscore hold shared parts.

The contract tests of the package's own figures (``tests/reports/test_reports_figures.py``) also require that every axis
names its unit (CPU core-hours, MACs, %, hours, …) and that ``data`` is empty until an attempt has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from accounting.study import plugins
from accounting.words.task import task

if TYPE_CHECKING:  # listing figures needs neither pandas nor Matplotlib
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

    from reports.data.frames import Frames


class Figure(Protocol):
    """What a figure module provides, whether in this folder or in a file of your own.

    It may also provide what :class:`MayBeLeftOff` and :class:`SaysInWords` have. In ``TITLE``, ``{quality}`` and
    ``{Quality}`` are replaced by the task's word for quality.
    """

    TITLE: str

    def data(self, frames: Frames) -> pd.DataFrame:
        """The numbers of the figure; no rows if nothing has been measured yet."""
        ...

    def caption(self, data: pd.DataFrame) -> str:
        """How to read the figure, with n and the unit."""
        ...

    def draw(self, data: pd.DataFrame, figure: Canvas) -> None:
        """Draw the rows of :meth:`data` (at least one) and set the figure's size."""
        ...


@runtime_checkable
class MayBeLeftOff(Protocol):
    """A figure that is left off a report that has no data for it, if ``OPTIONAL`` is true."""

    OPTIONAL: bool


@runtime_checkable
class SaysInWords(Protocol):
    """A figure with a text alternative of its own, for readers who cannot see it; others use their caption."""

    def alternative(self, data: pd.DataFrame) -> str:
        """What the figure shows."""
        ...


def list_figures() -> list[str]:
    """The names of all figures, sorted."""
    return plugins.names(plugins.Kind.FIGURE)


def is_optional(figure: Figure) -> bool:
    """Whether the figure is left off a report that has no data for it."""
    return isinstance(figure, MayBeLeftOff) and figure.OPTIONAL


def title_of(figure: Figure) -> str:
    """The figure's title, with the words of the study's task in place of ``{quality}`` and the like."""
    return task().fill(figure.TITLE)


def alternative_text(figure: Figure, data: pd.DataFrame) -> str:
    """What the figure shows, for readers who cannot see it."""
    said = figure.alternative(data) if isinstance(figure, SaysInWords) else figure.caption(data)
    return f"{title_of(figure)}. {said}"


def discover() -> dict[str, Figure]:
    """All figures by name, sorted."""
    return {name: cast("Figure", plugins.load(plugins.Kind.FIGURE, name)) for name in list_figures()}
