"""The contract of every figure, found by its folder, and the numbers behind some."""

from __future__ import annotations

import pandas as pd
import pytest
from fake_study import PRETRAIN_H
from full_study import CONTROLS, DENSE, FEW
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from reports.data.frames import load_frames
from reports.figures import (
    accuracy_macs,
    accuracy_per_hour,
    anytime,
    cost_by_phase,
    discover,
    is_optional,
    predictor,
    pruning_methods,
    sensitivity,
    sparsity_by_role,
    speed_up,
)
from reports.words.colours import ROUTE_COLOURS, label_marker, route_colour, tint

FIGURES = discover()


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("is_full", [False, True])
def test_contract(frames, full_frames, name, is_full):
    figure, canvas = FIGURES[name], Figure(layout="constrained")
    data = figure.data(full_frames if is_full else frames)
    if is_optional(figure) and not is_full:
        assert data.empty
        return
    assert figure.TITLE
    assert len(data) > 0
    assert "n = 3" in figure.caption(data) or "n = 6" in figure.caption(data)
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
    assert len(set(ROUTE_COLOURS.values())) == len(ROUTE_COLOURS) == 5
    assert route_colour("of_a_plug_in") == route_colour("of_a_plug_in")
    assert route_colour("of_a_plug_in") not in ROUTE_COLOURS.values()
    assert label_marker("of_a_plug_in") == "D"
    assert tint("#000000", 0.0) == (1.0, 1.0, 1.0)
    assert tint("#D55E00", 1.0) == pytest.approx(to_rgb("#D55E00"))


def test_single_methods_have_their_own_figure(full_frames):
    labels = {"search", "prune", "supernet", "search_then_prune", *CONTROLS}
    assert set(accuracy_macs.data(full_frames)["label"]) == labels
    assert set(accuracy_per_hour.data(full_frames)["label"]) == labels
    shown = pruning_methods.data(full_frames)
    assert set(shown["label"]) == {*(f"prune:{method}" for method in FEW), *CONTROLS}
    assert shown["parent_top1"].iloc[0] == pytest.approx(DENSE - 0.01)
    assert "on the test split" in pruning_methods.caption(shown)


def test_without_a_test_of_the_parent_its_validation_is_shown_and_named(make_full_study):
    shown = pruning_methods.data(load_frames(make_full_study(without=("analysis", "search"), replicates=1)))
    assert shown["parent_top1"].iloc[0] == pytest.approx(DENSE, abs=0.003)
    assert "on the validation split" in pruning_methods.caption(shown)


def test_further_routes_have_a_curve_and_a_bar_and_the_analysis_has_none(full_frames):
    assert set(anytime.data(full_frames)["route"]) == {"search", "prune", "supernet", "search_then_prune"}
    bars = cost_by_phase.data(full_frames)
    assert set(bars["route"]) == {"search", "prune", "supernet", "search_then_prune", "scratch"}
    supernet = bars.set_index(["target", "route", "phase", "replicate"]).loc[(500_000, "supernet", "supernet", 0)]
    assert supernet["allocated_h"] == pytest.approx(0.5)


def test_methods_are_ordered_by_how_they_do_at_every_target():
    rows = [("a", 1, 0.5), ("b", 1, 0.7), ("a", 2, 0.8), ("b", 2, 0.7), ("c", 2, 0.9)]
    data = pd.DataFrame(rows, columns=["label", "target", "test_top1"])
    # from the targets' means 0.6 and 0.8: a -0.1 and 0, b 0.1 and -0.1, c 0.1
    assert list(pruning_methods._worst_first(data)) == ["a", "b", "c"]


def test_bars_are_one_shot_methods_with_zeros(full_frames):
    data = sparsity_by_role.data(full_frames)
    assert set(data["method"]) == {"global_magnitude", "global_lamp", "uniform_magnitude"}
    assert "squeeze-excite layers, global magnitude at ≤ 0.5M MACs: 9" in sparsity_by_role.caption(data)


def test_scans_are_read_from_the_analysis(full_frames):
    data = sensitivity.data(full_frames)
    assert len(data) == 3 * 6 * (7 + 2)
    assert set(data.loc[data["scan"] == "whole", "part"]) == {"global_magnitude", "uniform_magnitude"}
    assert "5,000 images" in sensitivity.caption(data)


def test_a_scan_of_one_kind_has_one_panel(full_frames):
    data = sensitivity.data(full_frames)
    canvas = Figure(layout="constrained")
    sensitivity.draw(data[data["scan"] == "whole"], canvas)
    assert len(canvas.axes) == 1


def test_predictions_are_of_search_candidates_only(full_frames):
    data = predictor.data(full_frames)
    assert len(data) == 3 * (6 + 3)  # of 8 and of 4 candidates; the retraining's prediction is of another thing
    assert "Kendall's tau" in predictor.caption(data)
    assert "Hollow: 15 candidates" in predictor.caption(data)


def test_latency_is_against_the_parents_macs(full_frames):
    data = speed_up.data(full_frames).set_index(["label", "target", "replicate"])
    assert data.loc[("search", 500_000, 0), "macs_ratio"] == pytest.approx(0.475)
    assert "batch 1, 1 thread, cpu, eager" in speed_up.caption(data.reset_index())
