"""Hours on a declared GPU model are counted in those of the reference; the audit balances what was held. By hand."""

import pytest
from ledger_records import closed, ok, start, work
from test_gpu_models import A100, H100, codes, held, session

from accounting.audit.audit import audit
from accounting.audit.balance import in_reference
from accounting.cost.at_rates import as_held, at_ends
from accounting.cost.attempts import derive
from accounting.cost.entries import entries_of
from accounting.cost.equivalence import Equivalence, equivalence_text
from accounting.cost.models import gpu_hours_by_model, mixed_hours
from accounting.cost.prices import Prices, Stated
from accounting.cost.shares import ledger_h, spent_h
from accounting.cost.so_far import SpentSoFar
from accounting.cost.sums import SpentSums
from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter, read_ledger

SOURCE = "our benchmark of 2026"
DECLARED = {"reference": H100, "models": {A100: {"hours": 0.5, "low": 0.4, "high": 0.6, "source": SOURCE}}}
A40 = "NVIDIA A40"


def ledger(names, *holds, declared=DECLARED):
    opening = session(names) | ({} if declared is None else {"equivalent": declared})
    records = [opening, *(record for hold in holds for record in hold), closed("s", 8000)]
    return sorted(records, key=lambda record: record["t"])


TWO = ledger([A100, H100], held(0, 0, 3600), held(1, 0, 1800, 0.5))
"""One hour on an A100, which counts as half, and a half of an H100 for half an hour: 1 × 0.5 + 0.25 hours."""


def hours(view):
    return ledger_h(view)["cuda"]


def test_hours_are_those_of_the_reference():
    view = derive(TWO)
    assert hours(view) == pytest.approx(0.75)
    assert spent_h(view) == {("prune", 0): pytest.approx(0.75)}
    assert gpu_hours_by_model(view) == {A100: pytest.approx(1.0), H100: pytest.approx(0.25)}
    assert mixed_hours(view) == {}


def test_the_parts_of_an_attempt_are_converted_alike():
    hold = held(0, 0, 3600)
    view = derive(ledger([A100], [*hold[:2], work("j0#1", 600), *hold[2:]]))
    (attempt,) = view.attempts
    assert (attempt.allocated_s, attempt.productive_s, attempt.overhead_s) == (1800.0, 1500.0, 300.0)


def test_a_job_on_both_models_counts_each_device_at_its_own_rate():
    both = start("s", "a#1", "a", 0) | {"devices": {"GPU-0": 1.0, "GPU-1": 1.0}}
    assert hours(derive(ledger([A100, H100], [both, ok("a#1", 3600)]))) == pytest.approx(1.5)


def test_a_start_up_that_names_no_device_counts_at_the_mean_of_its_session():
    opening = {"kind": Kind.ALLOCATION_OPENED, "t": 0.0, "session": "s", "allocation": "p", "devices": {}}
    closing = {"kind": Kind.ALLOCATION_CLOSED, "t": 3600.0, "session": "s", "allocation": "p"}
    view = derive(ledger([A100, H100], [{**opening, "amounts": {"cuda": 1.0}}, closing]))
    assert hours(view) == pytest.approx(0.75)
    assert hours(as_held(view)) == pytest.approx(1.0)


def test_the_audit_is_in_hours_as_they_were_held():
    report = audit(TWO)
    assert report.ok
    assert report.hours == {"cuda": pytest.approx(1.25)}
    assert [balance.allocated_s for balance in report.balances] == [pytest.approx(3600), pytest.approx(900)]
    converted = in_reference(report.balances, derive(TWO))
    assert [balance.allocated_s for balance in converted] == [pytest.approx(1800), pytest.approx(900)]
    assert [balance.capacity_s for balance in converted] == [pytest.approx(4000), pytest.approx(8000)]


