"""Networks that a budget left undelivered: as values of the ledger, and in sentences."""

import dataclasses

import pytest
from ledger_records import closed, opened

from accounting.ledger.undelivered import Undelivered
from reports.data.undelivered import undelivered_networks
from reports.sentences.undelivered import undelivered_sentence

LEFT = Undelivered("prune", "prune", 400_000, 0, spent_h=2.0, budget_h=1.5, needs_h=0.5, budget_needed_h=2.5)


def with_left(*left):
    return [opened("s", 0), closed("s", 9) | {"undelivered": list(left)}]


def test_a_record_is_read_back_as_it_was():
    waits = dataclasses.replace(LEFT, label="scratch_pruned_structure", route="scratch", waits_for="prune")
    assert undelivered_networks(with_left(LEFT.as_record(), waits.as_record())) == (LEFT, waits)
    planned = dataclasses.replace(LEFT, by_plan=True)
    assert undelivered_networks(with_left(planned.as_record())) == (planned,)


def test_only_the_last_session_counts_and_none_that_is_open():
    records = with_left(LEFT.as_record())
    assert undelivered_networks([*records, opened("s2", 10)]) == ()
    assert undelivered_networks([*records, opened("s2", 10), closed("s2", 19)]) == ()
    assert undelivered_networks([]) == ()


@pytest.mark.parametrize(
    "change",
    [{"label": None}, {"target": "0.4M"}, {"spent_h": None}, {"budget_h": None}, {"needs_h": "1"}, {"waits_for": 3}],
    ids=lambda change: next(iter(change)),
)
def test_a_record_that_is_not_whole_is_left_out(change):
    assert undelivered_networks(with_left(LEFT.as_record() | change, LEFT.as_record())) == (LEFT,)


@pytest.mark.parametrize("said", ["prune", None, ["prune", None, 3]])
def test_what_is_no_list_of_records_is_no_network(said):
    assert undelivered_networks([opened("s", 0), closed("s", 9) | {"undelivered": said}]) == ()


def test_the_needs_may_be_missing():
    record = {key: value for key, value in LEFT.as_record().items() if not key.startswith(("needs", "budget_needed"))}
    assert undelivered_networks(with_left(record)) == (dataclasses.replace(LEFT, needs_h=None, budget_needed_h=None),)


def test_the_sentence_names_the_budget_that_is_enough():
    """A tenth more than the estimate of 2.5 h."""
    assert undelivered_sentence(LEFT, "gpu_hours") == (
        "prune at 0.4M MACs, replicate 0, was not delivered: the budget of prune (1.50 GPU-hours) is spent (2.00); it "
        "needs about 0.500 GPU-hours more, by what the jobs so far took: set budget.prune to 2.75 h and run the same "
        "command again."
    )


def test_the_sentence_of_a_network_that_waits_and_whose_needs_are_unknown():
    left = dataclasses.replace(
        LEFT, label="search", route="search", waits_for="prune", needs_h=None, budget_needed_h=None
    )
    assert undelivered_sentence(left, "cpu_core_hours") == (
        "search at 0.4M MACs, replicate 0, was not delivered: it waits for a network of prune, and the budget of prune "
        "(1.50 CPU core-hours) is spent (2.00); how much more it needs is not known, since no job was done: "
        "set a larger budget.prune and run the same command again."
    )


def test_what_is_needed_by_the_plan_is_said_to_be_so():
    planned = dataclasses.replace(LEFT, by_plan=True)
    assert (
        "it needs about 0.500 GPU-hours more, by the study's plan: set budget.prune to 2.75 h"
        in undelivered_sentence(planned, "gpu_hours")
    )


def test_a_budget_that_is_kept_because_it_is_too_small_is_not_called_spent():
    kept = dataclasses.replace(LEFT, spent_h=1.2)
    assert "the budget of prune (1.50 GPU-hours) does not pay for it (1.20 spent); it needs" in undelivered_sentence(
        kept, "gpu_hours"
    )
