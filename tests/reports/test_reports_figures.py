"""The contract of every figure, discovered from the folder, and the numbers behind some of them."""

from __future__ import annotations

import re
from dataclasses import replace

import matplotlib as mpl
import pandas as pd
import pytest
from fake_study import PRETRAIN_H
from full_study import CONTROLS, DENSE, FEW
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from accounting.study.folder import StudyFolder
from accounting.study.plans import PlannedStep, StoredPlan, store_plan
from reports.answers.find import all_answers
from reports.compare.crossover import crossovers
from reports.data.frames import load_frames
from reports.figures import (
    accuracy_macs,
    accuracy_per_hour,
    alternative_text,
    anytime,
    break_even,
    cost_by_phase,
    discover,
    is_optional,
    planned_actual,
    predictor,
    pruning_methods,
    ratio_by_accuracy,
    ratio_by_target,
    schedule,
    sensitivity,
    sparsity_by_role,
    speed_up,
)
from reports.figures._axes import ratio_limits
from reports.page.narrow import NarrowCanvas
from reports.page.render import render_figures
from reports.words.colours import ROUTE_COLOURS, label_marker, route_colour, tint

FIGURES = discover()
WITH_DATA = {"break_even", "ratio_by_accuracy", "ratio_by_target", "schedule"}
"""Optional figures that have data in any study with networks of both routes."""
WITHOUT_DATA = {"planned_actual", "distillation"}
"""Figures without data in the fake studies, which were never planned and had no teacher."""


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("is_full", [False, True])
def test_contract(frames, full_frames, name, is_full):
    figure, canvas = FIGURES[name], Figure(layout="constrained")
    data = figure.data(full_frames if is_full else frames)
    if is_optional(figure) and name not in WITH_DATA and (not is_full or name in WITHOUT_DATA):
        assert data.empty
        return
    assert figure.TITLE
    assert len(data) > 0, f"{name} has no data; say OPTIONAL = True if not every study measures it"
    assert re.search(r"n = [1-9]", figure.caption(data)), f"the caption of {name} does not say n"
    assert len(alternative_text(figure, data)) > 40
    figure.draw(data, canvas)
    assert canvas.axes
    labels = [text for axes in canvas.axes for text in (axes.get_xlabel(), axes.get_ylabel()) if text]
    units = ("CPU core-hour", "MACs", "%", "hours", "minutes", "cost / cost")
    assert any(unit in label for unit in units for label in labels), (
        f"no axis of {name} names a unit of {units}: {labels}"
    )


@pytest.mark.parametrize("name", FIGURES)
def test_no_data_is_an_empty_frame(make_study, name):
    data = FIGURES[name].data(load_frames(make_study(until_h=0)))
    assert data.empty, f"{name}.data has rows for a study whose first attempts have just begun"


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


def test_the_curve_ends_at_the_total_cost(frames):
    data = anytime.data(frames)
    ends = data[(data["target"] == 500_000) & (data["label"] == "prune") & (data["kind"] == anytime.FINAL)]
    ends = ends.set_index("policy")
    assert ends.loc["full", "cost_h"] == pytest.approx(PRETRAIN_H + 0.21)
    assert ends.loc["free", "cost_h"] == pytest.approx(0.21)
    assert ends.loc["full", "val_top1"] == pytest.approx(0.85)


def test_the_mark_at_a_star_is_what_the_verdict_compares(frames):
    data = anytime.data(frames)
    common = data[(data["kind"] == anytime.COMMON) & (data["policy"] == "full")].set_index(["target", "label"])
    for given in all_answers(frames):
        costs = given.headline.headline
        for label in ("prune", "search"):
            row = common.loc[(given.question.target, label)]
            assert row["val_top1"] == costs.level
            assert (row["num_reached"], row["n"]) == (costs.num_reached[label], costs.num_entered[label])
    # pruning's three replicates are all alike, so the geometric mean is the mean
    assert common.loc[(500_000, "prune"), "cost_h"] == pytest.approx(PRETRAIN_H + 0.1 + 0.08 * 2 / 3)


