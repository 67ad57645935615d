"""Our few distribution functions against scipy's, to ten digits, where verdicts use them."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, special, stats

from reports.distributions import (
    chi2_quantile,
    log_normal_cdf,
    noncentral_t_cdf,
    normal_cdf,
    normal_quantile,
    t_both_tails,
    t_quantile,
)

DEGREES = (*range(1, 31), 50, 99, 199, 500, 1000)
LEVELS = (0.51, 0.6, 0.8, 0.9, 0.95, 0.975, 0.9875, 0.99, 0.995, 0.999, 0.99975, 0.999999)
GRID = np.linspace(-37, 9, 2001)
TEN_DIGITS = 1e-10


def test_the_normal_distribution():
    assert normal_cdf(GRID) == pytest.approx(special.ndtr(GRID), rel=TEN_DIGITS)
    assert [normal_quantile(one) for one in LEVELS] == pytest.approx(special.ndtri(LEVELS), rel=TEN_DIGITS)
    assert normal_cdf(np.array([[-1.0], [0.0]])).shape == (2, 1)


def test_its_logarithm_far_into_the_tail():
    grid = np.concatenate([np.linspace(-1000, 9, 4001), [-26.0, -25.999999, 0.0]])
    assert log_normal_cdf(grid) == pytest.approx(special.log_ndtr(grid), rel=TEN_DIGITS)
    assert log_normal_cdf(np.array([[0.0]])) == pytest.approx(np.array([[math.log(0.5)]]))


@pytest.mark.parametrize("degrees", [*DEGREES, 1.5, 2.73, 17.2])
def test_students_t(degrees):
    values = [0.0, 1e-6, 0.01, 0.3, 1.0, 2.0, 4.3, 12.7, 100.0, 1e4]
    assert [t_both_tails(t, degrees) for t in values] == pytest.approx(
        [2 * special.stdtr(degrees, -t) for t in values], rel=TEN_DIGITS, abs=1e-280
    )
    wanted = [special.stdtrit(degrees, level) for level in LEVELS]
    assert [t_quantile(level, degrees) for level in LEVELS] == pytest.approx(wanted, rel=TEN_DIGITS)
    assert [t_quantile(1 - level, degrees) for level in LEVELS[1:-1]] == pytest.approx(
        [-one for one in wanted[1:-1]], rel=1e-9
    )


def test_students_t_by_hand():
    # with one degree tan(π (p − ½)), with two (2p − 1) / √(2p (1 − p))
    assert t_quantile(0.75, 1) == pytest.approx(1.0, rel=1e-14)
    assert t_quantile(0.9, 2) == pytest.approx(0.8 / math.sqrt(0.18), rel=1e-14)
    assert t_quantile(0.5, 7) == 0.0
    assert t_both_tails(0.0, 3) == 1.0
    assert t_both_tails(math.inf, 3) == 0.0


@pytest.mark.parametrize("degrees", DEGREES)
def test_chi_squared(degrees):
    places = (np.arange(200) + 0.5) / 200
    assert chi2_quantile(places, degrees) == pytest.approx(special.chdtri(degrees, 1 - places), rel=TEN_DIGITS)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_non_central_t(degrees):
    cases = [(t_quantile(level, degrees), shift) for level in LEVELS[4:] for shift in (0, 0.3, 1, 2, 3, 5, 9, 15)]
    found = [noncentral_t_cdf(t, degrees, shift) for t, shift in cases]
    assert found == pytest.approx([special.nctdtr(degrees, shift, t) for t, shift in cases], abs=TEN_DIGITS)


@pytest.mark.parametrize("degrees", [1, 2, 9, 100])
@pytest.mark.parametrize("shift", [40, 212])
def test_the_non_central_t_far_out(degrees, shift):
    """scipy's own is not a number for some of these; this is the integral over the spread."""
    spread = stats.chi(degrees, scale=degrees**-0.5)
    for t in (0.9 * shift, shift, 1.2 * shift):
        edge = shift / t
        parts = [0, edge - 9 / t, edge, edge + 9 / t, edge + 10]
        wanted = sum(
            integrate.quad(lambda s, t=t: spread.pdf(s) * special.ndtr(t * s - shift), *part, epsabs=1e-13, limit=200)[
                0
            ]
            for part in pairwise(parts)
        )
        assert noncentral_t_cdf(t, degrees, shift) == pytest.approx(wanted, abs=TEN_DIGITS)
    assert noncentral_t_cdf(1.0, 30, shift) == pytest.approx(0.0, abs=1e-14)
