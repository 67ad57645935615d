from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.statistics import NOTHING, mean_interval, paired_difference, ratio_interval

POSITIVE = st.floats(0.01, 1e4)


def test_mean_interval_by_hand():
    # mean 2, sd 1, t(0.975, 2) = 4.302653, half = 4.302653 / sqrt(3) = 2.484138
    estimate = mean_interval([1.0, 2.0, 3.0])
    assert (estimate.value, estimate.sd, estimate.n) == (2.0, 1.0, 3)
    assert estimate.low == pytest.approx(2 - 2.484138, abs=1e-6)
    assert estimate.high == pytest.approx(2 + 2.484138, abs=1e-6)


def test_two_values_use_t_of_one_degree():
    # sd = sqrt(2)/2 * 2 = 1.414214, t(0.975, 1) = 12.706205; half = 12.706205 * 1.414214 / sqrt(2) = 12.706205
    assert mean_interval([0.0, 2.0]).high == pytest.approx(1 + 12.706205, abs=1e-5)


def test_one_value_has_no_interval_and_none_has_no_value():
    one = mean_interval([0.7])
    assert (one.value, one.low, one.high, one.sd, one.n, one.has_interval) == (0.7, None, None, None, 1, False)
    assert mean_interval([]) == NOTHING


def test_a_cost_is_not_negative():
    assert mean_interval([0.0, 2.0]).low < 0
    assert mean_interval([0.0, 2.0], at_least=0.0).low == 0.0


def test_difference_pairs_by_replicate():
    estimate = paired_difference({0: 0.8, 1: 0.9, 2: 0.5}, {1: 0.6, 2: 0.4, 7: 0.1})
    assert estimate.n == 2
    assert estimate.value == pytest.approx(0.2)


def test_ratio_is_a_geometric_mean_with_its_interval_on_logarithms():
    # ratios 4, 6, 9: log mean ln 6, sd of logs ln 1.5 = 0.405465, half = 4.302653 * 0.405465 / sqrt(3) = 1.007228
    estimate = ratio_interval({0: 4.0, 1: 12.0, 2: 27.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert estimate.value == pytest.approx(6.0)
    assert estimate.low == pytest.approx(6 / math.exp(1.007228), rel=1e-5)
    assert estimate.high == pytest.approx(6 * math.exp(1.007228), rel=1e-5)


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_a_pair_without_a_ratio_leaves_none(bad):
    assert ratio_interval({0: 1.0, 1: bad}, {0: 1.0, 1: 1.0}) == NOTHING
    assert ratio_interval({0: 1.0, 1: 1.0}, {0: 1.0, 1: bad}) == NOTHING


@given(st.dictionaries(st.integers(0, 5), st.tuples(POSITIVE, POSITIVE), min_size=2))
def test_turning_a_ratio_round_inverts_it(pairs):
    top, bottom = {k: v[0] for k, v in pairs.items()}, {k: v[1] for k, v in pairs.items()}
    there, back = ratio_interval(top, bottom), ratio_interval(bottom, top)
    assert there.value == pytest.approx(1 / back.value, rel=1e-9)
    if back.high < 1e300 and there.high < 1e300:
        assert there.low == pytest.approx(1 / back.high, rel=1e-6, abs=1e-290)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8))
def test_the_interval_holds_the_mean(values):
    estimate = mean_interval(values)
    assert estimate.low <= estimate.value <= estimate.high
