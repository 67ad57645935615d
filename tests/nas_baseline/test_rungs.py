"""Successive halving, by hand: which candidates continue, and which value a stopped candidate is given."""

import random

import pytest

from nas_baseline.proposing.rungs import Rungs


def entered(values, rungs=None, group=None, first=0):
    """Rungs at which candidates with these values have reached the first rung."""
    rungs = rungs or Rungs(3, 3)
    for trial, value in enumerate(values, first):
        rungs.enter(trial, group)
        rungs.record(trial, 0, value)
    return rungs


NINE = [0.10, 0.50, 0.30, 0.90, 0.70, 0.20, 0.80, 0.40, 0.60]


def test_of_nine_three_go_on_and_of_these_one():
    rungs = entered(NINE)
    assert rungs.promote() == [(3, 1), (4, 1), (6, 1)]
    for trial, value in ((3, 0.91), (4, 0.95), (6, 0.93)):
        rungs.record(trial, 1, value)
    assert rungs.promote() == [(4, 2)]
    rungs.record(4, 2, 0.97)
    assert rungs.promote() == []


def test_a_second_batch_gets_what_a_third_of_all_leaves():
    rungs = entered([0.5, 0.6, 0.7])
    assert rungs.promote() == [(2, 1)]
    rungs.record(2, 1, 0.8)
    assert rungs.promote() == [(2, 2)], "one in three, rounded up"
    rungs.record(2, 2, 0.9)
    entered([0.1, 0.65], rungs, first=3)
    assert rungs.promote() == [(4, 1)], "two of five, and 2 is there already"
    rungs.record(4, 1, 0.7)
    assert rungs.promote() == [], "one of two, rounded up, is there already"


def test_one_of_an_earlier_batch_goes_on_where_later_ones_are_worse():
    rungs = entered([0.5, 0.6, 0.7])
    for rung in (1, 2):
        assert rungs.promote() == [(2, rung)]
        rungs.record(2, rung, 0.8)
    entered([0.1], rungs, first=3)
    assert rungs.promote() == [(1, 1)]


def test_groups_do_not_compete():
    rungs = entered([0.1, 0.2, 0.3], group="small")
    entered([0.7, 0.8, 0.9], rungs, group="large", first=3)
    assert rungs.promote() == [(2, 1), (5, 1)]


def test_the_first_of_equals_goes_on():
    assert entered([0.5, 0.5, 0.5]).promote() == [(0, 1)]


def test_one_that_failed_does_not_go_on_and_nobody_takes_its_place_above():
    rungs = entered([None, 0.2, None])
    assert rungs.promote() == [(1, 1)]
    rungs.record(1, 1, None)
    assert rungs.promote() == []
    assert rungs.values() == {0: None, 1: None, 2: None}
    assert entered([None, None]).promote() == []


def test_the_order_of_results_does_not_matter():
    found = set()
    for seed in range(5):
        rungs, order = Rungs(3, 3), list(range(9))
        for trial in order:
            rungs.enter(trial, None)
        random.Random(seed).shuffle(order)
        for trial in order:
            rungs.record(trial, 0, NINE[trial])
        found.add((tuple(rungs.promote()), tuple(rungs.values().items())))
    assert len(found) == 1


def climbed(pairs, stopped):
    """Values of the stopped candidates, next to others that rose from the first value of a pair to the second."""
    rungs = entered([low for low, _ in pairs] + stopped, Rungs(2, 2))
    for trial, (_, high) in enumerate(pairs):
        rungs.record(trial, 1, high)
    values = rungs.values()
    return [pytest.approx(values[len(pairs) + i]) for i in range(len(stopped))]


def test_one_that_was_stopped_is_worth_its_last_value_and_the_median_rise_of_two():
    assert climbed([(0.6, 0.8), (0.5, 0.6)], [0.4]) == [0.4 + 0.15]
    assert climbed([], [0.4]) == [0.4], "nobody went on"


def test_of_three_and_more_a_line_leads_up():
    """The fitted line is 0.5 + 0.5 x, by hand."""
    assert climbed([(0.4, 0.7), (0.6, 0.8), (0.8, 0.9)], [0.2, 0.0]) == [0.6, 0.5]


def test_the_line_is_neither_steeper_than_one_nor_falling():
    assert climbed([(0.4, 0.5), (0.5, 0.7), (0.6, 0.9)], [0.3]) == [0.3 + 0.2]
    assert climbed([(0.4, 0.9), (0.5, 0.7), (0.6, 0.5)], [0.3]) == [0.7]
    assert climbed([(0.5, 0.6), (0.5, 0.7), (0.5, 0.8)], [0.3]) == [0.3 + 0.2], "all alike at the rung"


@pytest.mark.parametrize(("rungs", "eta"), [(0, 3), (3, 1)])
def test_what_is_no_halving_is_refused(rungs, eta):
    with pytest.raises(ValueError, match="at least"):
        Rungs(rungs, eta)
