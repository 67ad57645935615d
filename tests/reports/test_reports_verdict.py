from __future__ import annotations

import math

import pytest
from fake_study import CANDIDATE_H, PRETRAIN_H
from hypothesis import given
from hypothesis import strategies as st

from reports.compare.verdict import (
    Verdict,
    accuracies,
    compare_costs,
    decide,
    decide_accuracy,
    difference_on_test,
    pool_targets,
)
from reports.data.frames import load_frames
from reports.statistics import Estimate

HALF = math.exp(4.302652729 * math.log(1.5) / math.sqrt(3))
"""Half width (as a factor) of the interval of three ratios that are a factor of 1.5 apart each."""


def costs_of(frames, policy, target=500_000):
    return compare_costs(frames.view, frames.info, frames.delivered, target, policy)


@pytest.mark.parametrize("target", [500_000, 800_000])
def test_free_parent_by_hand(frames, target):
    # prune reaches 0.85 after 0.18 h; search after 0.54, 0.90, 1.44 + 0.18 h: ratios 4, 6, 9
    costs = costs_of(frames, "free", target)
    assert costs.ratio_of == pytest.approx({0: 4.0, 1: 6.0, 2: 9.0})
    assert costs.cost_ratio.value == pytest.approx(6.0)
    assert costs.cost_ratio.low == pytest.approx(6 / HALF, rel=1e-6)
    assert costs.cost_ratio.high == pytest.approx(6 * HALF, rel=1e-6)
    assert costs.verdict is Verdict.PRUNE
    assert costs.quality_of == pytest.approx(dict.fromkeys(range(3), 0.85 if target == 500_000 else 0.87))


def test_the_verdict_flips_when_the_parent_is_charged(frames):
    # prune needs 3.42 + 0.18 = 3.60 h: ratios 0.2, 0.3, 0.45, geometric mean 0.3
    costs = costs_of(frames, "full")
    assert costs.ratio_of == pytest.approx({0: 0.2, 1: 0.3, 2: 0.45})
    assert costs.cost_ratio.high == pytest.approx(0.3 * HALF, rel=1e-6)
    assert costs.verdict is Verdict.CHALLENGER
    assert costs.total["prune"].value == pytest.approx(PRETRAIN_H + 0.21)
    assert costs.total["search"].value == pytest.approx(sum(CANDIDATE_H) / 3 + 0.21)
    assert costs.to_quality["prune"].value == pytest.approx(3.6)


def test_amortised_over_two_targets(frames):
    # prune 1.71 + 0.18 = 1.89; search 0.27, 0.45, 0.72 + 0.18
    costs = costs_of(frames, "amortised")
    assert costs.ratio_of == pytest.approx({0: 0.45 / 1.89, 1: 0.63 / 1.89, 2: 0.90 / 1.89})
    assert costs.total_cost_ratio.value == pytest.approx((0.48 * 0.66 * 0.93) ** (1 / 3) / 1.92)


def test_an_undecided_middle(make_study):
    # pretraining 1.02 + 0.18 = 1.2 h: ratios 0.6, 0.9, 1.35; the interval spans 1
    costs = costs_of(load_frames(make_study(pretrain_h=1.02)), "full")
    assert costs.cost_ratio.value == pytest.approx(0.9)
    assert costs.verdict is Verdict.INSUFFICIENT_EVIDENCE


def test_one_replicate_is_no_evidence(make_study):
    costs = costs_of(load_frames(make_study(replicates=1)), "free")
    assert (costs.cost_ratio.value, costs.cost_ratio.low, costs.cost_ratio.n) == (pytest.approx(4.0), None, 1)
    assert costs.verdict is Verdict.INSUFFICIENT_EVIDENCE


def test_accuracies_are_paired(frames):
    # test: prune 0.84, 0.85, 0.86; search 0.83 each: differences 0.01, 0.02, 0.03
    difference = difference_on_test(frames.delivered, 500_000)
    assert difference.value == pytest.approx(0.02)
    assert difference.low == pytest.approx(0.02 - 4.302653 * 0.01 / math.sqrt(3), abs=1e-7)
    assert decide_accuracy(difference) is Verdict.INSUFFICIENT_EVIDENCE
    assert set(accuracies(frames.delivered, 500_000)) == {
        "prune",
        "search",
        "scratch_family",
        "scratch_pruned_structure",
    }


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.01, 3.0, Verdict.PRUNE),
        (1.01, 1.05, Verdict.PRUNE),
        (0.2, 0.99, Verdict.CHALLENGER),
        (0.81, 1.24, Verdict.TIE),
        (0.80, 1.25, Verdict.TIE),
        (0.79, 1.2, Verdict.INSUFFICIENT_EVIDENCE),
        (0.9, 1.26, Verdict.INSUFFICIENT_EVIDENCE),
        (1.0, 2.0, Verdict.INSUFFICIENT_EVIDENCE),
        (None, None, Verdict.INSUFFICIENT_EVIDENCE),
    ],
)
def test_decide(low, high, expected):
    assert decide(Estimate(1.0, low, high, None if low is None else 0.1, 1 if low is None else 3)) is expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.01, 0.02, "prune"), (-0.02, -0.01, "challenger"), (-0.01, 0.01, "insufficient_evidence")],
)
def test_decide_accuracy(low, high, expected):
    assert decide_accuracy(Estimate((low + high) / 2, low, high, 0.1, 3)) == expected


@given(st.floats(0.01, 100), st.floats(1.0, 50))
def test_swapping_the_routes_swaps_the_verdict(middle, factor):
    swap = {Verdict.PRUNE: Verdict.CHALLENGER, Verdict.CHALLENGER: Verdict.PRUNE}
    there = decide(Estimate(middle, middle / factor, middle * factor, 0.1, 3))
    back = decide(Estimate(1 / middle, 1 / (middle * factor), factor / middle, 0.1, 3))
    low_or_high_is_on_a_border = any(
        math.isclose(bound, border, rel_tol=1e-9)
        for bound in (middle / factor, middle * factor)
        for border in (0.8, 1, 1.25)
    )
    assert low_or_high_is_on_a_border or back is swap.get(there, there)


def test_pooling_averages_targets_within_replicates(frames):
    pooled = pool_targets([costs_of(frames, "free", 500_000), costs_of(frames, "free", 800_000)])
    assert (pooled.value, pooled.n) == (pytest.approx(6.0), 3)
    assert pool_targets([]).n == 0
