"""The verdict of a study, from its ledger; the costs are worked out in `fake_study`.

The routes' medians are 0.85 and 0.86 (0.87 and 0.88 at 800k), so a* is 0.84 (0.86). Pruning's second epoch rises from
0.82 to 0.85 between 0.10 h and 0.18 h, so a* is two thirds of the way: 0.1533 h. Search's rises from 0.80 to 0.86:
also 0.1533 h.
"""

from __future__ import annotations

import math

import pytest
from fake_study import CANDIDATE_H, PRETRAIN_H

from reports.answers.study import JudgedStudy
from reports.compare.accuracy import accuracies, decide_accuracy
from reports.compare.accuracy import test_difference as difference_on_test
from reports.compare.rule import Verdict
from reports.compare.verdict import decide_interval
from reports.data.frames import load_frames
from reports.statistics import Estimate

IN = 0.1 + 0.08 * 2 / 3
"""Hours into the fine-tuning, and into the retraining, at which a* is reached."""
T = {500_000: 6.205347, 800_000: 4.302653}
"""t(0.9875, 2) and t(0.975, 2): Holm tests the first of two equally certain claims at 2.5 %, the other at 5 %."""


def costs_of(frames, policy, target=500_000):
    return JudgedStudy(frames).verdicts.costs[target]["search"][policy]


def interval(ratios, t):
    """The geometric mean of three ratios and its bounds."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = sum(logs) / 3
    sd = math.sqrt(sum((log - mean) ** 2 for log in logs) / 2)
    half = t * sd / math.sqrt(3)
    return [math.exp(mean + side * half) for side in (0, -1, 1)]


@pytest.mark.parametrize("target", [500_000, 800_000])
def test_free_parent_by_hand(frames, target):
    costs = costs_of(frames, "free", target)
    expected = interval([(hours + IN) / IN for hours in CANDIDATE_H], T[target])
    assert [costs.cost_ratio.value, costs.cost_ratio.low, costs.cost_ratio.high] == pytest.approx(expected, rel=1e-5)
    assert costs.verdict is Verdict.BASE
    assert costs.level == pytest.approx(0.84 if target == 500_000 else 0.86)
    assert costs.alpha == pytest.approx(0.025 if target == 500_000 else 0.05)


def test_the_verdict_flips_when_the_parent_is_charged(frames):
    costs = costs_of(frames, "full")
    ratios = [(hours + IN) / (PRETRAIN_H + IN) for hours in CANDIDATE_H]
    expected = interval(ratios, T[500_000])
    assert [costs.cost_ratio.value, costs.cost_ratio.low, costs.cost_ratio.high] == pytest.approx(expected, rel=1e-5)
    assert costs.verdict is Verdict.INSUFFICIENT_EVIDENCE  # as one of two targets
    pooled = JudgedStudy(frames).verdicts.pooled["search"]["full"]
    assert pooled.cost_ratio.high == pytest.approx(interval(ratios, T[800_000])[2], rel=1e-5)
    assert pooled.verdict is Verdict.CHALLENGER  # as the only primary claim
    assert costs.total["prune"].value == pytest.approx(PRETRAIN_H + 0.21)
    assert costs.total["search"].value == pytest.approx(sum(CANDIDATE_H) / 3 + 0.21)
    assert costs.to_quality["prune"].value == pytest.approx(PRETRAIN_H + IN)
    assert costs.num_reached == {"search": 3, "prune": 3}


def test_amortised_over_two_targets(frames):
    costs = costs_of(frames, "amortised")
    expected = interval([(hours / 2 + IN) / (PRETRAIN_H / 2 + IN) for hours in CANDIDATE_H], T[500_000])
    assert costs.cost_ratio.value == pytest.approx(expected[0])
    assert costs.total_cost_ratio.value == pytest.approx((0.48 * 0.66 * 0.93) ** (1 / 3) / 1.92)


def test_an_undecided_middle_says_how_many_would_settle_it(make_study):
    costs = costs_of(load_frames(make_study(pretrain_h=1.02)), "full")
    assert costs.verdict is Verdict.INSUFFICIENT_EVIDENCE
    assert costs.settling_n is not None and costs.settling_n > 3


def test_one_replicate_is_no_evidence(make_study):
    costs = costs_of(load_frames(make_study(replicates=1)), "free")
    assert (costs.cost_ratio.value, costs.cost_ratio.low, costs.cost_ratio.n) == (
        pytest.approx((CANDIDATE_H[0] + IN) / IN),
        None,
        1,
    )
    assert costs.verdict is Verdict.INSUFFICIENT_EVIDENCE


def test_accuracies_are_paired(frames):
    # test: prune 0.84, 0.85, 0.86; search 0.83 each: differences 0.01, 0.02, 0.03
    study = JudgedStudy(frames)
    prune, search = (study.contender(label, 500_000) for label in ("prune", "search"))
    difference = difference_on_test(study.contenders, prune, search, 500_000)
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
    ("value", "low", "high", "expected"),
    [
        (2.0, 1.01, 3.0, Verdict.BASE),
        (1.03, 1.01, 1.05, Verdict.TIE),  # certainly not 1, but not beyond 1.05 either
        (0.5, 0.2, 0.99, Verdict.CHALLENGER),
        (1.0, 0.81, 1.24, Verdict.TIE),
        (1.0, 0.79, 1.2, Verdict.INSUFFICIENT_EVIDENCE),
        (1.4, 1.0, 2.0, Verdict.INSUFFICIENT_EVIDENCE),
        (1.4, None, None, Verdict.INSUFFICIENT_EVIDENCE),
    ],
)
def test_an_envelope_is_read_like_an_interval(value, low, high, expected):
    assert decide_interval(Estimate(value, low, high, None, 3)) is expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.01, 0.02, "base"), (-0.02, -0.01, "challenger"), (-0.01, 0.01, "insufficient_evidence")],
)
def test_decide_accuracy(low, high, expected):
    assert decide_accuracy(Estimate((low + high) / 2, low, high, 0.1, 3)) == expected


def test_pooling_averages_targets_within_replicates(frames):
    pooled = JudgedStudy(frames).verdicts.pooled["search"]["free"]
    expected = interval([(hours + IN) / IN for hours in CANDIDATE_H], 4.302653)  # a single claim: 95 %
    assert [pooled.cost_ratio.value, pooled.cost_ratio.low, pooled.cost_ratio.high] == pytest.approx(expected, rel=1e-5)
    assert (pooled.num_targets, pooled.alpha) == (2, 0.05)
