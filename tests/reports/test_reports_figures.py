"""The contract of every figure, found by its folder, and the numbers behind some."""

from __future__ import annotations

import pytest
from fake_study import PRETRAIN_H
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from reports.colours import ROUTE_COLOURS, label_marker, route_colour, tint
from reports.figures import accuracy_macs, accuracy_per_hour, anytime, cost_by_phase, discover
from reports.frames import load_frames

FIGURES = discover()


@pytest.mark.parametrize("name", FIGURES)
def test_contract(frames, name):
    figure, canvas = FIGURES[name], Figure(layout="constrained")
    data = figure.data(frames)
    assert figure.TITLE
    assert len(data) > 0
    assert "n = 3" in figure.caption(data)
    figure.draw(data, canvas)
    assert canvas.axes
    labels = [text for axes in canvas.axes for text in (axes.get_xlabel(), axes.get_ylabel()) if text]
    assert any(any(unit in label for unit in ("CPU core-hour", "MACs", "%")) for label in labels)


@pytest.mark.parametrize("name", FIGURES)
def test_no_data_is_an_empty_frame(make_study, name):
    assert FIGURES[name].data(load_frames(make_study(until_h=0))).empty


def test_discovery_skips_shared_parts():
    assert set(FIGURES) >= {"anytime", "cost_by_phase", "accuracy_macs", "accuracy_per_hour"}
    assert not [name for name in FIGURES if name.startswith("_")]


def test_phases_by_hand(frames):
    data = cost_by_phase.data(frames).set_index(["target", "route", "phase", "replicate"])
    pretrain = data.loc[(800_000, "prune", "pretrain", 1)]
    assert pretrain["productive_h"] == pytest.approx(0.8 * PRETRAIN_H)
    assert pretrain["overhead_h"] == pytest.approx(0.2 * PRETRAIN_H)
    retrain = data.loc[(500_000, "scratch", "retrain", 1)]
    assert (retrain["lost_h"], retrain["allocated_h"]) == (pytest.approx(0.09), pytest.approx(0.8))


def test_anytime_data_ends_at_the_total_cost(frames):
    data = anytime.data(frames)
    curve = data[(data["target"] == 500_000) & (data["route"] == "prune") & (data["replicate"] == 0)]
    assert curve[curve["policy"] == "full"]["cost_h"].max() == pytest.approx(PRETRAIN_H + 0.21)
    assert curve[curve["policy"] == "free"]["cost_h"].max() == pytest.approx(0.21)


def test_thick_line_is_the_mean_cost_to_reach(frames):
    data = anytime.data(frames)
    rows = data[(data["target"] == 500_000) & (data["route"] == "search") & (data["policy"] == "full")]
    mean = anytime._mean_cost_to_reach(rows)
    assert mean.loc[0.86] == pytest.approx(0.96 + 0.18)


def test_other_figures_data(frames):
    assert len(accuracy_macs.data(frames)) == 24
    # only the prune route has a parent, so only its networks have a second value
    per_hour = accuracy_per_hour.data(frames)
    assert set(per_hour[per_hour["policy"] == "free"]["label"]) == {"prune"}
    assert len(per_hour) == 24 + 6


def test_colours_are_one_per_route():
    assert len(set(ROUTE_COLOURS.values())) == 3
    assert route_colour("search_then_prune") == route_colour("search_then_prune")
    assert route_colour("search_then_prune") not in ROUTE_COLOURS.values()
    assert label_marker("search_then_prune") == "D"
    assert tint("#000000", 0.0) == (1.0, 1.0, 1.0)
    assert tint("#D55E00", 1.0) == pytest.approx(to_rgb("#D55E00"))
