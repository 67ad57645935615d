"""What had been charged when a network within the target first had an accuracy, by hand on `fake_study`."""

from __future__ import annotations

import numpy as np
import pytest
from fake_study import CANDIDATE_H, PRETRAIN_H

from accounting.cost.attempts import Attempt, CostView
from accounting.cost.progress import NO_PROGRESS
from accounting.cost.shares import charged_rate
from accounting.ledger.records import Status
from reports.answers.study import JudgedStudy
from reports.compare.replay import replay

DUST = 1e-9
"""Levels are a little below what was measured, because smoothing adds and subtracts."""


def charged(frames, route, *levels, target=500_000, policy="full", replicate=0):
    """The device-hours charged when a network first had each accuracy; infinite if none ever had it."""
    contenders = JudgedStudy(frames).contenders
    one = next(one for one in contenders.at(target) if one.label == route)
    costs, _ = contenders.costs_at(one, target, policy, np.array(levels) - DUST)
    return list(costs[contenders.replicates.index(replicate)])


def test_prune_by_hand(frames):
    # the finetuning's epochs end at 0.5 and 0.9 of its 0.2 h; the parent (1M MACs) is not within the target
    assert charged(frames, "prune", 0.82, 0.85) == pytest.approx([PRETRAIN_H + 0.1, PRETRAIN_H + 0.18])
    assert charged(frames, "prune", 0.86) == [np.inf]


def test_policies_move_the_curve_along_the_cost(frames):
    assert charged(frames, "prune", 0.82, 0.85, policy="free") == pytest.approx([0.1, 0.18])
    half = PRETRAIN_H / 2
    assert charged(frames, "prune", 0.82, 0.85, policy="amortised") == pytest.approx([half + 0.1, half + 0.18])


def test_search_counts_only_networks_within_the_target(frames):
    # candidates 1 and 3 have 450k MACs (0.50, then 0.71; 0.50, then 0.73), 0 and 2 have 760k (0.74 and 0.76)
    quarter = CANDIDATE_H[0] / 4
    small = charged(frames, "search", 0.50, 0.71, 0.73, 0.80, 0.86)
    assert small == pytest.approx(
        [*(n * quarter for n in (1.5, 1.9, 3.9)), CANDIDATE_H[0] + 0.1, CANDIDATE_H[0] + 0.18]
    )
    large = charged(frames, "search", 0.50, 0.74, 0.76, 0.82, 0.88, target=800_000)
    assert large[:3] == pytest.approx([n * quarter for n in (0.5, 0.9, 2.9)])


def test_the_other_targets_work_costs_nothing_here(frames):
    # at 800k the retraining comes after that for 500k, but is charged as if that did not exist
    assert charged(frames, "search", 0.88, target=800_000) == pytest.approx(charged(frames, "search", 0.86))


def test_a_running_attempt_is_charged_up_to_now(make_study):
    from reports.data.frames import load_frames

    # 3.42 h of pretraining, then the finetuning's first epoch ends at 3.52 h, the last record before 3.55 h
    frames = load_frames(make_study(routes=("prune",), until_h=3.55))
    assert charged(frames, "prune", 0.82, 0.83) == [pytest.approx(PRETRAIN_H + 0.1), np.inf]


def _attempt(name, **fields):
    defaults = {
        "attempt": name, "job": name, "route": "prune", "phase": "finetune", "target": 5, "replicate": 0, "session": "s",
        "allocation": None, "devices": {"GPU-1": 1.0}, "device_kind": "cuda", "meter": "none", "network_macs": 5,
        "spec": {}, "begin_t": 0.0, "end_t": 3600.0, "status": Status.OK, "reason": None, "outcome": None,
        "allocated_s": 3600.0, "productive_s": 3600.0, "overhead_s": 0.0, "lost_s": 0.0, "uncertainty_s": 0.0, "flags": (),
    }  # fmt: skip
    return Attempt(**(defaults | fields))


def _replayed(*attempts):
    view = CostView(attempts, (), (), (), "gpu_hours", NO_PROGRESS)
    rates = [charged_rate(view, attempt, "full", 5, 1) for attempt in attempts]
    return replay(attempts, {"full": rates}, {}, NO_PROGRESS, {}, "prune", 5)["full"]


def test_cpu_hours_never_enter_gpu_hours():
    on_cpu = _attempt("b", device_kind="cpu_core", end_t=7200.0, allocated_s=7200.0)
    found = _replayed(_attempt("a", outcome={"val_top1": 0.5, "macs": 4}), on_cpu)
    assert (found.steps.cost_of(0.5), found.spent_h) == (1.0, 1.0)


def test_a_better_network_at_no_further_cost_counts_and_one_above_the_target_does_not():
    first = _attempt("a", outcome={"val_top1": 0.5, "macs": 4})
    on_cpu = _attempt("b", device_kind="cpu_core", end_t=7200.0, outcome={"val_top1": 0.6, "macs": 5})
    too_large = _attempt("c", device_kind="cpu_core", end_t=9000.0, outcome={"val_top1": 0.9, "macs": 6})
    steps = _replayed(first, on_cpu, too_large).steps
    assert (steps.cost_of(0.5), steps.cost_of(0.6), steps.cost_of(0.7)) == (1.0, 1.0, np.inf)
    assert steps.final() == 0.6
