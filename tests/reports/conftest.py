"""Fake studies, written once for all report tests; no test writes into them."""

from __future__ import annotations

import html

import pytest
from fake_study import build_study
from full_study import build_full_study
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports.data.frames import load_frames
from reports.figures import alternative_text
from reports.page import render


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """The complete study of `fake_study`: 2 targets, 3 replicates, all routes."""
    return build_study(tmp_path_factory.mktemp("complete"))


@pytest.fixture(scope="session")
def frames(study):
    return load_frames(study)


@pytest.fixture(scope="session")
def full_study(tmp_path_factory):
    """The study of `full_study`: every route and every optional measurement, 2 targets, 3 replicates, 5 methods."""
    return build_full_study(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="session")
def full_frames(full_study):
    return load_frames(full_study)


@pytest.fixture
def make_full_study(tmp_path):
    """A function that builds another full study; it takes the arguments of `build_full_study`."""

    def make(**options):
        return build_full_study(tmp_path, **options)

    return make


@pytest.fixture
def make_study(tmp_path):
    """A function that builds another study; it takes the arguments of `build_study`."""

    def make(**options):
        return build_study(tmp_path, **options)

    return make


@pytest.fixture
def sketched(monkeypatch):
    """Every figure of a page is drawn, but not saved; the page shows the drawing's text instead.

    Saving takes most of a page's time. Whole pages are tested in test_reports_page.py (`report`, `full_report`).
    """

    def sketch(name, figure, data, _folder):
        canvas = Figure(layout="constrained")
        figure.draw(data, canvas)
        words = html.escape(" ".join(text.get_text() for text in canvas.findobj(Text)))
        return render.Rendered(
            name, figure.TITLE, figure.caption(data), alternative_text(figure, data), f"<p>{words}</p>"
        )

    monkeypatch.setattr(render, "_drawn", sketch)
