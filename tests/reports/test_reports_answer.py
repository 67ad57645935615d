from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from fake_study import START

import reports
from accounting.ledger import LedgerWriter
from accounting.records import Kind
from reports.answer import all_answers, answer, one_line
from reports.frames import load_frames
from reports.interpolate import interpolate_answer
from reports.sentences import accuracy_sentence, answer_sentence

SCHEMA = json.loads((Path(reports.__file__).parent / "answer.schema.json").read_text())


def check_schema(given):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(json.dumps(given, allow_nan=False)), SCHEMA)


def test_measured(study):
    given = answer(study, 500_000)
    check_schema(given)
    assert (given["status"], given["n"], given["complete"], given["unit"]) == ("measured", 3, True, "cpu_core_hours")
    assert {policy: fields["verdict"] for policy, fields in given["policies"].items()} == {
        "full": "search", "free": "prune", "amortised": "search",
    }  # fmt: skip
    assert given["policies"]["full"]["cost_ratio"]["value"] == pytest.approx(0.3)
    assert given["accuracy"]["prune"]["test_top1"]["value"] == pytest.approx(0.85)
    assert given["accuracy_difference"]["value"] == pytest.approx(0.02)
    sentence = one_line(given)
    for part in ("At 0.5M MACs", "pruning took 3.33×", "CPU core-hours", "95 % interval 1.22 to 9.13", "n = 3",
                 "search is cheaper", "with the parent free, pruning is cheaper", "+2.0 points"):  # fmt: skip
        assert part in sentence
    assert "\n" not in sentence


def test_interpolated(study):
    given = answer(study, 632_456)  # halfway in log MACs
    check_schema(given)
    assert (given["status"], given["n"]) == ("interpolated", 3)
    assert given["accuracy"]["prune"]["test_top1"]["value"] == pytest.approx(0.86, abs=1e-6)
    assert "interpolated" in one_line(given)
    assert "nothing was trained" in given["notes"][0]


def test_interpolation_is_linear_in_log_macs_and_never_narrower():
    def at(macs, ratio, low, high):
        estimate = {"value": ratio, "low": low, "high": high, "sd": 0.1, "n": 3}
        nothing = {"value": None, "low": None, "high": None, "sd": None, "n": 0}
        both = {"search": estimate, "prune": nothing}
        policy = {"verdict": "prune", "cost_ratio": estimate, "cost_to_equal_quality": both, "total_cost": both,
                  "total_cost_ratio": nothing}  # fmt: skip
        return {"target_macs": macs, "policies": {"full": policy}, "headline_policy": "full", "n": 3, "complete": True,
                "accuracy": {}, "accuracy_difference": nothing, "notes": []}  # fmt: skip

    fields = interpolate_answer(at(100, 2.0, 1.5, 3.0), at(10_000, 8.0, 0.9, 9.0), 1_000)
    ratio = fields["policies"]["full"]["cost_ratio"]
    assert ratio["value"] == pytest.approx(math.sqrt(16))
    assert (ratio["low"], ratio["high"]) == (0.9, 9.0)
    assert fields["verdict"] == "insufficient_evidence"
    assert fields["policies"]["full"]["total_cost"]["prune"]["value"] is None


@pytest.mark.parametrize(
    ("target", "reason", "change"),
    [
        (300_000, "below the study's targets", "targets: [0.3M, 0.5M, 0.8M]"),
        (900_000, "above the study's targets", "targets: [0.5M, 0.8M, 0.9M]"),
        (1_000_000, "the parent has 1M MACs", "targets: [0.5M, 0.8M, 1M]"),
    ],
)
def test_refused_outside(study, target, reason, change):
    given = answer(study, target)
    check_schema(given)
    assert given["status"] == "refused"
    assert reason in given["reason"]
    assert change in given["config_change"]
    assert "no answer" in one_line(given)


