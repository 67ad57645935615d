"""The bar of a break-even ends where one of the two is shown to be cheaper, and at the end of the axis where neither is."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from reports.figures import break_even
from reports.figures.break_even import AXIS, COLUMNS, PRICE, TARGETS

NAN = float("nan")


@pytest.mark.parametrize("varied", [PRICE, TARGETS])
@pytest.mark.parametrize(
    ("low", "high", "bar"),
    [(0.5, 2.0, True), (NAN, 2.0, True), (1.5, NAN, True), (NAN, NAN, False), (0.0, 2.0, True)],
)
def test_where_it_ends(varied, low, high, bar):
    rows = [
        [500, "search", "search", True, varied, value, 2.0, 1.5, 3.0, 1.8, low, high, 1.0, 3, "gpu_hours"]
        for value in (1.0, 2.0)
    ]
    panel = Figure().subplots()
    panel.set_xscale("log")
    break_even._draw_contender(panel, pd.DataFrame(rows, columns=COLUMNS), "search", "search", varied)
    found = [
        segment for lines in panel.collections if hasattr(lines, "get_segments") for segment in lines.get_segments()
    ]
    assert len(found) == bar
    if bar:
        begin, end = AXIS[varied]
        ((left, _), (right, _)) = found[0].tolist()
        assert left == pytest.approx(begin if low != low else max(low, begin))
        assert right == pytest.approx(end if high != high else high)
