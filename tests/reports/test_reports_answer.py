from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from fake_study import START

import reports
from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter
from accounting.words.quantities import parse_hours
from reports.answers import find
from reports.answers.as_json import to_json
from reports.answers.between import linear, logarithmic, weight_between
from reports.answers.text import accuracy_sentence, sentence
from reports.answers.values import Comparison, Measured, Question
from reports.compare.rule import Verdict
from reports.compare.values import CostComparison
from reports.compare.verdict import decide_interval
from reports.data.frames import load_frames
from reports.statistics import NOTHING, Estimate

SCHEMA = json.loads((Path(reports.__file__).parent / "answer.schema.json").read_text())


def answer(folder, target):
    """The answer as JSON, as the command line prints it."""
    return to_json(find.answer(folder, target))


def one_line(given):
    return given["sentence"]


def check_schema(given):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(json.dumps(given, allow_nan=False)), SCHEMA)


def test_measured(study):
    given = answer(study, 500_000)
    check_schema(given)
    assert (given["status"], given["n"], given["complete"], given["unit"]) == ("measured", 3, True, "cpu_core_hours")
    assert {policy: fields["verdict"] for policy, fields in given["policies"].items()} == {
        "full": "insufficient_evidence", "free": "prune", "amortised": "insufficient_evidence",
    }  # fmt: skip
    assert given["policies"]["full"]["cost_ratio"]["value"] == pytest.approx(1 / 3.3973, rel=1e-4)
    assert (given["policies"]["full"]["common_val_top1"], given["provisional"]) == (pytest.approx(0.84), False)
    assert given["policies"]["full"]["replicates_reached"] == {"search": 3, "prune": 3}
    assert given["accuracy"]["prune"]["test_top1"]["value"] == pytest.approx(0.85)
    assert given["accuracy_difference"]["value"] == pytest.approx(0.02)
    sentence = one_line(given)
    for part in ("At 0.5M MACs", "pruning took 3.40×", "CPU core-hours", "to reach 84.0 % on validation",
                 "97.5 % interval, corrected 0.765 to 15.1", "n = 3", "insufficient evidence", "4 replicates",
                 "with the parent free, pruning is cheaper", "no other contender", "+2.0 points"):  # fmt: skip
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
    low, high = Estimate(2.0, 1.5, 3.0, 0.1, 3), Estimate(8.0, 0.9, 9.0, 0.2, 4)
    ratio = logarithmic(low, high, weight_between(100, 10_000, 1_000))
    assert ratio.value == pytest.approx(math.sqrt(16))
    assert (ratio.low, ratio.high, ratio.sd, ratio.n) == (0.9, 9.0, 0.2, 3)
    assert decide_interval(ratio) is Verdict.INSUFFICIENT_EVIDENCE
    assert linear(low, high, 0.5).value == pytest.approx(5.0)
    assert logarithmic(low, NOTHING, 0.5) == Estimate(None, None, None, None, 0)


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
    line = given["config_change"]
    assert line.endswith("  # or no cap: leave the key out")
    assert parse_hours(yaml.safe_load(line)["budget"]["prune"]) >= 4, (
        "twice what was spent; a key without a value is refused"
    )


def test_refused_since_jobs_failed(make_study):
    folder = make_study(until_h=3)
    with LedgerWriter(folder / "ledger", "s1", "driver", clock=lambda: START + 11_000) as writer:
        writer.append(Kind.JOB_ABANDONED, session="s1", job="prune-r0-pretrain", reason="diverged")
        writer.append(Kind.SESSION_CLOSED, session="s1", reason="done")
    given = answer(folder, 500_000)
    check_schema(given)
    assert given["reason"].endswith("the study has ended, with 1 failed job")


def test_refused_without_a_route(make_study):
    given = answer(make_study(routes=("prune", "scratch")), 500_000)
    check_schema(given)
    assert "no search route" in given["reason"]
    assert given["config_change"].startswith("routes: {search:")


def test_one_replicate_says_so(make_study):
    given = answer(make_study(replicates=1, planned=3), 500_000)
    check_schema(given)
    assert (given["n"], given["complete"], given["verdict"]) == (1, False, "insufficient_evidence")
    assert given["provisional"] is True
    assert given["policies"]["full"]["cost_ratio"]["low"] is None
    assert "n = 1 replicate, so no interval" in one_line(given)
    assert given["notes"] == [
        "provisional: 1 of 3 planned replicates are done",
        "one replicate gives no interval, so no verdict",
    ]


def test_a_partial_study_uses_finished_replicates(make_study):
    given = answer(make_study(until_h=8.5), 500_000)  # each prune replicate takes 3.84 h
    check_schema(given)
    assert (given["status"], given["n"], given["complete"]) == ("measured", 2, False)


def test_gpu_hours_are_named(make_study):
    given = answer(make_study(cuda=True), 500_000)
    assert "GPU-hours" in one_line(given)
    assert "CPU" not in one_line(given)


def test_a_parent_that_costs_nothing_makes_the_policies_equal(make_study):
    given = find.all_answers(load_frames(make_study(pretrain_h=0.0)))[0]
    assert given.headline.ratios["full"] == given.headline.ratios["free"]
    assert "but" not in sentence(given)


def measured(ratio=NOTHING, difference=NOTHING, challenger="search"):
    """An answer with one comparison, at 5,000 MACs."""
    costs = CostComparison(challenger, 5_000, "full", decide_interval(ratio), ratio, None, {}, {}, {}, {}, NOTHING)
    question = Question(5_000, "study", "data", "gpu_hours", (5_000,), 3)
    return Measured(question, Comparison(challenger, 3, difference, {"full": costs}), (), {})


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (Estimate(0.02, 0.01, 0.03, 0.01, 3), "the pruned network is more"),
        (Estimate(-0.02, -0.03, -0.01, 0.01, 3), "found by search is more"),
        (Estimate(0.01, -0.01, 0.03, 0.01, 3), "neither"),
    ],
)
def test_accuracy_in_words(difference, said):
    assert said in accuracy_sentence(measured(difference=difference))


@pytest.mark.parametrize("low", [-0.03, -0.01])
def test_another_challenger_is_not_called_search(low):
    """A study may declare another pair for its headline."""
    said = accuracy_sentence(measured(difference=Estimate(low - 0.01, low - 0.02, low, 0.01, 3), challenger="supernet"))
    assert said.startswith("At 5k MACs that of supernet is more accurate than the pruned one: prune − supernet = ")
    said = accuracy_sentence(measured(difference=Estimate(0.0, low, -low, 0.01, 3), challenger="search_then_prune"))
    assert "neither the pruned network nor that of search then prune is shown to be more accurate" in said


def test_no_ratio_is_said():
    assert sentence(measured()) == (
        "At 5k MACs, all work charged, there is no cost ratio in GPU-hours (a route was charged nothing, or measured "
        "nothing): insufficient evidence for which is cheaper; prune − search test accuracy: –."
    )


@pytest.mark.parametrize("bad", [0, -5, 0.5, True])
def test_a_target_is_a_positive_whole_number(study, bad):
    with pytest.raises(ValueError, match="positive whole number"):
        answer(study, bad)
