"""The rule by which the quickstart's setting is chosen, on figures whose answer can be seen."""

import math

import pytest

from benchmarks.quickstart_pilots import SETTINGS, Measured, difference, judge, judge_study, rows
from harness.config.study import load_configs
from reports import load
from reports.compare.rule import Verdict
from reports.statistics import Estimate, ratio_interval


def contender(label, top1, cost):
    """Three replicates around a mean accuracy in points, and around a cost."""
    return Measured(
        label,
        {r: top1 + step for r, step in enumerate((-0.1, 0.0, 0.1))},
        {r: cost * (1 + step) for r, step in enumerate((-0.02, 0.0, 0.03))},
    )


def judged(prune, search, *controls, verdict=Verdict.BASE):
    ratio = ratio_interval(search.cost_h, prune.cost_h)
    return judge(verdict, ratio, (prune, search), list(controls))


CHEAP, DEAR = contender("prune", 86, 1.0), contender("search", 86, 2.0)


def test_a_control_that_costs_more_than_the_winner_leaves_a_setting_in():
    found = judged(CHEAP, DEAR, contender("shape", 86, 1.5))
    assert (found.failed, found.winner, found.control) == ((), "prune", "shape")


@pytest.mark.parametrize("swapped", [False, True])
def test_it_is_the_same_rule_whoever_wins(swapped):
    dear, cheap = contender("prune", 86, 2.0), contender("search", 86, 1.0)
    found = judged(dear, cheap, contender("shape", 86, 1.5), verdict=Verdict.CHALLENGER) if swapped else judged(
        CHEAP, DEAR, contender("shape", 86, 1.5)
    )  # fmt: skip
    assert found.failed == ()
    assert found.winner == ("search" if swapped else "prune")
    assert found.certainty == pytest.approx(judged(CHEAP, DEAR, contender("shape", 86, 1.5)).certainty)


def test_a_cheap_control_as_accurate_makes_both_needless():
    small = contender("small", 85.5, 0.3)
    assert judged(CHEAP, DEAR, small).failed == ("4: small makes both needless",)


def test_a_cheap_control_that_is_less_accurate_does_not():
    assert judged(CHEAP, DEAR, contender("small", 84.5, 0.3)).failed == ()


def test_costs_and_accuracies_alike():
    found = judged(CHEAP, contender("search", 86, 1.1), contender("shape", 86, 1.05))
    assert [why[0] for why in found.failed] == ["2", "3"]


def test_a_pair_that_differs_in_points_alone():
    found = judged(contender("prune", 86, 1.0), contender("search", 88, 1.1), contender("shape", 84, 1.0))
    assert (found.failed, found.winner) == ((), "search"), "the more accurate one, since costs do not decide"


@pytest.mark.parametrize("verdict", [Verdict.NOT_COMPARABLE, Verdict.NOT_REACHED, Verdict.NEITHER])
def test_what_cannot_be_judged(verdict):
    assert judged(CHEAP, DEAR, contender("shape", 86, 1.5), verdict=verdict).failed == (f"1: {verdict}",)


def test_near_chance():
    found = judged(contender("prune", 30, 1.0), contender("search", 86, 2.0), contender("shape", 86, 3.0))
    assert found.failed[0].startswith("1: ")


def test_a_replicate_that_did_not_reach_it_is_not_compared():
    late = Measured("late", {0: 80.0, 1: 80.0, 2: 80.0}, {0: 2.0, 1: 2.0, 2: math.inf})
    found = difference(CHEAP, late)
    assert found.ratio.n == 2
    assert found.points.n == 3


def test_without_an_interval_nothing_is_shown():
    one = Estimate(2.0, None, None, None, 1)
    found = judge(Verdict.BASE, one, (CHEAP, DEAR), [contender("shape", 86, 1.5)])
    assert "2: the pair is not shown to differ" in found.failed
    assert found.pair.certainty > 0, "of the accuracies"


def test_the_pilots_have_seeds_of_their_own():
    configs = load_configs(SETTINGS)
    assert {config.seed for config in configs} == {7000}
    assert {config.replicates for config in configs} == {3}
    assert len({config.name for config in configs}) == len(configs)


def test_a_finished_study_gives_a_row_for_each_contender_and_target(study):
    frames = load(study)
    found = rows(frames, judge_study(frames), {"seed": 0})
    assert {row["contender"] for row in found} >= {"prune", "search"}
    assert {row["target"] for row in found} == set(frames.info.targets)
    pruned = next(row for row in found if row["contender"] == "prune")
    assert float(pruned["over_prune"]) == 1