def test_refused_while_incomplete(make_study):
    folder = make_study(until_h=2)  # no pruned network yet
    for target in (500_000, 600_000):
        given = answer(folder, target)
        check_schema(given)
        assert given["status"] == "refused"
        assert "search 1 of 3 and prune 0 of 3" in given["reason"]
        assert given["config_change"] is None


def test_refused_since_the_budget_is_spent(make_study):
    given = answer(make_study(until_h=3, budget={"prune": 2.0, "search": 50.0}), 500_000)
    check_schema(given)
    assert "the budget is spent of prune (2.00 CPU core-hours)" in given["reason"]
    assert given["config_change"] == "budget: {prune: 4.00 h}  # or none"


def test_refused_since_jobs_failed(make_study):
    folder = make_study(until_h=3)
    with LedgerWriter(folder / "ledger", "s1", "driver", clock=lambda: START + 11_000) as writer:
        writer.append(Kind.JOB_ABANDONED, session="s1", job="prune-r0-pretrain", reason="diverged")
        writer.append(Kind.SESSION_CLOSED, session="s1", reason="done")
    given = answer(folder, 500_000)
    check_schema(given)
    assert given["reason"].endswith("the study has ended, with 1 failed jobs")


def test_refused_without_a_route(make_study):
    given = answer(make_study(routes=("prune", "scratch")), 500_000)
    check_schema(given)
    assert "no search route" in given["reason"]
    assert given["config_change"].startswith("routes: {search:")


def test_one_replicate_says_so(make_study):
    given = answer(make_study(replicates=1, planned=3), 500_000)
    check_schema(given)
    assert (given["n"], given["complete"], given["verdict"]) == (1, False, "insufficient_evidence")
    assert given["policies"]["full"]["cost_ratio"]["low"] is None
    assert "n = 1 replicate, so no interval" in one_line(given)
    assert given["notes"] == ["1 of 3 replicates have both networks", "one replicate gives no interval, so no verdict"]


def test_a_partial_study_uses_finished_replicates(make_study):
    given = answer(make_study(until_h=8.5), 500_000)  # prune replicates end at 3.84 h each
    check_schema(given)
    assert (given["status"], given["n"], given["complete"]) == ("measured", 2, False)


def test_gpu_hours_are_named(make_study):
    given = answer(make_study(cuda=True), 500_000)
    assert "GPU-hours" in one_line(given)
    assert "CPU" not in one_line(given)


def test_a_parent_that_costs_nothing_makes_the_policies_equal(make_study):
    given = all_answers(load_frames(make_study(pretrain_h=0.0)))[0]
    assert given["policies"]["full"]["cost_ratio"] == given["policies"]["free"]["cost_ratio"]
    assert "but" not in one_line(given)


@pytest.mark.parametrize(
    ("more_accurate", "said"),
    [
        ("prune", "the pruned network is more"),
        ("search", "found by search is more"),
        ("insufficient_evidence", "neither"),
    ],
)
def test_accuracy_in_words(study, more_accurate, said):
    assert said in accuracy_sentence(answer(study, 500_000) | {"more_accurate": more_accurate})


def test_no_ratio_is_said():
    nothing = {"value": None, "low": None, "high": None, "sd": None, "n": 0}
    policy = {"verdict": "insufficient_evidence", "cost_ratio": nothing}
    given = {"status": "measured", "target_macs": 5_000, "unit": "gpu_hours", "headline_policy": "full",
             "policies": {"full": policy}, "accuracy_difference": nothing}  # fmt: skip
    assert answer_sentence(given) == (
        "At 5k MACs, all work charged, there is no cost ratio in GPU-hours (a route was charged nothing, or measured "
        "nothing): insufficient evidence for which is cheaper; prune − search test accuracy: –."
    )


@pytest.mark.parametrize("bad", [0, -5, 0.5, True])
def test_a_target_is_a_positive_whole_number(study, bad):
    with pytest.raises(ValueError, match="positive whole number"):
        answer(study, bad)