def test_a_curve_rises_and_says_who_is_left_out(frames):
    data = anytime.data(frames)
    curve = data[(data["kind"] == anytime.CURVE) & (data["policy"] == "full") & (data["target"] == 500_000)]
    for _, rows in curve.groupby("label"):
        known = rows.dropna(subset=["cost_h"])
        whole = known[known["num_reached"] == known["n"]]
        assert whole["cost_h"].is_monotonic_increasing
        assert rows["num_reached"].is_monotonic_decreasing
    family = curve[curve["label"] == "scratch_family"]
    assert family["num_reached"].iloc[-1] == 0, "it ends at 0.80, and the axis at 0.86"


def test_the_ratio_at_a_star_is_that_of_the_verdict(frames):
    data = ratio_by_accuracy.data(frames)
    at = data[(data["val_top1"] == data["common_val_top1"]) & data["is_headline"]].set_index("target")["ratio"]
    for given in all_answers(frames):
        assert at.loc[given.question.target] == pytest.approx(given.headline.headline.cost_ratio.value)


def test_the_ratio_along_the_targets_needs_two_of_them(frames, make_study):
    data = ratio_by_target.data(frames)
    assert set(data["label"]) >= {"search"}
    assert "prune" not in set(data["label"])
    assert "No line crosses 1" in ratio_by_target.caption(data)
    assert ratio_by_target.data(load_frames(make_study(targets=(500_000,)))).empty


def test_crossings_by_hand():
    # in logarithms: from 1/2 to 2 halfway; from 2 to 8 no crossing; from 8 to 1/2 three quarters of the way
    assert crossovers([(100, 0.5), (400, 2.0), (1600, 8.0), (25600, 0.5)]) == pytest.approx([200, 12800])
    assert crossovers([(100, 0.5)]) == []


def test_the_crossing_is_drawn_and_said(frames):
    data = ratio_by_target.data(frames)
    data = data[data["is_headline"]].assign(ratio=[0.5, 2.0], ratio_low=[0.4, 1.5], ratio_high=[0.7, 2.5])
    assert "search and prune cost the same at about 0.632M MACs" in ratio_by_target.caption(data)
    canvas = Figure()
    ratio_by_target.draw(data, canvas)
    assert [text.get_text() for text in canvas.axes[0].texts] == [" 0.632M"]


def test_an_axis_of_ratios_holds_1_and_every_interval_that_says_something():
    low, high = ratio_limits([0.25, 0.5], [0.1, 0.9])
    assert low < 0.1 < 1 < high < 1.5
    low, high = ratio_limits([0.25], [3.6e-17, 1.1e18])
    # limits 30 times beyond the lowest ratio and beyond 1: a span of 3,600, plus a margin of 12 % on both sides
    assert (low, high) == pytest.approx((0.25 / 30 / 3600**0.12, 30 * 3600**0.12))


def test_no_bar_along_the_targets_is_cut_without_an_arrow(frames):
    data = ratio_by_target.data(frames)
    data = data[data["is_headline"]].assign(ratio=[0.2, 0.2], ratio_low=[0.05, 0.1], ratio_high=[0.8, 1e6])
    canvas = Figure()
    ratio_by_target.draw(data, canvas)
    low, high = canvas.axes[0].get_ylim()
    assert low < 0.05
    assert 0.8 < high < 1e6
    arrows = [line for line in canvas.axes[0].lines if line.get_marker() in ("^", "v") and len(line.get_xdata())]
    assert [(line.get_marker(), list(line.get_ydata())) for line in arrows] == [("^", [high])]
    assert "An arrow: the interval ends beyond the axis" in ratio_by_target.caption(data)
    assert "An arrow" not in ratio_by_target.caption(data.assign(ratio_high=0.8))


def test_a_phase_is_named_in_its_bar_only_where_it_has_room(full_frames):
    data, narrow = cost_by_phase.data(full_frames), NarrowCanvas()
    cost_by_phase.draw(data, narrow)
    narrow.draw_without_rendering()
    for panel in narrow.axes:
        names = [text for text in panel.texts if text.get_ha() == "center"]
        assert names
        for text in names:
            box = text.get_window_extent()
            assert panel.get_window_extent().x0 <= box.x0, text.get_text()


