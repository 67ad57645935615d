from __future__ import annotations

import pytest
from fake_study import CANDIDATE_H, PRETRAIN_H

from accounting.cost.attempts import Attempt, CostView
from accounting.cost.progress import NO_PROGRESS
from accounting.ledger.records import Status
from reports.compare.anytime import AnytimeCurve, anytime_curve, cost_to_reach


def curve_of(frames, route, target=500_000, policy="full", replicate=0):
    return anytime_curve(frames.view, route=route, replicate=replicate, target=target, policy=policy, num_targets=2)


def test_prune_curve_by_hand(frames):
    # epochs of the finetuning end at 0.5 and 0.9 of its 0.2 h; the parent (1M MACs) is no network within the target
    curve = curve_of(frames, "prune")
    assert curve.val_top1 == pytest.approx((0.82, 0.85))
    assert curve.cost_h == pytest.approx((PRETRAIN_H + 0.1, PRETRAIN_H + 0.18))
    assert curve.total_h == pytest.approx(PRETRAIN_H + 0.2 + 0.01)


def test_policies_move_the_curve_along_the_cost(frames):
    assert curve_of(frames, "prune", policy="free").cost_h == pytest.approx((0.1, 0.18))
    assert curve_of(frames, "prune", policy="amortised").cost_h == pytest.approx(
        (PRETRAIN_H / 2 + 0.1, PRETRAIN_H / 2 + 0.18)
    )


def test_search_counts_only_networks_within_the_target(frames):
    # candidates 1 and 3 have 450k MACs (0.50, then 0.71; 0.50, then 0.73), 0 and 2 have 760k (0.74 and 0.76)
    small, large = curve_of(frames, "search", 500_000), curve_of(frames, "search", 800_000)
    assert small.val_top1 == pytest.approx((0.50, 0.71, 0.73, 0.80, 0.86))
    assert large.val_top1 == pytest.approx((0.50, 0.74, 0.76, 0.82, 0.88))
    quarter = CANDIDATE_H[0] / 4
    assert small.cost_h[:3] == pytest.approx((1.5 * quarter, 1.9 * quarter, 3.9 * quarter))
    assert small.cost_h[3:] == pytest.approx((CANDIDATE_H[0] + 0.1, CANDIDATE_H[0] + 0.18))


def test_the_other_targets_work_costs_nothing_here(frames):
    # at 800k the retraining comes after that of 500k, and is charged as if it were not there
    assert curve_of(frames, "search", 800_000).cost_h[-1] == curve_of(frames, "search", 500_000).cost_h[-1]


def test_cost_to_reach():
    curve = AnytimeCurve("prune", 0, 1, "full", (1.0, 2.0, 4.0), (0.5, 0.7, 0.8), 5.0)
    assert [cost_to_reach(curve, q) for q in (0.1, 0.5, 0.6, 0.7, 0.8)] == [1.0, 1.0, 2.0, 2.0, 4.0]
    assert cost_to_reach(curve, 0.81) is None
    assert curve.best == 0.8


def test_a_route_without_networks_has_an_empty_curve(frames):
    curve = curve_of(frames, "search", replicate=17)
    assert (curve.cost_h, curve.best, curve.total_h) == ((), None, 0.0)
    assert cost_to_reach(curve, 0.0) is None


def test_a_running_attempt_is_charged_up_to_now(make_study):
    from reports.data.frames import load_frames

    # 3.42 h pretraining, then the finetuning's first epoch at 3.52 h: the last record before 3.55 h
    frames = load_frames(make_study(routes=("prune",), until_h=3.55))
    curve = curve_of(frames, "prune")
    assert curve.cost_h == pytest.approx((PRETRAIN_H + 0.1,))
    assert curve.total_h == pytest.approx(PRETRAIN_H + 0.1)


def _attempt(**fields):
    defaults = {
        "attempt": "a", "job": "a", "route": "prune", "phase": "finetune", "target": 5, "replicate": 0, "session": "s",
        "allocation": None, "devices": {"GPU-1": 1.0}, "device_kind": "cuda", "meter": "none", "network_macs": 5,
        "spec": {}, "begin_t": 0.0, "end_t": 3600.0, "status": Status.OK, "reason": None, "outcome": None,
        "allocated_s": 3600.0, "productive_s": 3600.0, "overhead_s": 0.0, "lost_s": 0.0, "uncertainty_s": 0.0, "flags": (),
    }  # fmt: skip
    return Attempt(**(defaults | fields))


def _view(*attempts):
    return CostView(tuple(attempts), (), (), (), "gpu_hours", NO_PROGRESS)


def test_cpu_hours_never_enter_gpu_hours():
    on_cpu = _attempt(attempt="b", device_kind="cpu_core", end_t=7200.0, allocated_s=7200.0)
    on_gpu = _attempt(outcome={"val_top1": 0.5, "macs": 4})
    curve = anytime_curve(_view(on_gpu, on_cpu), route="prune", replicate=0, target=5, policy="full", num_targets=1)
    assert (curve.cost_h, curve.total_h) == ((1.0,), 1.0)


def test_a_better_network_at_no_further_cost_replaces_the_point():
    first = _attempt(outcome={"val_top1": 0.5, "macs": 4})
    on_cpu = _attempt(attempt="b", device_kind="cpu_core", end_t=7200.0, outcome={"val_top1": 0.6, "macs": 5})
    too_large = _attempt(attempt="c", device_kind="cpu_core", end_t=9000.0, outcome={"val_top1": 0.9, "macs": 6})
    view = _view(first, on_cpu, too_large)
    curve = anytime_curve(view, route="prune", replicate=0, target=5, policy="full", num_targets=1)
    assert (curve.cost_h, curve.val_top1) == ((1.0,), (0.6,))
