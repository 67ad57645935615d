"""Light and dark drawings and the contenders' markers have colours that stand out, and contain nothing harmful."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from accounting.words.names import CONTROLS, MARKERS, ROUTES
from reports.figures import discover
from reports.page.html import PAPER_COLOURS
from reports.page.marks import SHAPES, mark_of
from reports.page.narrow import NARROW_IN, NarrowCanvas
from reports.page.theme import DARK_PAPER, dark, inline_svg, palette
from reports.page.wide import WideCanvas
from reports.words.colours import LABEL_MARKERS, ROUTE_COLOURS, look_of

LABELS = [*ROUTES, *(control.label for control in CONTROLS)]
DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" viewBox="0 0 9 9">'
    "<metadata>made by</metadata><style>* { fill: red }</style><script>alert(1)</script>"
    '<defs><clipPath id="p1"><rect width="9" height="9"/></clipPath></defs>'
    '<g id="axes_1" onload="alert(2)" clip-path="url(#p1)"><use xlink:href="#p1" style="fill: #D55E00"/>'
    "<text>a &lt;b&gt; &amp; c</text></g></svg>"
)


def luminance(colour):
    """Relative luminance as defined in WCAG 2.2."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


def contrast(one, two):
    light, dim = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("colour", sorted(set(ROUTE_COLOURS.values())))
def test_contenders_stand_out_on_dark_paper(colour):
    assert contrast(dark(colour), DARK_PAPER) >= 4.5


def test_greys_are_turned_over():
    assert dark("#ffffff") == DARK_PAPER
    assert contrast(dark("#222222"), DARK_PAPER) > 10
    assert luminance(dark("#dddddd")) < luminance(dark("#888888")) < luminance(dark("#222222"))


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize("name", ["ink", "soft", "link"])
def test_words_of_the_page_can_be_read(name, scheme):
    for behind in ("paper", "hover", "warn"):
        assert contrast(PAPER_COLOURS[name][scheme], PAPER_COLOURS[behind][scheme]) >= 4.5


def test_a_palette_has_each_colour_once():
    assert palette(["#D55E00", "#d55e00"], is_dark=False) == "--cd55e00: #d55e00;"


def test_a_drawing_in_a_page_is_themed_prefixed_and_harmless():
    text, colours = inline_svg(DRAWING, "w-name")
    assert colours == {"#d55e00"}
    assert 'href="#w-name-p1"' in text
    assert 'id="w-name-axes_1"' in text
    assert 'clip-path="url(#w-name-p1)"' in text
    assert "fill: var(--cd55e00)" in text
    assert "a &lt;b&gt; &amp; c" in text
    for gone in ("script", "onload", "metadata", "fill: red", "xlink", 'width="9pt"'):
        assert gone not in text


@pytest.mark.parametrize("label", LABELS)
def test_a_mark_is_that_of_the_figures(label):
    mark, look = mark_of(label), look_of(label)
    assert mark.colour == look.colour.lower()
    assert mark.path == SHAPES[look.marker]
    assert mark.is_hollow == look.is_hollow


def test_every_marker_has_a_shape():
    assert set(LABEL_MARKERS.values()) <= set(MARKERS) <= set(SHAPES)


def test_a_single_method_looks_like_its_criterion_and_schedule():
    one, two = look_of("prune:global_lamp"), look_of("prune:global_lamp+gradual")
    assert one.colour == two.colour != look_of("prune:global_magnitude").colour
    assert one.marker != two.marker
    assert look_of("prune:channels_magnitude").is_hollow
    assert look_of("search_then_prune:global_lamp").colour == look_of("search_then_prune").colour


@pytest.mark.parametrize("name", sorted(discover()))
def test_a_figure_on_a_phone_has_its_panels_below_each_other(full_frames, name):
    figure, wide, narrow = discover()[name], Figure(), NarrowCanvas()
    data = figure.data(full_frames)
    if data.empty:
        assert name in ("planned_actual", "distillation"), "the study was never planned, and had no teacher"
        return
    figure.draw(data, wide)
    figure.draw(data, narrow)
    assert narrow.get_size_inches()[0] <= NARROW_IN
    assert len(narrow.axes) == len(wide.axes)
    assert narrow.get_size_inches()[1] <= 4 * wide.get_size_inches()[1]


@pytest.mark.parametrize(("count", "columns", "lines"), [(3, 3, 1), (4, 2, 2), (5, 3, 2), (6, 3, 2), (7, 3, 3)])
def test_panels_side_by_side_are_broken_into_rows_of_three_at_most(count, columns, lines):
    canvas = WideCanvas()
    canvas.set_size_inches(1 + 2 * count, 3)
    panels = canvas.subplots(2, count, sharey=True, squeeze=False)
    panels[0][0].set_ylabel("how much")
    canvas.label_rows()
    assert panels.shape == (2, count)
    assert len(set(panels.flat)) == len(canvas.axes) == 2 * count
    assert tuple(canvas.get_size_inches()) == pytest.approx(((1 + 2 * count) * columns / count, 3 * lines))
    spans = [panel.get_subplotspec() for panel in panels.flat]
    places = [(span.rowspan.start, span.colspan.start) for span in spans]
    assert places == [(row * lines + at // columns, at % columns) for row in range(2) for at in range(count)]
    labelled = [panel.get_subplotspec().rowspan.start for panel in panels.flat if panel.get_ylabel()]
    assert labelled == list(range(lines)), "each row of the first line of panels, and none of the second's"


@pytest.mark.slow
def test_figures_of_many_targets_stay_as_wide_as_those_of_three(full_frames):
    drawn = {name: (figure, figure.data(full_frames)) for name, figure in discover().items()}
    of_targets = {name: found for name, found in drawn.items() if "target" in found[1].columns and not found[1].empty}
    assert {"anytime", "accuracy_per_hour", "pruning_methods", "ratio_by_accuracy"} <= of_targets.keys()
    for name, (figure, data) in of_targets.items():
        few, many = ([10**5 * (place + 1) for place in range(count)] for count in (3, 6))
        width = {}
        for targets in (few, many):
            canvas = WideCanvas()
            figure.draw(
                pd.concat([data[data["target"] == data["target"].iloc[0]].assign(target=t) for t in targets]), canvas
            )
            width[len(targets)] = canvas.get_size_inches()[0]
        assert width[6] <= width[3] + 0.01, name
