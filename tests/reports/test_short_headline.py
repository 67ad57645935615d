"""The headline of at most 25 words: every verdict with its number, interval and unit, and the cheapest of all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accounting.cost.shares import HEADLINE_POLICY
from reports.answers.pooled import Pooled
from reports.answers.short import MOST_WORDS, first_that_fits, short_headline, within_words
from reports.answers.whole import WholeAnswer
from reports.compare.guards import Guarded, Obstacle
from reports.compare.rule import Verdict
from reports.compare.values import CheapestOfAll, Instead, PooledCosts
from reports.data.frames import load_frames
from reports.statistics import Estimate


def ratio(value, low, high, n=3):
    return Estimate(value, low, high, 0.1, n)


SEARCH_DEAR, SEARCH_CHEAP = ratio(2.5, 1.6, 3.9), ratio(0.5, 0.4, 0.8)
NO_RATIO = Estimate(None, None, None, None, 3)


@pytest.fixture(scope="module")
def answers(frames):
    return WholeAnswer(frames).answers


def headline(answers, costs, cheapest=None, instead=()):
    """The headline of a study with these costs, pooled and at each of its targets."""
    changed = []
    for given in answers:
        main = replace(given.headline.headline, instead=tuple(instead))
        compared = replace(given.headline, by_policy={**given.headline.by_policy, HEADLINE_POLICY: main})
        changed.append(replace(given, headline=compared, cheapest={HEADLINE_POLICY: cheapest}))
    said = short_headline(Pooled("search", {HEADLINE_POLICY: costs}), "gpu_hours", changed)
    assert len(said.split()) <= MOST_WORDS
    return said


def test_the_cheaper_one_and_the_cheapest_of_all(answers):
    best = CheapestOfAll("scratch_family", ratio(3.6, 2.2, 5.9), (), 3)
    said = headline(answers, PooledCosts(Verdict.BASE, SEARCH_DEAR, 2), best)
    assert said == (
        "Search cost 2.50× the GPU-hours of pruning at equal accuracy (95 % interval 1.60–3.90); "
        "cheapest of all: small network trained directly."
    )


def test_the_cheapest_is_named_where_a_provisional_claim_leaves_few_words(answers):
    best = CheapestOfAll("scratch_family", Estimate(4.0, None, None, None, 1), ("prune",), 3)
    one = PooledCosts(Verdict.INSUFFICIENT_EVIDENCE, Estimate(2.0, None, None, None, 1), 2)
    assert headline(answers, one, best) == (
        "Provisional, not settled: search cost 2.00× the GPU-hours of pruning at equal accuracy (n = 1, no interval); "
        "lowest cost seen: small network trained directly."
    )


def test_the_cheapest_is_named_where_costs_are_not_comparable(answers):
    costs = PooledCosts(Verdict.NOT_COMPARABLE, NO_RATIO, 0, Guarded(Obstacle.APART, None, 0.1, 0.05))
    said = headline(answers, costs, CheapestOfAll("search", SEARCH_CHEAP, ("prune",), 3))
    assert said.endswith("; lowest cost seen: search.")


def test_the_ratio_is_said_the_way_round_that_is_above_1(answers):
    said = headline(answers, PooledCosts(Verdict.CHALLENGER, SEARCH_CHEAP, 2))
    assert said == "Pruning cost 2.00× the GPU-hours of search at equal accuracy (95 % interval 1.25–2.50)."


def test_what_is_not_shown_to_be_the_cheapest_is_not_called_so(answers):
    best = CheapestOfAll("search", SEARCH_CHEAP, ("prune",), 3)
    said = headline(answers, PooledCosts(Verdict.INSUFFICIENT_EVIDENCE, SEARCH_CHEAP, 2), best)
    assert said.startswith("Not settled: pruning cost 2.00×")
    assert said.endswith("; lowest cost seen: search.")


def test_a_tie(answers):
    said = headline(answers, PooledCosts(Verdict.TIE, ratio(1.02, 0.9, 1.1), 2))
    assert said.startswith("A tie: search cost 1.02×")


def test_neither_names_the_control_where_it_saves_least(answers):
    instead = [Instead("scratch_family", ratio(3.6, 2.2, 5.9), ratio(5.0, 3.0, 8.0))]
    costs = PooledCosts(Verdict.NEITHER, SEARCH_DEAR, 2, instead=("scratch_family",))
    said = headline(answers, costs, CheapestOfAll("scratch_family", ratio(3.6, 2.2, 5.9), (), 3), instead)
    assert said.startswith(
        "Neither: small network trained directly is as accurate and cheapest; "
        "pruning costs at least 3.60× its GPU-hours (adjusted interval 2.20–5.90)"
    )


@pytest.mark.parametrize(
    ("guarded", "said"),
    [
        (Guarded(Obstacle.NOT_REACHED, 1, 1, 2), "Not reached: search reached the common accuracy in 1 replicate, 2"),
        (Guarded(Obstacle.APART, None, 0.1, 0.05), "Costs not comparable: pruning is ahead by 2.0 points (-0.5"),
        (Guarded(Obstacle.APART, None, -0.1, 0.05), "Costs not comparable: search is ahead by 10.0 points (median)"),
        (Guarded(Obstacle.CHANCE, None, 0.1, 0.15), "Costs not comparable: 10.0 % is near chance"),
        (Guarded(Obstacle.SPREAD, 0, 0.2, 0.04), "Costs not comparable: pruning's accuracies are 20.0 points apart"),
        (Guarded(Obstacle.BELOW_CONTROL, None, 0.7, 0.8), "Costs not comparable: 70.0 % is over 3 points below"),
    ],
)  # fmt: skip
def test_what_keeps_costs_from_being_compared(answers, guarded, said):
    found = headline(answers, PooledCosts(guarded.verdict, NO_RATIO, 0, guarded))
    assert found.startswith(said)


def test_without_an_interval_that_is_said(answers):
    said = headline(answers, PooledCosts(Verdict.INSUFFICIENT_EVIDENCE, Estimate(2.0, None, None, None, 1), 2))
    assert "(n = 1, no interval)" in said
    assert said.startswith("Provisional (1 of 3 replicates): not settled: search cost 2.00×")


def test_the_first_form_that_has_room_is_taken():
    assert first_that_fits(["a b c", "a"], ["d e", "f"], most=4) == "a b c; f."
    assert first_that_fits(["a b c d", "a b c"], ["e"], most=4) == "a b c; e."
    assert first_that_fits(["a b c d", "a b"], ["e f g"], most=4) == "a b c d."


def test_optional_parts_are_left_out_before_words_are():
    assert within_words("one two", ["three four", "five"], most=3) == "one two; five."
    assert within_words("a b c d e", [], most=4) == "a b c …"


@pytest.mark.parametrize(
    "options",
    [{}, {"until_h": 0}, {"until_h": 3}, {"until_h": 8.5}, {"routes": ("search",)}, {"routes": ("prune", "scratch")},
     {"routes": ("scratch",)}, {"replicates": 1}, {"cuda": True, "replicates": 2}],
)  # fmt: skip
def test_every_study_has_one(make_study, options):
    said = WholeAnswer(load_frames(make_study(**options))).short
    assert 3 < len(said.split()) <= MOST_WORDS
    assert "None" not in said
