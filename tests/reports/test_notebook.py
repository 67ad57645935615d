"""In a notebook, `load` returns documented frames, and every figure can be drawn into the user's own axes."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import reports
from reports import draw, load
from reports.figures import list_figures

DOCUMENT = Path(__file__).parents[2] / "docs" / "frames.md"
MANY_PANELS = {
    "accuracy_per_hour", "anytime", "break_even", "cost_by_phase", "pruning_methods", "ratio_by_accuracy", "sensitivity",
    "sparsity_by_layer", "sparsity_by_role",
}  # fmt: skip
WITHOUT_DATA = {"planned_actual", "distillation"}
"""The figures without data in the fake study, which was never planned."""


@pytest.fixture(autouse=True)
def agg():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def test_load_takes_a_folder_or_its_name(full_study):
    assert load(full_study).info.name == load(str(full_study)).info.name == "fake"


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'plot'"):
        _ = reports.plot


@pytest.mark.parametrize("name", sorted(set(list_figures()) - WITHOUT_DATA))
def test_every_figure_takes_an_ax(name, full_study, full_frames):
    canvas, (mine, other) = plt.subplots(1, 2, layout="constrained", figsize=(12, 5))
    drawn_in = draw(name, full_frames, ax=mine)
    assert (drawn_in is not canvas) == (name in MANY_PANELS)
    panels = [mine] if drawn_in is canvas else list(drawn_in.axes)
    assert any(panel.has_data() for panel in panels)
    assert not other.has_data(), "nothing else is touched"
    assert not canvas.texts and not canvas.legends, "nor is the rest of the canvas"
    canvas.canvas.draw()
    left = mine.get_position() if drawn_in is canvas else drawn_in.bbox.transformed(canvas.transFigure.inverted())
    assert left.x1 <= 0.5


def test_without_an_ax_a_figure_has_a_canvas_of_its_own(full_frames):
    canvas = draw("anytime", full_frames)
    assert len(canvas.axes) > 1


def test_what_cannot_be_drawn_is_said(full_frames, make_study):
    with pytest.raises(ValueError, match=r"'anytim' is not a figure; there are accuracy_macs, "):
        draw("anytim", full_frames)
    with pytest.raises(ValueError, match="has not measured it yet"):
        draw("predictor", load(make_study(routes=("prune",))))
    canvas = plt.figure()
    with pytest.raises(ValueError, match="ax is not a subplot"):
        draw("anytime", full_frames, ax=canvas.add_axes((0, 0, 1, 1)))


def documented():
    """For each frame, the columns that the document explains."""
    sections = re.split(r"^## `(\w+)`.*$", DOCUMENT.read_text(encoding="utf-8"), flags=re.M)[1:]
    return {
        name: re.findall(r"^\| `([^`]+)` \| [^|]+ \| [^|]{3,} \|$", text, re.M)
        for name, text in zip(sections[::2], sections[1::2], strict=True)
    }


def test_every_column_of_every_frame_is_documented(full_frames):
    values = {name: getattr(full_frames, name) for name in dir(full_frames) if not name.startswith("_")}
    frames = {name: list(value.columns) for name, value in values.items() if isinstance(value, pd.DataFrame)}
    assert documented() == frames