def test_the_ends_of_the_range_and_what_was_held():
    view = derive(TWO)
    assert hours(as_held(view)) == pytest.approx(1.25)
    assert [hours(end) for end in at_ends(view)] == [pytest.approx(0.65), pytest.approx(0.85)]
    assert hours(as_held(at_ends(view)[0])) == pytest.approx(1.25)
    assert at_ends(at_ends(view)[0]) == []


def test_a_declared_model_that_was_not_held_has_no_ends():
    assert at_ends(derive(ledger([A100, H100], held(1, 0, 3600)))) == []


def test_two_declared_models_have_four_ends():
    declared = {
        **DECLARED,
        "models": DECLARED["models"] | {A40: {"hours": 0.2, "low": 0.1, "high": 0.2, "source": "x"}},
    }
    view = derive(ledger([A100, A40], held(0, 0, 3600), held(1, 0, 3600), declared=declared))
    assert hours(view) == pytest.approx(0.7)
    assert sorted(hours(end) for end in at_ends(view)) == pytest.approx([0.5, 0.6, 0.7, 0.8])


def test_money_is_for_the_hours_that_were_held():
    stated = {A100.lower(): Stated(2.0, "2026-11-26", "x", "EUR"), H100.lower(): Stated(4.0, "2026-11-26", "x", "EUR")}
    entries = entries_of(derive(TWO), TWO, Prices("p", "EUR", stated))
    assert sum(entry.amount.money for entry in entries) == pytest.approx(1 * 2.0 + 0.25 * 4.0)
    assert sum(entry.amount.allocated_h for entry in entries) == pytest.approx(0.75)


@pytest.mark.parametrize(
    "declared",
    [
        None,
        {**DECLARED, "reference": A40},
        {**DECLARED, "models": {A100: {"hours": 0.5, "low": 0.6, "high": 0.7, "source": "x"}}},
        {**DECLARED, "models": {A100: {"hours": -1, "low": -1, "high": -1, "source": "x"}}},
        {**DECLARED, "models": {A100: {"hours": "0.5"}}},
        "garbled",
    ],
    ids=["none", "of another reference", "out of its range", "below 0", "incomplete", "garbled"],
)
def test_models_that_no_declaration_covers_are_mixed(declared):
    records = ledger([A100, H100], held(0, 0, 3600), held(1, 0, 1800), declared=declared)
    assert "models_mixed" in codes(records)


def test_one_undeclared_model_is_no_reference():
    records = ledger([A40], held(0, 0, 3600))
    (finding,) = audit(records).findings
    assert "a model without a declared equivalence were held: NVIDIA A40 (1 h)" in finding.message


def test_a_ledger_without_a_declaration_is_untouched():
    view = derive(ledger([A100, H100], held(0, 0, 3600), declared=None))
    assert as_held(view) is view
    assert at_ends(view) == []


def test_the_latest_declaration_counts():
    first = ledger([A100], held(0, 0, 3600))
    later = session([A100], "later", 9000) | {
        "equivalent": {**DECLARED, "models": {A100: DECLARED["models"][A100] | {"hours": 0.6}}}
    }
    assert hours(derive([*first, later])) == pytest.approx(0.6)


def test_budgets_count_hours_of_the_reference(tmp_path):
    with LedgerWriter(tmp_path, "s", "driver", clock=lambda: 0.0) as writer:
        for record in TWO:
            writer.append(record["kind"], t=record["t"], **{k: v for k, v in record.items() if k not in ("kind", "t")})
    found = SpentSoFar(tmp_path).read(9000.0)
    assert SpentSums().of(found) == {("prune", 0): pytest.approx(2700)}
    assert found.num_devices == pytest.approx(1.5)
    assert hours(derive(read_ledger(tmp_path).records)) == pytest.approx(0.75)


def test_the_sentence():
    said = equivalence_text(Equivalence.read(DECLARED))
    assert said == f"hours on {A100} count as 0.5 (0.4 to 0.6) hours on {H100}: {SOURCE}"
    assert Equivalence.read(DECLARED).as_dict() == DECLARED
    assert equivalence_text(Equivalence()) == ""
