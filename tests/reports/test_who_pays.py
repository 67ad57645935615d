"""Who pays: parts of costs, break-evens and other terms, worked out by hand on the study of `fake_study`.

At 500k MACs costs are compared at 0.84. Pruning reaches it two thirds of the way from its first epoch (0.1 h into the
finetuning) to its second (0.18 h), and search does so in its retraining: 0.1533 h of each target's own work.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from fake_study import CANDIDATE_H, PRETRAIN_H, build_study
from hypothesis import given
from hypothesis import strategies as st

import reports
from reports.answers.as_json import to_json
from reports.answers.asked import asked_answers
from reports.answers.asked_text import reply_sentence
from reports.answers.asked_values import AskedAnswer, AskedBetween, AskedRefused
from reports.answers.find import answer_from_frames
from reports.answers.pays_text import at_target, break_even_sentences
from reports.answers.refusal_text import config_change, reason_text
from reports.answers.study import JudgedStudy
from reports.answers.whole import WholeAnswer
from reports.answers.within_budget import BudgetAnswer, budget_answers
from reports.compare.charges import Charges, Parts, Terms, break_even_price, break_even_targets
from reports.compare.reach import Steps
from reports.compare.verdict import Asked
from reports.cost_report.build import cost_report
from reports.cost_report.text import as_text
from reports.data.frames import load_frames
from reports.errors import NotAStudy

OWN_H = 0.1 + 2 / 3 * 0.08
SEARCH_H = [candidates + OWN_H for candidates in CANDIDATE_H]
MEAN_SEARCH_H = math.prod(SEARCH_H) ** (1 / 3)
SCHEMA = json.loads((Path(reports.__file__).parent / "answer.schema.json").read_text())


def charges(label, fixed, own, *, pretraining=0.0, n=3):
    """A contender whose replicates all cost the same."""
    column = [np.full(n, value) for value in (pretraining, fixed, own)]
    return Charges(label, np.full(n, 0.9), Parts(*column), Parts(*column), np.full(n, pretraining > 0))


@pytest.fixture(scope="module")
def judged(frames):
    return JudgedStudy(frames)


@pytest.fixture(scope="module")
def pays(judged):
    return judged.who_pays(500_000)


def test_the_parts_of_a_cost_add_up(pays):
    parts = {one.label: one for one in pays.parts}
    prune, search = parts["prune"], parts["search"]
    assert [prune.pretraining.value, prune.shared.value] == [pytest.approx(PRETRAIN_H), 0.0]
    assert prune.own.value == pytest.approx(OWN_H)
    assert search.shared.value == pytest.approx(sum(CANDIDATE_H) / 3)
    assert (prune.builds_on_parent, search.builds_on_parent) == (True, False)
    assert {label: one.total.n for label, one in parts.items()}["scratch_family"] == 0  # it ends at 0.80
    for one in (prune, search):
        assert one.total.value == pytest.approx(one.pretraining.value + one.shared.value + one.own.value)
    assert pays.parent_h.value == pytest.approx(PRETRAIN_H)


def test_the_break_even_price_of_the_parent(pays):
    """R = search / (P + own), in which only P varies, so the interval of the price is that of the ratio."""
    found, alpha = pays.against["search"].price, 0.025
    assert found.value == pytest.approx(MEAN_SEARCH_H - OWN_H, rel=1e-4)
    assert (found.below, found.above, found.alpha, found.n) == ("prune", "search", alpha, 3)
    half = math.log(15.1 / 3.3973)  # the ratio's at this target, as in the answer
    assert found.low == pytest.approx(MEAN_SEARCH_H / math.exp(half) - OWN_H, rel=0.01)
    assert found.high == pytest.approx(MEAN_SEARCH_H * math.exp(half) - OWN_H, rel=0.01)
    (price, targets) = break_even_sentences(pays.against["search"], "cpu_core_hours", pays.parent_h, at_target(500_000))
    assert "cost the same if the parent costs 0.898 CPU core-hours, 0.263× what it is charged with" in price
    assert "below that prune is cheaper (shown below 0.0836" in price
    assert "search is cheaper than prune however many targets" in targets


def test_no_number_of_targets_breaks_even_where_a_further_one_costs_the_same(pays):
    found = pays.against["search"].targets
    assert found.is_never
    assert (found.value, found.below, found.above) == (None, "search", "search")


def test_break_evens_by_hand():
    dear_start, dear_end = charges("prune", 1.0, 1.0, pretraining=9.0), charges("search", 1.0, 2.0)
    targets = break_even_targets([(dear_start, dear_end)])
    assert targets.value == pytest.approx((10 - 1) / (2 - 1), rel=1e-4)
    assert (targets.below, targets.above) == ("search", "prune")
    assert targets.low < targets.value < targets.high < 1.2 * targets.value  # the only spread is the least allowed
    price = break_even_price([(dear_start, dear_end)])
    assert price.value == pytest.approx(1.0, rel=1e-4)  # P + 1 + 1 = 1 + 2
    assert (price.below, price.above) == ("prune", "search")
    assert break_even_price([(dear_start, dear_end)], targets_served=2).value == pytest.approx(
        2 * (1 + 0.5 - 0.5), rel=1e-4
    )
    never = break_even_targets([(charges("prune", 1.0, 1.0), charges("search", 2.0, 2.0))])
    assert (never.value, never.below, never.is_shown_everywhere) == (None, "prune", True)
    none_builds = break_even_price([(charges("prune", 1.0, 1.0), charges("search", 2.0, 2.0))])
    assert (none_builds.value, none_builds.is_never) == (None, True)


def test_break_evens_of_one_replicate_have_no_interval():
    found = break_even_targets([(charges("prune", 9.0, 1.0, n=1), charges("search", 1.0, 2.0, n=1))])
    assert (found.value, found.low, found.high, found.n) == (pytest.approx(8.0, rel=1e-4), None, None, 1)


@given(st.floats(1, 1000), st.floats(0, 100), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0, 10))
def test_terms_are_arithmetic(targets, price, pretraining, own, shared):
    one = charges("prune", shared, own, pretraining=pretraining)
    cost = one.effort(Terms(targets, price)).cost
    assert cost == pytest.approx(np.full(3, (price + shared) / targets + own))
    assert one.effort().cost == pytest.approx(one.reached.total)


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0, 1)), min_size=1, max_size=6), st.floats(0, 1))
def test_accuracy_within_a_cost_is_the_inverse_of_the_cost_of_an_accuracy(points, level):
    ends = np.cumsum([length for length, _ in points])
    top1 = np.maximum.accumulate([value for _, value in points])
    steps = Steps(np.concatenate([[0.0], ends[:-1]]), ends, np.concatenate([[np.nan], top1[:-1]]), top1)
    cost = float(steps.cost_of(level))
    moment = steps.moment_near(level, 0.0)
    if math.isinf(cost):
        assert moment is None
        assert steps.top1_within(1e9) < level
    else:
        assert steps.cost_at(moment) == pytest.approx(cost)
        assert steps.top1_within(cost * (1 + 1e-9)) >= level - 1e-6
        assert not steps.top1_within(cost * 0.999 - 1e-9) > level + 1e-9


def test_ratios_at_lower_accuracies(pays):
    levels = pays.against["search"].levels
    assert [one.below for one in levels] == [0.0, 0.01, 0.02, 0.04]
    assert levels[0].cost_ratio.value == pytest.approx(1 / 3.3973, rel=1e-4)
    prune_82 = PRETRAIN_H + 0.1  # the end of the first epoch
    search_82 = [candidates + 0.1 + 0.08 / 3 for candidates in CANDIDATE_H]
    assert levels[2].cost_ratio.value == pytest.approx(math.prod(h / prune_82 for h in search_82) ** (1 / 3), rel=1e-4)


def test_the_answer_has_who_pays_and_meets_its_schema(frames):
    jsonschema = pytest.importorskip("jsonschema")
    told = to_json(answer_from_frames(frames, 500_000))
    jsonschema.validate(json.loads(json.dumps(told, allow_nan=False)), SCHEMA)
    assert told["who_pays"]["parts"]["prune"]["own"]["value"] == pytest.approx(OWN_H)
    assert told["who_pays"]["against_prune"]["search"]["parent_price_hours"]["cheaper_above"] == "search"
    assert told["declared_parent"] is None
    whole = WholeAnswer(frames)
    assert whole.as_json()["break_even"]["parent_price_hours"]["n"] == 3
    assert any(
        "2 targets pooled, search and prune cost the same if the parent costs" in line for line in whole.sentences
    )


def test_other_terms_are_judged_like_the_headline(judged):
    free, asked = (judged.verdicts.costs[500_000]["search"]["free"], Asked(Terms(parent_h=0.0)))
    (given,) = asked_answers(judged, asked, [500_000])
    assert isinstance(given, AskedAnswer)
    assert given.headline.cost_ratio.value == pytest.approx(free.cost_ratio.value)
    assert given.headline.verdict == free.verdict
    assert "if the parent is free" in reply_sentence(given)
    (served,) = asked_answers(judged, Asked(Terms(2.0)), [500_000])
    amortised = judged.verdicts.costs[500_000]["search"]["amortised"]
    assert served.headline.cost_ratio.value == pytest.approx(amortised.cost_ratio.value)
    assert "if 2 such targets share what is common" in reply_sentence(served)


class TestAccuracy:
    def test_what_it_costs_and_by_which_route(self, judged):
        (found,) = asked_answers(judged, Asked(level=0.80), [500_000])
        costs = {way.label: way.cost.value for way in found.ways}
        assert costs == {
            "scratch_family": pytest.approx((0.27 + 0.37 + 0.27) / 3),  # in one replicate an attempt of 0.1 h was lost
            "scratch_pruned_structure": pytest.approx(0.2 + 0.8 * 0.16),
            "search": pytest.approx(sum(CANDIDATE_H) / 3 + 0.1),
            "prune": pytest.approx(PRETRAIN_H + 0.1),
        }
        assert [way.label for way in found.ways] == list(costs)
        said = "80.0 % on validation costs least by small network trained directly: 0.303 CPU core-hours"
        assert said in reply_sentence(found)

    def test_what_missed_it_by_little_did_not_reach_it(self, judged):
        """The study's own a* forgives a shortfall within the margin; an accuracy that a user asks for does not."""
        (found,) = asked_answers(judged, Asked(level=0.855), [500_000])
        assert [(way.label, way.is_reached) for way in found.ways][:1] == [("search", True)]
        assert {way.label: way.num_reached for way in found.ways}["prune"] == 0
        assert "not reached by" in reply_sentence(found)

    def test_beyond_what_was_measured_a_larger_target_may(self, judged):
        (found,) = asked_answers(judged, Asked(level=0.89), [800_000])
        assert isinstance(found, AskedRefused)
        assert config_change(found) == "targets: [0.5M, 0.8M, 0.89M]"
        said = reply_sentence(found)
        assert "the best, search, ends at 88.0 %" in said
        assert "the parent, with 90.0 %, reaches it" in said

    def test_beyond_the_parent_longer_training_may(self, make_study):
        folder = make_study(replicates=2)
        with_config(folder, recipe={"epochs": 12}, parent={"family": "f", "variant": "l", "pretrain": {"epochs": 3}})
        (found,) = asked_answers(JudgedStudy(load_frames(folder)), Asked(level=0.95), [500_000])
        assert config_change(found).splitlines() == [
            "parent: {pretrain: {epochs: 6}}  # longer training, in another study (--out)",
            "recipe: {epochs: 24}",
        ]

    def test_between_the_study_s_targets_and_not_beyond(self, judged):
        low, within, high, beyond = asked_answers(judged, Asked(level=0.80), [500_000, 600_000, 800_000, 900_000])
        assert isinstance(within, AskedBetween)
        assert "is above the study's targets" in reason_text(beyond)
        weight = math.log(600 / 500) / math.log(800 / 500)
        for way in within.ways:
            ends = [next(one.cost for one in at.ways if one.label == way.label) for at in (low, high)]
            logs = [math.log(end.value) for end in ends]
            assert way.cost.value == pytest.approx(math.exp((1 - weight) * logs[0] + weight * logs[1]))
            assert (way.cost.low, way.cost.high) == (min(e.low for e in ends), max(e.high for e in ends))
        assert within.left_out_error is None  # two targets cannot tell how far it is off
        assert "(interpolated, how far that is off is not known; nothing was trained" in reply_sentence(within)


