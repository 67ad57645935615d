"""Draw every figure: into files (PNG and SVG, byte-identical for the same study), and for the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from reports.data.frames import Frames
from reports.export.csv_cells import plain_cells
from reports.export.tables import with_unit
from reports.figures import Figure, alternative_text, discover, is_optional, title_of
from reports.page.beside import SecondProcess
from reports.page.narrow import NARROW_IN, NarrowCanvas
from reports.page.theme import inline_svg
from reports.page.wide import WideCanvas
from reports.words.colours import INK

PNG_DPI = 160
OF_WINDOWS = (
    "backend",
    "interactive",
    "toolbar",
    "tk.",
    "webagg.",
    "macosx.",
    "savefig.directory",
    "timezone",
    "date.epoch",
)
PLAIN: dict[Any, Any] = {key: mpl.rcParamsDefault[key] for key in mpl.rcParamsDefault if not key.startswith(OF_WINDOWS)}
"""Matplotlib's own settings for what is drawn: a matplotlibrc of the user's, or in the working folder, changes nothing."""
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "hatch.linewidth": 0.6,
    "hatch.color": "white",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.parse_math": False,  # dollars in a name are not mathematics
}
MOST_LINKED_BYTES = 400_000
"""Larger data is only a separate file, and not embedded in the page's links."""
FIGURES = "%.7g"
"""Number format in a figure's CSV file: more digits than any drawing shows."""
NOTHING_YET = "Nothing of this is measured yet."


@dataclass(frozen=True)
class Rendered:
    """A figure for the page: its drawings for wide and narrow screens, its text alternative, links to data and drawing.

    The drawings are empty if nothing has been measured yet; ``narrow`` is empty if the wide one is narrow enough.
    ``colours`` are those used in the drawings.
    """

    name: str
    title: str
    caption: str
    alternative: str = ""
    wide: str = ""
    narrow: str = ""
    csv_link: str = ""
    svg_link: str = ""
    png_link: str = ""
    colours: frozenset[str] = frozenset()


class Asked(NamedTuple):
    """A figure to draw: its rows, the unit of their hours, and the folder for its files."""

    name: str
    data: pd.DataFrame
    unit: str
    folder: Path


def render_figures(frames: Frames, folder: Path) -> dict[str, Rendered]:
    """Write ``<name>.png``, ``.svg`` and ``.csv`` for each figure with data. By name, without empty optional ones."""
    return Rendering(frames, folder).finished()


class Rendering:
    """The figures of a report, some of which a second process draws while this one goes on.

    A figure's rows are computed here. The second process is given one figure after another; :meth:`finished` draws the
    others here.
    """

    def __init__(self, frames: Frames, folder: Path, second: SecondProcess | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._info = frames.info
        self._figures = discover()
        self._rendered: dict[str, Rendered] = {}
        self._asked: SimpleQueue[Asked | None] = SimpleQueue()
        self._beside: Thread | None = None
        if second is not None:
            self._beside = Thread(target=self._draw_beside, args=(second,), daemon=True)
            self._beside.start()
        for name, figure in self._figures.items():
            data = figure.data(frames)
            if data.empty and not is_optional(figure):
                self._rendered[name] = Rendered(name, title_of(figure), NOTHING_YET)
            elif not data.empty:
                self._asked.put(Asked(name, data, frames.unit, folder))

    def finished(self) -> dict[str, Rendered]:
        """All figures, by name in the order in which they were discovered."""
        self._draw_here()
        if self._beside is not None:
            self._asked.put(None)
            self._beside.join()
            self._draw_here()  # what it could not draw
        return {name: self._rendered[name] for name in self._figures if name in self._rendered}

    def _draw_here(self) -> None:
        while True:
            try:
                asked = self._asked.get_nowait()
            except Empty:
                return
            if asked is not None:
                self._rendered[asked.name] = drawn(self._figures[asked.name], asked)

    def _draw_beside(self, second: SecondProcess) -> None:
        """Have figures drawn until there is no more, or the second process has ended."""
        left: list[Asked] = []
        while asked := self._asked.get():
            try:
                found = second.drawn(asked, self._info)
            except Exception:  # whatever it is, this process draws the figure and finds it
                left.append(asked)
                break
            if found is None:
                left.append(asked)
            else:
                self._rendered[asked.name] = found
        for asked in left:
            self._asked.put(asked)


def drawn(figure: Figure, asked: Asked) -> Rendered:
    """The figure, whose files are written."""
    name, data, unit, folder = asked
    _write_csv(data, unit, folder / f"{name}.csv")
    with mpl.rc_context({**PLAIN, **STYLE, "svg.hashsalt": name}):
        return _drawn(name, figure, data, folder)


def prepare() -> None:
    """Load what the first drawing would have to load: fonts, and how PNG and SVG are written."""
    with mpl.rc_context({**PLAIN, **STYLE}):
        canvas = Canvas(layout="constrained")
        FigureCanvasAgg(canvas)
        canvas.subplots().set_xlabel("x")
        for form in ("png", "svg"):
            canvas.savefig(io.BytesIO(), format=form)


def _drawn(name: str, figure: Figure, data: pd.DataFrame, folder: Path) -> Rendered:
    """The figure in its own size, and again for narrow screens if it is wider than those."""
    canvas = WideCanvas(layout="constrained")
    FigureCanvasAgg(canvas)
    figure.draw(data, canvas)
    canvas.label_rows()
    _lay_out(canvas)
    canvas.savefig(folder / f"{name}.png", dpi=PNG_DPI, metadata={"Software": None})
    canvas.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
    wide, colours = inline_svg(_svg(canvas), f"w-{name}")
    narrow = ""
    if canvas.get_size_inches()[0] > NARROW_IN:
        small = NarrowCanvas(layout="constrained")
        FigureCanvasAgg(small)
        figure.draw(data, small)
        _lay_out(small)
        narrow, more = inline_svg(_svg(small), f"n-{name}")
        colours |= more
    return Rendered(
        name,
        title_of(figure),
        figure.caption(data),
        alternative_text(figure, data),
        wide,
        narrow,
        _link(folder / f"{name}.csv"),
        f"figures/{name}.svg",
        f"figures/{name}.png",
        frozenset(colours),
    )


def _lay_out(canvas: Canvas) -> None:
    """Solve the layout once for all files: a canvas that keeps its engine, even an idle one, is drawn twice per file."""
    engine = canvas.get_layout_engine()
    if engine is not None:  # a figure from outside may have removed it
        engine.execute(canvas)
        canvas.set_layout_engine(None)


def _svg(canvas: Canvas) -> str:
    """The drawing as SVG whose text stays text, which readers can find, copy and enlarge."""
    drawn = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        canvas.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return drawn.getvalue()


def _write_csv(data: pd.DataFrame, unit: str, path: Path) -> None:
    plain_cells(with_unit(data, unit)).to_csv(path, index=False, lineterminator="\n", float_format=FIGURES)


def _link(path: Path) -> str:
    """A link to numbers: embedded, so it works in a page sent on its own; for a large file, relative to the page."""
    content = path.read_bytes()
    if len(content) > MOST_LINKED_BYTES:
        return f"figures/{path.name}"
    return f"data:text/csv;base64,{base64.b64encode(content).decode('ascii')}"
