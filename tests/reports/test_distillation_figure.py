"""The figure of pruning with and without a teacher, for delivered networks written by hand."""

from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from reports.figures import distillation


def network(label, replicate, top1, cost_h, target=500_000):
    return SimpleNamespace(
        target=target, label=label, route="prune", replicate=replicate, test_top1=top1, cost_h={"full": cost_h}
    )


@pytest.fixture
def frames():
    delivered = [
        network("prune:global_lamp", 0, 0.60, 2.0), network("prune:global_lamp+distilled", 0, 0.64, 3.0),
        network("prune:global_lamp", 1, 0.61, 2.0), network("prune:global_lamp+distilled", 1, 0.63, 3.0),
        network("prune:uniform_magnitude", 0, 0.5, 1.0), network("prune:global_taylor+distilled", 0, 0.5, 1.0),
        network("search", 0, 0.7, 4.0),
    ]  # fmt: skip
    return SimpleNamespace(delivered=delivered, unit="gpu_hours")


def test_only_what_was_delivered_both_ways_is_compared_by_replicate(frames):
    table = distillation.data(frames)
    assert list(table["label"]) == ["prune:global_lamp"] * 2
    assert list(table["distilled_test_top1"] - table["test_top1"]) == pytest.approx([0.04, 0.02])
    assert list(table["distilled_cost_h"] / table["cost_h"]) == pytest.approx([1.5, 1.5])


def test_it_is_drawn_with_n_and_unit(frames):
    table = distillation.data(frames)
    assert "n = 2 replicates" in distillation.caption(table)
    assert "GPU-hours" in distillation.caption(table)
    figure = Figure()
    distillation.draw(table, figure)
    accuracy, cost = figure.axes
    means = [line.get_xdata()[0] for line in accuracy.lines if line.get_marker() == "o"]
    assert means == pytest.approx([3.0])
    ratios = [line.get_xdata()[0] for line in cost.lines if line.get_marker() == "o"]
    assert ratios == pytest.approx([1.5])
    assert [tick.get_text() for tick in accuracy.get_yticklabels()] == ["global LAMP, ≤ 0.5M"]


def test_a_study_without_teachers_has_no_such_figure(frames):
    frames.delivered = [each for each in frames.delivered if "distilled" not in each.label]
    assert distillation.data(frames).empty
    assert distillation.OPTIONAL
