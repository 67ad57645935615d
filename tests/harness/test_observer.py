"""The observer tells a worker's attempts apart by its titles, and compares them by what the ledger records."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_records import alloc, closed, free, ok, opened, start

from accounting.cost.attempts import derive


@pytest.fixture
def observer(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import observer

    return observer


def test_an_end_that_is_no_attempts_does_not_shift_the_others(observer):
    """The worker's title says four times that a call is over; the third was no attempt."""
    records = [
        opened("s", 0), {**alloc("s", "A", 10.25), "looked_t": 10.0},
        start("s", "a", "i", 11, allocation="A"), ok("a", 20),
        start("s", "b", "j", 21, allocation="A"), ok("b", 30),
        start("s", "c", "k", 31, allocation="A"), ok("c", 40),
        {**free("s", "A", 40.5), "looked_t": 40.25}, closed("s", 50),
    ]  # fmt: skip
    calls = [(11, 20), (21, 30), (31, 31.5), (32, 40)]
    titles = [each for begin, end in calls for each in ((begin, "ray::x.train"), (end, "ray::x"))]
    held = observer.Held(10.125, 40.375, 1.0, 0.025, 0.025)
    found = list(observer.compared_attempts(derive(records).attempts, held, [{"titles": titles, "last_t": 41}]))
    assert [(one.observed_s, one.uncertainty_s) for one, _ in found] == [(9.875, 0.25), (10, 0), (10.375, 0.25)]
    assert all(one.is_within for one, _ in found)