def test_break_even_is_where_the_drawn_ratio_crosses_1(frames):
    """Pruning takes 3.42 + 0.15 h, search 0.5 to 1.6 h: they break even at about a quarter of that pretraining."""
    data = break_even.data(frames)
    main = data[data["is_headline"] & (data["target"] == 500_000)]
    price = main[main["varied"] == break_even.PRICE].sort_values("value")
    even = price["break_even"].iloc[0]
    assert 0.2 < even < 0.4
    assert (price.loc[price["value"] < even, "ratio"] > 1).all()
    assert (price.loc[price["value"] > even, "ratio"] < 1).all()
    assert price["break_even_low"].iloc[0] < even < price["break_even_high"].iloc[0]
    at_1 = main[(main["varied"] == break_even.TARGETS) & (main["value"] == 1.0)]["ratio"].iloc[0]
    (answer, _) = all_answers(frames)
    assert at_1 == pytest.approx(answer.headline.headline.cost_ratio.value)
    assert main["parent_h"].tolist() == pytest.approx([PRETRAIN_H] * len(main))


def test_the_schedule_has_each_attempt_on_a_lane_of_its_own(frames):
    data = schedule.data(frames)
    held = (data["end_h"] - data["begin_h"]).sum()
    assert held == pytest.approx(sum(a.end_t - a.begin_t for a in frames.view.attempts) / 3600)
    assert data["lane"].nunique() == 3, "three routes ran side by side"
    for _, lane in data.sort_values("begin_h").groupby("lane"):
        assert (lane["begin_h"].to_numpy()[1:] >= lane["end_h"].to_numpy()[:-1] - 1e-9).all()
    in_vain = data[~data["kept"]]
    assert list(in_vain["route"]) == ["scratch"]
    assert (in_vain["end_h"] - in_vain["begin_h"]).iloc[0] == pytest.approx(0.1)


def test_many_attempts_are_drawn_as_few(frames):
    """The drawing does not grow with the number of attempts: attempts that follow closely are merged into one."""
    one = frames.view.attempts[0]
    length = (frames.view.sessions[0].end_t - one.begin_t) / 20_000
    many = [replace(one, attempt=str(i), begin_t=one.begin_t + i * length, end_t=one.begin_t + (i + 1) * length)
            for i in range(20_000)]  # fmt: skip
    assert len(schedule.data(replace(frames, view=replace(frames.view, attempts=tuple(many))))) == 1


def test_planned_and_actual_by_hand(make_study):
    folder = make_study(routes=("prune",), targets=(500_000,), replicates=1)
    steps = (PlannedStep("prune", "pretrain", None, 0, jobs=1, hours=3.0),
             PlannedStep("prune", "finetune", 500_000, 0, jobs=1, hours=0.4))  # fmt: skip
    plan = StoredPlan(1, "s1", 0.0, "cpu", 1e9, 1.0, False, steps)
    store_plan(StudyFolder(folder), plan)
    data = planned_actual.data(load_frames(folder))
    rows = data.set_index("phase")[["planned_h", "actual_h"]]
    assert rows.loc["pretrain"].tolist() == pytest.approx([3.0, PRETRAIN_H])
    assert rows.loc["finetune"].tolist() == pytest.approx([0.4, 0.2])
    assert rows.loc["evaluate"].tolist() == pytest.approx([0.0, 0.01])
    assert "3.63 of 3.40 planned, 1.07 times the plan (n = 3 jobs done)" in planned_actual.caption(data)
    canvas = Figure()
    planned_actual.draw(data, canvas)
    assert [text.get_text() for text in canvas.axes[0].texts] == ["not planned", "0.50×", "1.14×"]


