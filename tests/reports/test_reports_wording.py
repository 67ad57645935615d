from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.words.names import label_rank, label_text, unit_text
from accounting.words.quantities import macs_short, macs_text
from reports.statistics import Estimate
from reports.words.wording import number, number_estimate, percent, percent_estimate, points_estimate

NOTHING = Estimate(None, None, None, None, 0)
ONE = Estimate(0.5, None, None, None, 1)


@given(st.integers(1, 10**12))
def test_macs_read_back_exactly(macs):
    text = macs_text(macs)
    suffix = {"k": 3, "M": 6, "G": 9}.get(text[-1])
    digits = text if suffix is None else text[:-1]
    whole, _, fraction = digits.partition(".")
    assert int(whole + fraction) * 10 ** (suffix or 0) == macs * 10 ** len(fraction)


@pytest.mark.parametrize(
    ("macs", "exact", "short"),
    [(600_000, "0.6M", "0.6M"), (612_345, "0.612345M", "0.612M"), (1_200_000_000, "1.2G", "1.2G"), (4_000, "4k", "4k"),
     (99, "99", "99")],
)  # fmt: skip
def test_macs(macs, exact, short):
    assert (macs_text(macs), macs_short(macs)) == (exact, short)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (0.3, "0.300"), (3.333, "3.33"), (16.0, "16.0"), (9.996, "10.0"), (123.4, "123"),
     (12_345.0, "12,345"), (1e-6, "1.00e-06"), (-0.5, "-0.500")],
)  # fmt: skip
def test_number(value, text):
    assert number(value) == text


def test_estimates_say_their_n():
    full = Estimate(0.5, 0.4, 0.6, 0.1, 3)
    assert percent_estimate(full) == "50.0 ± 10.0 % (n = 3)"
    assert percent_estimate(ONE) == "50.0 % (n = 1)"
    assert points_estimate(full) == "+50.0 points (+40.0 to +60.0, n = 3)"
    assert points_estimate(ONE) == "+50.0 points (n = 1, no interval)"
    assert number_estimate(full, "×") == "0.500× (0.400 to 0.600, n = 3)"
    assert number_estimate(ONE) == "0.500 (n = 1, no interval)"
    assert {percent_estimate(NOTHING), points_estimate(NOTHING), number_estimate(NOTHING), percent(None)} == {"–"}


def test_units_and_labels_are_never_another():
    assert unit_text("gpu_hours") == "GPU-hours"
    assert unit_text("tpu_hours") == "tpu_hours"
    assert label_text("search_then_prune") == "search then prune"
    assert label_text("a" * 200) == "a" * 39 + "…"
    assert sorted(["zzz", "prune", "search"], key=label_rank) == ["search", "prune", "zzz"]