class TestBudget:
    def test_what_accuracy_can_be_had(self, judged):
        (found,) = budget_answers(judged, 0.5, [500_000])
        assert isinstance(found, BudgetAnswer)
        top1 = {way.label: way.val_top1.value for way in found.ways}
        assert top1 == {
            "scratch_pruned_structure": pytest.approx(0.82),
            "scratch_family": pytest.approx(0.80),
            "search": pytest.approx(0.71),  # the second candidate, of 450k MACs; in one replicate it had not begun
            "prune": None,
        }
        assert found.not_shown == ()
        said = reply_sentence(found)
        assert "0.500 CPU core-hours give most by pruned shape trained directly: 82.0 %" in said
        assert "ended after 0.41" in said
        assert "search 71.0 % (71.0 to 71.0, n = 2) (a network in 2 of 3 replicates)" in said
        assert "no network by then: prune" in said

    def test_more_than_anybody_spent_is_refused(self, judged):
        (found,) = budget_answers(judged, 10.0, [500_000])
        assert "the most, by prune, were 3.63" in reason_text(found)

    def test_less_than_the_first_network_took_is_refused(self, judged):
        (found,) = budget_answers(judged, 0.01, [500_000])
        assert config_change(found) is None
        assert "the first one was measured after" in reason_text(found)

    def test_a_cap_that_was_reached_is_what_to_change(self, make_study):
        folder = make_study(replicates=2, budget={"search": "0.5 h", "prune": None, "scratch": None})
        (found,) = budget_answers(JudgedStudy(load_frames(folder)), 10.0, [500_000])
        assert config_change(found) == "budget: {search: 20 h}"