def test_money_stands_behind_the_hours_where_there_are_prices(make_study):
    folder = make_study(routes=("prune",), targets=(500_000,), replicates=2)
    assert "money" not in cost_by_phase.data(load_frames(folder))
    prices = "devices: {cpu_core: {price_per_hour: 0.5, currency: EUR, date: '2026-11-01', source: a test}}"
    (folder / "prices.yaml").write_text(prices)
    data = cost_by_phase.data(load_frames(folder))
    assert data["money"].sum() == pytest.approx(0.5 * data["allocated_h"].sum())
    assert set(data["currency"]) == {"EUR"}
    canvas = Figure()
    cost_by_phase.draw(data, canvas)
    assert "3.63  1.81 EUR" in [text.get_text() for text in canvas.axes[0].texts]


def test_other_figures_data(frames):
    assert len(accuracy_macs.data(frames)) == 24
    # only the prune route has a parent, so only its networks have a second value
    per_hour = accuracy_per_hour.data(frames)
    assert set(per_hour[per_hour["policy"] == "free"]["label"]) == {"prune"}
    assert len(per_hour) == 24 + 6
    assert set(per_hour["test_top1"]) <= set(accuracy_macs.data(frames)["test_top1"])


def test_colours_are_one_per_route():
    assert len(set(ROUTE_COLOURS.values())) == len(ROUTE_COLOURS) == 5
    assert route_colour("of_a_plug_in") == route_colour("of_a_plug_in")
    assert route_colour("of_a_plug_in") not in ROUTE_COLOURS.values()
    assert label_marker("of_a_plug_in") == "D"
    assert tint("#000000", 0.0) == (1.0, 1.0, 1.0)
    assert tint("#D55E00", 1.0) == pytest.approx(to_rgb("#D55E00"))


def test_single_methods_have_their_own_figure(full_frames):
    labels = {"search", "prune", "supernet", "search_then_prune", *CONTROLS}
    assert set(accuracy_macs.data(full_frames)["label"]) == labels | {f"prune:{method}" for method in FEW}
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
    curves = anytime.data(full_frames)
    assert set(curves["route"]) == {"search", "prune", "supernet", "search_then_prune", "scratch"}
    assert set(curves["label"]) == {"search", "prune:global_magnitude", "supernet", "search_then_prune", *CONTROLS}
    bars = cost_by_phase.data(full_frames)
    assert set(bars["route"]) == {"search", "prune", "supernet", "search_then_prune", "scratch"}
    supernet = bars.set_index(["target", "route", "phase", "replicate"]).loc[(500_000, "supernet", "supernet", 0)]
    assert supernet["allocated_h"] == pytest.approx(0.5)


def test_methods_are_ordered_by_how_they_do_at_every_target():
    rows = [("a", 1, 0.5), ("b", 1, 0.7), ("a", 2, 0.8), ("b", 2, 0.7), ("c", 2, 0.9)]
    data = pd.DataFrame(rows, columns=["label", "target", "test_top1"])
    # relative to the targets' means 0.6 and 0.8: a -0.1 and 0, b 0.1 and -0.1, c 0.1
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
    assert len(data) == 3 * (6 + 3)  # from 8 and from 4 candidates; the retraining's prediction is about something else
    assert "Kendall's tau" in predictor.caption(data)
    assert "Hollow: 15 candidates" in predictor.caption(data)


def test_latency_is_against_the_parents_macs(full_frames):
    data = speed_up.data(full_frames).set_index(["label", "target", "replicate"])
    assert data.loc[("search", 500_000, 0), "macs_ratio"] == pytest.approx(0.475)
    assert "batch 1, 1 thread, cpu, eager" in speed_up.caption(data.reset_index())


@pytest.mark.slow
def test_a_matplotlibrc_changes_no_drawing(frames, tmp_path):
    """Otherwise TeX would be asked to set every word, and most machines do not have it."""
    plain, odd = tmp_path / "plain", tmp_path / "odd"
    before = render_figures(frames, plain)
    with mpl.rc_context({"text.usetex": True, "lines.linewidth": 9.0, "savefig.transparent": True, "font.size": 30.0}):
        assert render_figures(frames, odd) == before
    assert {p.name: p.read_bytes() for p in odd.iterdir()} == {p.name: p.read_bytes() for p in plain.iterdir()}
