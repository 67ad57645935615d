from __future__ import annotations

import pytest
from ledger_records import golden, ok, opened, start

from accounting.cost.attempts import derive
from accounting.cost.charges import ChargePolicy, charge_factor, charged_s

FULL, FREE, AMORTISED = ChargePolicy.FULL, ChargePolicy.FREE, ChargePolicy.AMORTISED


@pytest.mark.parametrize(
    ("policy", "phase", "attempt_target", "factor"),
    [
        (FULL, "pretrain", None, 1),
        (FREE, "pretrain", None, 0),
        (AMORTISED, "pretrain", None, 0.25),
        (FULL, "search", None, 1),
        (FREE, "search", None, 1),
        (AMORTISED, "search", None, 0.25),
        (FULL, "finetune", 500, 1),
        (FREE, "pretrain", 500, 1),
        (AMORTISED, "finetune", 500, 1),
        (FULL, "finetune", 300, 0),
        (AMORTISED, "retrain", 300, 0),
        (FULL, "export", 500, 0),
        (FREE, "export", 500, 0),
        (AMORTISED, "export", None, 0),
    ],
)
def test_factor(policy: ChargePolicy, phase: str, attempt_target: int | None, factor: float) -> None:
    assert charge_factor(policy, phase=phase, attempt_target=attempt_target, target=500, num_targets=4) == factor


def test_num_targets_must_be_positive() -> None:
    with pytest.raises(ValueError, match="num_targets must be at least 1, got 0"):
        charge_factor(FULL, phase="search", attempt_target=None, target=500, num_targets=0)


@pytest.mark.parametrize(
    ("route", "target", "policy", "charged"),
    [
        # a1 27 s and its duplicate e2 30 s; b1 54 s
        ("prune", 500, FULL, {"pretrain": 57, "evaluate": 54}),
        ("prune", 500, FREE, {"pretrain": 0, "evaluate": 54}),
        ("prune", 500, AMORTISED, {"pretrain": 28.5, "evaluate": 54}),
        # c1 38 s lost, e1 18 s failed: both are paid although they produced nothing
        ("prune", 300, FULL, {"pretrain": 57, "finetune": 56}),
        # a2 18 + d2 20; a3 40 + d1 18
        ("search", 500, FREE, {"search": 38, "retrain": 58}),
        ("search", 500, AMORTISED, {"search": 19, "retrain": 58}),
        ("scratch", 500, FULL, {}),
    ],
)
def test_charged_of_the_golden_ledger(route: str, target: int, policy: ChargePolicy, charged: dict[str, float]) -> None:
    view = derive(golden())
    got = charged_s(view, route=route, target=target, replicate=0, policy=policy, num_targets=2)
    assert got == pytest.approx(charged)
    assert charged_s(view, route=route, target=target, replicate=1, policy=policy, num_targets=2) == {}


def test_all_targets_together_amortise_to_what_was_spent() -> None:
    view = derive(golden())
    charged = sum(
        sum(charged_s(view, route=route, target=t, replicate=0, policy=AMORTISED, num_targets=2).values())
        for route in ("prune", "search")
        for t in (300, 500)
    )
    assert charged == pytest.approx(sum(attempt.allocated_s for attempt in view.attempts)) == pytest.approx(263)


def test_cpu_seconds_never_enter_a_sum_of_gpu_seconds() -> None:
    records = [
        opened("s", 0, {"GPU-1": 1.0}, "cuda"),
        start("s", "a", "j", 0, device="GPU-1"),
        ok("a", 10),
        start("s", "b", "k", 0, device="core0", amount=16.0),
        ok("b", 10),
    ]
    charged = charged_s(derive(records), route="prune", target=500, replicate=0, policy=FULL, num_targets=1)
    assert charged == {"pretrain": 10}