def with_config(folder, **changes):
    path = folder / "study.yaml"
    document = yaml.safe_load(path.read_text())
    document["study"] |= changes
    path.write_text(yaml.safe_dump(document))


PARENT = {"family": "f", "variant": "l", "declared_cost": "0.5 CPU core-hours", "source": "a paper, table 3"}


class TestDeclared:
    @pytest.fixture
    def declared(self, make_study):
        folder = make_study()
        with_config(folder, parent=PARENT)
        return folder

    def test_it_takes_the_place_of_pretraining(self, declared):
        study = JudgedStudy(load_frames(declared))
        by_policy = study.verdicts.costs[500_000]["search"]
        assert by_policy["full"].cost_ratio.value == pytest.approx(MEAN_SEARCH_H / (0.5 + OWN_H))
        assert by_policy["free"].cost_ratio.value == pytest.approx(MEAN_SEARCH_H / OWN_H)
        assert by_policy["full"].total["prune"].value == pytest.approx(0.5 + 0.2 + 0.01)
        pays = study.who_pays(500_000)
        assert (pays.parent_h.value, pays.parent_h.n) == (0.5, 0)

    def test_it_is_marked_as_declared(self, declared):
        frames = load_frames(declared)
        told = to_json(answer_from_frames(frames, 500_000))
        assert told["declared_parent"] == {
            "hours": 0.5, "unit": "cpu_core_hours", "text": "0.5 CPU core-hours", "source": "a paper, table 3",
        }  # fmt: skip
        said = "The parent's cost is declared, not measured: 0.5 CPU core-hours (a paper, table 3)"
        assert any(note.startswith(said) for note in told["notes"])
        assert any(line.startswith(said) for line in WholeAnswer(frames).sentences)

    def test_it_is_in_no_total_of_the_ledger(self, declared, study):
        plain, found = cost_report(study), cost_report(declared)
        assert found.total == plain.total
        assert [n.hours for n in found.networks] == [n.hours for n in plain.networks]
        text = as_text(found, ["total", "networks"])
        said = "declared, not spent here, and in no figure: the parent, 0.5 CPU core-hours"
        assert " ".join(text.split()).count(said) == 2

    def test_a_price_that_is_asked_for_takes_its_place(self, declared):
        (given,) = asked_answers(JudgedStudy(load_frames(declared)), Asked(Terms(parent_h=PRETRAIN_H)), [500_000])
        assert given.headline.cost_ratio.value == pytest.approx(1 / 3.3973, rel=1e-4)

    def test_another_unit_than_the_ledgers_is_refused(self, make_study):
        folder = make_study(replicates=1)
        with_config(folder, parent=PARENT | {"declared_cost": "1200 GPU-hours"})
        with pytest.raises(NotAStudy, match=r"declared_cost is '1200 GPU-hours', and the ledger has CPU core-hours"):
            load_frames(folder)


def test_a_study_of_one_route_has_costs_of_an_accuracy_all_the_same(tmp_path):
    folder = build_study(tmp_path, routes=("prune",), replicates=2)
    judged = JudgedStudy(load_frames(folder))
    (found,) = asked_answers(judged, Asked(level=0.84), [500_000])
    assert [way.label for way in found.ways] == ["prune"]
    assert found.headline is None
    assert "costs least by prune: 3.57" in reply_sentence(found)
