"""Who pays for a teacher, on a ledger by hand: a search and a control learn from the parent that pruning trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ledger_records import closed, ok, opened, start, work

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.cost.charges import ChargePolicy, charged_s
from accounting.cost.lineage import needed, specs_of, teacher_of, work_for
from accounting.cost.shares import network_h, route_attempts, route_cost_h, spent_s
from accounting.ledger.records import Record

FULL, FREE, AMORTISED = ChargePolicy.FULL, ChargePolicy.FREE, ChargePolicy.AMORTISED
PRETRAIN = "prune-r0-pretrain"
TAUGHT = {"teacher": {"name": "parent", "job": PRETRAIN}}
LINES = (
    # (job, route, phase, target, seconds, spec)
    (PRETRAIN, "prune", "pretrain", None, 30, {}),
    ("prune-prune", "prune", "prune", 500, 2, {"init_from": PRETRAIN}),
    ("prune-finetune", "prune", "finetune", 500, 8, {"init_from": "prune-prune", "teacher": TAUGHT["teacher"]}),
    ("search-candidate", "search", "search", None, 5, {}),
    ("search-retrain-500", "search", "retrain", 500, 20, TAUGHT),
    ("search-retrain-300", "search", "retrain", 300, 10, {}),
    ("scratch-family", "scratch", "retrain", 500, 9, TAUGHT),
    ("scratch-evaluate", "scratch", "evaluate", 500, 1, {"init_from": "scratch-family"}),
    ("search-r1", "search", "search", None, 7, {}),
)  # fmt: skip
"""One core, one job at a time. The search's network for 500 learned from the parent; its network for 300 did not."""


def ledger(*without: str) -> list[Record]:
    records, t = [opened("s", 0, {"core0": 1.0})], 1.0
    for job, route, phase, target, seconds, spec in LINES:
        if job in without:
            continue
        replicate = 1 if job.endswith("r1") else 0
        begun = start("s", job, job, t, route=route, phase=phase, target=target, replicate=replicate) | {"spec": spec}
        records += [begun, work(job, t), ok(job, t + seconds, t + seconds)]
        t += seconds
    return [*records, closed("s", t)]


@pytest.mark.parametrize(
    ("route", "target", "policy", "charged"),
    [
        # Search needs the parent only as a teacher, and pays for its 30 s as pruning does.
        ("search", 500, FULL, {"pretrain": 30, "search": 5, "retrain": 20}),
        ("search", 500, FREE, {"pretrain": 0, "search": 5, "retrain": 20}),
        ("search", 500, AMORTISED, {"pretrain": 15, "search": 2.5, "retrain": 20}),
        # The network for this target has no teacher.
        ("search", 300, FULL, {"search": 5, "retrain": 10}),
        ("scratch", 500, FULL, {"pretrain": 30, "retrain": 9, "evaluate": 1}),
        # Pruning began from the parent anyway, so it pays only once.
        ("prune", 500, FULL, {"pretrain": 30, "prune": 2, "finetune": 8}),
        ("prune", 500, AMORTISED, {"pretrain": 15, "prune": 2, "finetune": 8}),
    ],
)
def test_who_is_charged_for_the_teacher(
    route: str, target: int, policy: ChargePolicy, charged: dict[str, float]
) -> None:
    view = derive(ledger())
    got = charged_s(view, route=route, target=target, replicate=0, policy=policy, num_targets=2)
    assert got == pytest.approx(charged)
    total = route_cost_h(view, policy.value, route, 0, target, 2)
    assert total * 3600 == pytest.approx(sum(charged.values()))


def test_another_replicate_pays_for_no_teacher_of_this_one() -> None:
    view = derive(ledger())
    assert charged_s(view, route="search", target=500, replicate=1, policy=FULL, num_targets=2) == {"search": 7}


def test_what_was_spent_is_counted_once_whoever_is_charged() -> None:
    view = derive(ledger())
    assert spent_s(view) == {("prune", 0): 40, ("search", 0): 35, ("scratch", 0): 10, ("search", 1): 7}


def test_attempts_stay_in_the_order_of_time() -> None:
    view = derive(ledger())
    jobs = [attempt.job for attempt in route_attempts(view, "search", 0, 500)]
    assert jobs == [PRETRAIN, "search-candidate", "search-retrain-500"]


def test_a_network_of_one_chain_pays_for_its_teacher() -> None:
    view = derive(ledger())
    assert needed(specs_of(view.attempts), "scratch-evaluate") == ["scratch-evaluate", "scratch-family", PRETRAIN]
    own_h, pretraining_h = network_h(view, "scratch-evaluate")
    assert (own_h * 3600, pretraining_h * 3600) == pytest.approx((10, 30))


def test_a_teacher_that_had_a_teacher_is_paid_for_with_it() -> None:
    view = derive(ledger())
    taught = [replace(a, spec={**a.spec, **TAUGHT}) if a.job == "search-retrain-300" else a for a in view.attempts]
    pupil = [
        replace(a, spec={"teacher": {**TAUGHT["teacher"], "job": "search-retrain-300"}})
        if a.job == "scratch-family"
        else a  # type: ignore[typeddict-item]
        for a in taught
    ]
    found = {attempt.job for attempt in work_for(replace(view, attempts=tuple(pupil)), "scratch", 0, 500)}
    assert found == {"scratch-family", "scratch-evaluate", "search-retrain-300", PRETRAIN}


@pytest.mark.parametrize(
    "spec", [{}, {"teacher": None}, {"teacher": {"name": "timm:x", "job": None}}, {"teacher": "x"}]
)
def test_a_teacher_from_elsewhere_costs_nothing_before_its_passes(spec: Record) -> None:
    assert teacher_of(spec) is None  # type: ignore[arg-type]


def test_a_ledger_without_the_teachers_training_has_lost_it() -> None:
    found = {(finding.code, finding.message) for finding in audit(ledger(PRETRAIN)).findings}
    assert ("input_without_attempt", f"job scratch-family began from {PRETRAIN}, of which there is no attempt: its cost is "
            "missing") in found  # fmt: skip
    assert not [finding for finding in audit(ledger()).findings if finding.severity == "error"]
