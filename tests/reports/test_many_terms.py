"""Bounds under many terms at once equal those computed one by one, to the last bit; what is not plain is left to those."""

from __future__ import annotations

import numpy as np
import pytest

from reports.compare import charges
from reports.compare.charges import (
    Charges,
    Parts,
    Terms,
    _bounds,
    break_even_price,
    break_even_targets,
    ratio_under,
)
from reports.compare.many_terms import bounds_under

TERMS = [Terms(served, price) for served in (1.0, 1.7, 300.0) for price in (None, 0.0, 0.3, 41.5)]


def made(rng, n, *, builds, sways):
    """Charges with random parts; accuracies half a point away cost a little less and more."""
    own = rng.uniform(0.1, 3, n)

    def parts(times):
        return Parts(np.where(builds, 1.3, 0.0) * np.ones(n), np.full(n, 0.2), own * times)

    around = (parts(rng.uniform(0.8, 0.99, n)), parts(rng.uniform(1.01, 1.2, n))) if sways else None
    sway = rng.normal(0, 0.01, n) if sways else np.zeros(0)
    return Charges("one", np.full(n, 0.9), parts(1.0), parts(1.5), np.full(n, builds), around, sway)


@pytest.mark.parametrize("n", [2, 3, 7, 8, 9, 20, 130])
@pytest.mark.parametrize("sways", [[True], [False], [True, False], [True] * 9])
def test_equals_one_by_one(n, sways):
    rng = np.random.default_rng(n)
    pairs = [(made(rng, n, builds=True, sways=each), made(rng, n, builds=False, sways=each)) for each in sways]
    one_by_one = [_bounds(ratio_under(pairs, terms), 0.05) for terms in TERMS]
    assert bounds_under(pairs, TERMS, 0.05) == one_by_one


def spoilt(charges, *, own):
    """The same, with this own cost in the first replicate."""
    values = charges.reached.own.copy()
    values[0] = own
    reached = Parts(charges.reached.pretraining, charges.reached.shared, values)
    return Charges("one", charges.final, reached, charges.spent, charges.builds_on_parent)


@pytest.mark.parametrize("own", [np.inf, np.nan, -5.0])
def test_what_is_not_plain_is_left_alone(own):
    rng = np.random.default_rng(0)
    base, challenger = (made(rng, 3, builds=builds, sways=False) for builds in (True, False))
    assert bounds_under([(spoilt(base, own=own), challenger)], TERMS, 0.05) is None
    assert bounds_under([], TERMS, 0.05) is None


def test_a_break_even_is_found_where_single_values_are_not_plain():
    rng = np.random.default_rng(1)
    base, challenger = (made(rng, 4, builds=builds, sways=False) for builds in (True, False))
    pairs = [(spoilt(base, own=np.inf), challenger)]
    assert break_even_price(pairs).n == 4


@pytest.mark.parametrize("sways", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_break_evens_are_those_that_single_values_give(seed, sways, monkeypatch):
    rng = np.random.default_rng(seed)
    pairs = [
        (made(rng, 3, builds=True, sways=sways), made(rng, 3, builds=False, sways=sways)) for _ in range(seed % 2 + 1)
    ]
    together = break_even_price(pairs), break_even_targets(pairs)
    monkeypatch.setattr(charges, "bounds_under", lambda *_: None)
    assert (break_even_price(pairs), break_even_targets(pairs)) == together
    assert together[0].below is not None
