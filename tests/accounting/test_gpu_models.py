"""Hours on two GPU models are never added up silently: audit reports them, and nothing is compared."""

import pytest
from ledger_records import alloc, closed, free, ok, opened, start

from accounting.audit.audit import audit
from accounting.audit.meanings import MEANINGS, Stands
from accounting.cost.attempts import derive
from accounting.cost.models import gpu_hours_by_model, mixture

A100, H100 = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"


def session(names, session="s", t=0.0):
    """A session with the devices GPU-0, GPU-1, …, whose models are ``names``."""
    record = opened(session, t, {f"GPU-{i}": 1.0 for i in range(len(names))}, "cuda")
    for entry, name in zip(record["capacity"], names, strict=True):
        entry["name"] = name
    return record


def held(device, begin, end, amount=1.0):
    name = f"j{device}"
    return [
        {**alloc("s", f"p{device}", begin), "devices": {}},
        {**start("s", f"{name}#1", name, begin, allocation=f"p{device}"), "devices": {f"GPU-{device}": amount}},
        ok(f"{name}#1", end, end),
        free("s", f"p{device}", end),
    ]


def ledger(names, *holds):
    records = [session(names), *(record for hold in holds for record in hold), closed("s", 8000)]
    return sorted(records, key=lambda record: record["t"])


def codes(records):
    return [finding.code for finding in audit(records).findings]


def test_two_models_that_were_held_are_an_error_with_which_the_verdict_does_not_stand():
    records = ledger([A100, H100], held(0, 0, 3600), held(1, 0, 1800, 0.5))
    assert gpu_hours_by_model(derive(records)) == {A100: pytest.approx(1.0), H100: pytest.approx(0.25)}
    [finding] = audit(records).findings
    assert (finding.severity, finding.code) == ("error", "models_mixed")
    assert f"GPUs of 2 models were held: {A100} (1 h) and {H100} (0.25 h)" in finding.message
    assert MEANINGS["models_mixed"].stands is Stands.NO


@pytest.mark.parametrize(
    ("names", "holds"),
    [
        ([A100, H100], [held(0, 0, 3600)]),
        ([A100, A100], [held(0, 0, 3600), held(1, 0, 3600)]),
        (["", H100], [held(0, 0, 3600), held(1, 0, 3600)]),
    ],
    ids=["one of two was held", "two of one model", "an old ledger that does not name one"],
)
def test_one_model_is_no_mixture(names, holds):
    records = ledger(names, *holds)
    assert mixture(derive(records)) is None
    assert "models_mixed" not in codes(records)


def test_cores_of_two_processors_are_not_told_apart():
    records = [
        opened("s", 0), start("s", "a#1", "a", 0), start("s", "b#1", "b", 0, device="core1"),
        ok("a#1", 10, 10), ok("b#1", 10, 10), closed("s", 20),
    ]  # fmt: skip
    records[0]["capacity"][1]["name"] = "another core"
    assert mixture(derive(records)) is None
