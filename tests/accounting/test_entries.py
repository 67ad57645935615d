"""Entries add up to the ledger, piece by piece, in hours and money; energy counts only where a meter read it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_records import alloc, closed, free, golden, ok, opened, start, work

from accounting.cost.attempts import derive
from accounting.cost.entries import Amount, Whose, entries_of
from accounting.cost.prices import BadPrices, Prices, Stated
from accounting.cost.shares import ledger_h

EUR = {"cpu_core": Stated(3600.0, "2026-11-26", "a test", "EUR")}
"""One core-second costs one euro."""
PRICES = Prices("prices.yaml", "EUR", EUR)


def entries(records, prices=PRICES):
    return entries_of(derive(records), records, prices)


def sums(records, prices=PRICES):
    total = Amount.sum(entry.amount for entry in entries(records, prices))
    return total.allocated_h * 3600, total.money


def test_the_golden_ledger_adds_up_with_lost_failed_repeated_and_abandoned_work():
    view = derive(golden())
    hours, money = sums(golden())
    assert hours == pytest.approx(ledger_h(view)["cpu_core"] * 3600)
    assert money == pytest.approx(hours)
    total = Amount.sum(entry.amount for entry in entries(golden()))
    assert total.attempts == len(view.attempts)
    assert (total.productive_h + total.overhead_h + total.lost_h) * 3600 == pytest.approx(hours)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, len(golden())))
def test_whatever_a_ledger_ends_with_adds_up(cut):
    """A ledger may be cut off with open attempts, open allocations and unfinished start-ups."""
    records = golden()[:cut]
    view = derive(records)
    found = entries(records)
    pieces = sum(piece.hours for entry in found for piece in entry.pieces)
    assert Amount.sum(entry.amount for entry in found).allocated_h == pytest.approx(sum(ledger_h(view).values()))
    assert pieces == pytest.approx(sum(ledger_h(view).values()))


def test_a_start_up_whose_devices_are_not_known_is_priced_by_those_of_its_session():
    records = [
        opened("s1", 0, {"core0": 1.0}),
        start("s1", "a", "j", 0),
        work("a", 1),
        ok("a", 10, 9),
        alloc("s1", "B", 20) | {"devices": {}},
        free("s1", "B", 25),
        closed("s1", 30),
    ]
    assert sums(records) == (15.0, 15.0)
    (startup,) = [entry for entry in entries(records) if entry.phase == "start_up"]
    assert (startup.route, startup.target, startup.amount.attempts, startup.attempt) == ("", None, 0, None)


def two_gpus(amount=1.0):
    """Two models of GPU, each held for 10 s, and a CPU core, which costs nothing."""
    capacity = [
        {"device": name, "device_kind": kind, "amount": 1.0, "name": text, "node": "n"}
        for name, kind, text in (("GPU-a", "cuda", "Fast"), ("GPU-b", "cuda", "Slow"), ("core0", "cpu_core", "CPU"))
    ]
    records = [opened("s1", 0) | {"capacity": capacity, "labels": {"team": "vision"}, "owner": "mia"}]
    for name, device in (("a", "GPU-a"), ("b", "GPU-b")):
        records += [
            start("s1", name, name, 0) | {"devices": {device: amount, "core0": 1.0}},
            work(name, 1),
            ok(name, 10, 9) | {"measurement": {"meter": "nvml", "energy_j": 3.6e6, "flags": []}},
        ]
    return [*records, closed("s1", 20)]


def test_each_gpu_has_its_own_price_and_cores_beside_it_none():
    prices = Prices("p", "EUR", {"fast": Stated(7200, "d", "s", "EUR"), "cuda": Stated(3600, "d", "s", "EUR")})
    assert [entry.amount.money for entry in entries(two_gpus(), prices)] == [20.0, 10.0]
    with pytest.raises(BadPrices, match=r"no price for Fast \(cuda\)"):
        entries(two_gpus(), PRICES)


def test_who_ran_a_session_is_on_record():
    assert {entry.whose.owner for entry in entries(two_gpus(), None)} == {"mia"}
    assert entries(two_gpus(), None)[0].whose == Whose("mia", {"team": "vision"})
    records = two_gpus()
    records[0]["labels"] = {"owner": "lab 7"}
    assert entries(records, None)[0].whose.owner == "lab 7", "the label counts before the account"
    assert entries(golden())[0].whose == Whose(None, {}), "older ledgers do not say"


def test_energy_is_what_a_meter_read_and_a_share_of_a_device_has_its_share_of_it():
    whole, shared = entries(two_gpus(), None)[0].energy, entries(two_gpus(0.25), None)[0].energy
    assert (whole.kwh, whole.is_shared, whole.how) == (1.0, False, "the device's own energy counter, through NVML")
    assert (shared.kwh, shared.is_shared) == (0.25, True)
    assert "share of the device that was held" in shared.how
    assert all(entry.energy is None for entry in entries(golden())), "not measured, and not 0"
