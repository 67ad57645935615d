"""Who pays for the parent that the prune route trained when another route builds on it, on a ledger written by hand."""

import pytest
from ledger_records import closed, ok, opened, start, work

from accounting.cost.attempts import derive
from accounting.cost.charges import ChargePolicy, charged_s
from accounting.cost.shares import route_attempts, route_cost_h, spent_s

FULL, FREE, AMORTISED = ChargePolicy.FULL, ChargePolicy.FREE, ChargePolicy.AMORTISED
PRETRAIN = "prune-r0-pretrain"
LINES = (
    # (job, route, phase, target, seconds, began from)
    (PRETRAIN, "prune", "pretrain", None, 30, None),
    ("prune-finetune", "prune", "finetune", 500, 8, PRETRAIN),
    ("analysis-scan", "analysis", "evaluate", None, 4, PRETRAIN),
    ("scores", "subnet_search", "search", None, 6, PRETRAIN),
    ("finetune-500", "subnet_search", "finetune", 500, 10, PRETRAIN),
    ("evaluate-500", "subnet_search", "evaluate", 500, 1, "finetune-500"),
    ("search-candidate", "search", "search", None, 5, None),
    ("scores-r1", "subnet_search", "search", None, 7, None),
)  # fmt: skip


@pytest.fixture(scope="module")
def view():
    records, t = [opened("s", 0, {"core0": 1.0})], 1.0
    for job, route, phase, target, seconds, source in LINES:
        replicate = 1 if job.endswith("r1") else 0
        begun = start("s", job, job, t, route=route, phase=phase, target=target, replicate=replicate)
        spec = {} if source is None else {"init_from": source}
        records += [begun | {"spec": spec}, work(job, t), ok(job, t + seconds, t + seconds)]
        t += seconds
    return derive([*records, closed("s", t)])


@pytest.mark.parametrize(
    ("route", "target", "policy", "charged"),
    [
        ("subnet_search", 500, FULL, {"pretrain": 30, "search": 6, "finetune": 10, "evaluate": 1}),
        ("subnet_search", 500, FREE, {"pretrain": 0, "search": 6, "finetune": 10, "evaluate": 1}),
        ("subnet_search", 500, AMORTISED, {"pretrain": 15, "search": 3, "finetune": 10, "evaluate": 1}),
        ("prune", 500, FULL, {"pretrain": 30, "finetune": 8}),
        ("search", 500, FULL, {"search": 5}),
        ("analysis", 500, FULL, {"evaluate": 4}),
    ],
)
def test_who_is_charged_for_the_parent(view, route, target, policy, charged):
    got = charged_s(view, route=route, target=target, replicate=0, policy=policy, num_targets=2)
    assert got == pytest.approx(charged)
    assert route_cost_h(view, policy.value, route, 0, target, 2) * 3600 == pytest.approx(sum(charged.values()))


def test_another_replicate_is_another_parent_s(view):
    assert charged_s(view, route="subnet_search", target=500, replicate=1, policy=FULL, num_targets=2) == {"search": 7}


def test_stand_in_the_order_of_time_and_are_spent_once(view):
    assert [a.job for a in route_attempts(view, "subnet_search", 0, 500)] == [
        PRETRAIN, "scores", "finetune-500", "evaluate-500",
    ]  # fmt: skip
    assert spent_s(view)["prune", 0] == 38
    assert spent_s(view)["subnet_search", 0] == 17
