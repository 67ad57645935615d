"""The simulation of the verdict's operating characteristics: its functions, on few studies."""

import math

import numpy as np
import pytest

from benchmarks import verdict_calibration as calibration
from benchmarks import verdict_rules_1
from benchmarks.simulated_studies import Route, Scenario, simulated
from reports.compare.reach import Steps
from reports.compare.rule import Verdict


def cell(name, truth, n=3, num=60, seed=5):
    """The tallies (present rules, version 1) of a small cell."""
    scenario = next(one for one in calibration.SCENARIOS if one.name == name)
    own = calibration.true_ratio(scenario, 0)
    studies = calibration.priced(simulated(scenario, num, n, np.random.default_rng(seed)), truth / own)
    kind = calibration.looked_at_cell if name == calibration.LOOKS else calibration.planned_cell
    return kind(studies, n, (truth, truth))


@pytest.fixture(autouse=True)
def small_population(monkeypatch):
    monkeypatch.setattr(calibration, "POPULATION", 2000)


def test_the_true_ratio_scales_with_the_price_of_search():
    scenario = Scenario("full", num_candidates=24)
    assert calibration.true_ratio(scenario, 0) > 1.5 * calibration.true_ratio(Scenario("full"), 0)


def test_a_route_at_chance_never_wins():
    new, old = cell("collapsed", 2.0)
    assert set(new.verdicts) == {"not_comparable"}
    assert old.verdicts["base"] + old.verdicts["challenger"] > 0.5 * sum(old.verdicts.values())


def test_four_times_the_cost_is_seen_by_both():
    for tally in cell("full", 4.0):
        assert tally.row()["shown_rightly"] > 0.9
        assert tally.row()["shown_falsely"] == 0


def test_what_a_budget_cut_short_is_refused_or_censored_and_not_dropped():
    new, old = cell("budget", 2.0, num=150)
    assert new.verdicts["not_reached"] > 0
    assert abs(math.log(float(new.row()["bias"]))) < abs(math.log(float(old.row()["bias"])))


def test_looks_are_corrected():
    new, old = cell("looks", 1.0, n=8, num=150)
    assert new.row()["shown_falsely"] < old.row()["shown_falsely"]


def test_the_bound_of_a_share():
    # none of 59: 0.05 = (1 - p)^59, so p = 0.0495
    assert calibration.upper_bound(0, 59) == pytest.approx(0.0495, abs=1e-4)


def test_version_1_by_hand():
    """The best are 0.8 (pruning) and 0.9 (search), so q = 0.8, reached at 2 and at 6: ln 3 in each replicate."""
    shape = (1, 2, 1)
    none = Steps(*(np.zeros(shape) for _ in range(4)))
    two = np.ones((1, 2), bool)
    prune = Route(none, np.array([[[1.0, 2.0]] * 2]), np.array([[[0.7, 0.8]] * 2]), np.full((1, 2), 2.0), two)
    search = Route(none, np.array([[[3.0, 6.0]] * 2]), np.array([[[0.75, 0.9]] * 2]), np.full((1, 2), 6.0), two)
    logs = verdict_rules_1.log_ratios(prune, search)
    assert logs == pytest.approx(np.full((1, 2), math.log(3)))
    assert verdict_rules_1.judged(logs)[3] == ["base"]  # without a floor under the sd, the interval has no width


def test_contenders_at_one_price_are_seldom_called_the_cheapest():
    rows = list(calibration.contender_cells(60, [3]))
    assert [row["scenario"] for row in rows] == ["contenders_3", "contenders_5"]
    assert all(float(row["shown_falsely"]) < 0.15 for row in rows)


def test_a_winner_is_false_where_there_is_none_and_where_it_is_the_other():
    equal, search_dearer = (calibration.Tally(2, truth, truth) for truth in (1.0, 2.0))
    assert equal.is_false(Verdict.BASE) and equal.is_false(Verdict.CHALLENGER) and not equal.is_false(Verdict.TIE)
    assert search_dearer.is_false(Verdict.CHALLENGER) and not search_dearer.is_false(Verdict.BASE)
