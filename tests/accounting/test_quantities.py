"""Numbers with units, checked by hand and as properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.words.quantities import duration_text, hours_text, macs_short, macs_text, parse_hours, parse_macs


@pytest.mark.parametrize(
    ("given", "macs"),
    [
        ("0.5M", 500_000), ("400k", 400_000), ("400K", 400_000), ("1.2G", 1_200_000_000), (600_000, 600_000),
        (6e5, 600_000), ("600000", 600_000), ("6e5", 600_000), (" 0.5 M ", 500_000), (".5M", 500_000),
        ("0.5MMACs", 500_000), ("0.5M MACs", None), (1, 1),
    ],
)  # fmt: skip
def test_macs(given, macs):
    if macs is None:
        with pytest.raises(ValueError, match="400k"):
            parse_macs(given)
    else:
        assert parse_macs(given) == macs


@pytest.mark.parametrize(
    "given", ["", "M", "0", 0, -1, "-5M", "0.5m", "5T", True, None, "nan", "inf", "1e999", 0.4, [], "9" * 90_000 + "x"]
)
def test_no_macs(given):
    with pytest.raises(ValueError, match=r"1\.2G"):
        parse_macs(given)


@pytest.mark.parametrize(
    ("given", "hours"),
    [
        ("30 min", 0.5), ("0.5 h", 0.5), ("2 d", 48), ("90 s", 0.025), ("1h", 1), ("3 hours", 3), ("1 hour", 1),
        ("6m", 0.1), ("90 minutes", 1.5), ("90 min", 1.5), ("90 mins", 1.5), ("1 minute", 1 / 60), ("2 hrs", 2), ("1 hr", 1),
        ("1 day", 24), ("3 days", 72), ("1h30m", 1.5), ("1 h 30 min", 1.5), ("1d 2h 3min 36s", 26.06), ("1.5 h", 1.5),
        ("36 seconds", 0.01),
        ("36 secs", 0.01), (".5 h", 0.5),
    ],
)  # fmt: skip
def test_hours(given, hours):
    assert parse_hours(given) == pytest.approx(hours)


@pytest.mark.parametrize(
    "given",
    [0.5, 1, "1", "h", "0 h", "-1 h", "1 H", "1 month", "", None, True, "nan h", "30 m 1 h", "1h1h", "1h 30",
     "1h -30m", "-30 min", "1e3 h", "1:30", "2 weeks", "h 2", "9" * 400 + " h", "9" * 20 + " d", "1 h" * 10**6, 30,
     "11a" * 33 + "!"],
)  # fmt: skip
def test_no_hours(given):
    with pytest.raises(ValueError, match=r"30 min.*units: s, sec, .* d, day, days"):
        parse_hours(given)


@pytest.mark.parametrize(
    ("macs", "exact", "short"),
    [
        (585_000, "0.585M", "0.585M"),
        (612_345, "0.612345M", "0.612M"),
        (1_170_000, "1.17M", "1.17M"),
        (355_512_000, "0.355512G", "0.356G"),
        (2 * 10**9, "2G", "2G"),
        (4_000, "4k", "4k"),
        (999, "999", "999"),
    ],
)
def test_macs_as_text(macs, exact, short):
    assert (macs_text(macs), macs_short(macs)) == (exact, short)


@given(st.integers(1, 10**12))
def test_printed_macs_read_back_as_the_same(macs):
    assert parse_macs(macs_text(macs)) == macs
    assert parse_macs(macs_short(macs)) == pytest.approx(macs, rel=6e-3)


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0.5, "0.5 h"), (48.0, "48 h"), (100.0, "100 h"), (1e-5, "0.00001 h"), (10 / 60, "0.16666666666666666 h")],
)
def test_hours_as_text(hours, text):
    assert hours_text(hours) == text


@given(st.floats(1e-9, 1e8))
def test_printed_hours_read_back_as_the_same(hours):
    assert parse_hours(hours_text(hours)) == hours


@pytest.mark.parametrize(
    ("hours", "text"),
    [(35 / 3600, "35 s"), (0.05, "3 min"), (1.99, "119 min"), (2.5, "2.5 h"), (72, "3 days"), (8766 * 40, "40 years")],
)
def test_a_duration_for_people_is_in_a_unit_of_which_there_are_some(hours, text):
    assert duration_text(hours) == text
