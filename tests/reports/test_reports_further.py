"""Further routes compared with pruning; the costs are worked out in `full_study`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import reports
from reports.answers import find
from reports.answers.as_json import to_json
from reports.answers.pooled import pooled_further, pooled_headline
from reports.answers.study import JudgedStudy
from reports.answers.text import overall_sentence, sentence
from reports.compare.measured import best_within
from reports.compare.rule import Verdict
from reports.compare.verdict import cheaper_route
from reports.data.frames import load_frames

SCHEMA = json.loads((Path(reports.__file__).parent / "answer.schema.json").read_text())


def answer(folder, target):
    return to_json(find.answer(folder, target))


def check_schema(given):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads(json.dumps(given, allow_nan=False)), SCHEMA)


def test_measured_beside_the_headline(full_study):
    given = answer(full_study, 500_000)
    check_schema(given)
    # the headline's pruning is the first of five methods; the others are contenders, like the controls
    assert len([label for label in given["further_routes"] if label.startswith("prune:")]) == 4
    assert set(given["further_routes"]) >= {"supernet", "search_then_prune", "scratch_family"}
    supernet = given["further_routes"]["supernet"]
    assert supernet["n"] == 3
    # pruning by its first method: 0.02 + 0.2 + 0.01
    # the supernet's work is shared by two targets: 0.6 + 0.21 in full, 0.3 + 0.21 amortised
    assert supernet["policies"]["full"]["total_cost"]["supernet"]["value"] == pytest.approx(0.81)
    assert supernet["policies"]["amortised"]["total_cost"]["supernet"]["value"] == pytest.approx(0.51)
    assert supernet["policies"]["free"]["total_cost"]["prune"]["value"] == pytest.approx(0.23)
    assert supernet["policies"]["full"]["verdict"] == "supernet"
    assert "pruning took" in supernet["sentence"]
    assert "CPU core-hours of supernet to reach 86.5 % on validation (" in supernet["sentence"]
    assert "supernet is cheaper" in supernet["sentence"]
    assert "prune − supernet test accuracy: +" in supernet["sentence"]


def test_the_headlines_accuracy_serves_all(full_frames):
    verdicts = JudgedStudy(full_frames).verdicts.costs[500_000]
    assert len({costs["full"].level for costs in verdicts.values()}) == 1
    # supernet: 0.5 + 2 · 0.05 h, then the retraining of 0.2 h, which reaches a* in its second epoch
    reached = verdicts["supernet"]["full"].to_quality["supernet"].value
    assert 0.6 + 0.1 < reached < 0.6 + 0.18


def test_the_headline_knows_nothing_of_them(full_study, tmp_path):
    from full_study import build_full_study

    alone = build_full_study(tmp_path, without=("supernet", "search_then_prune", "analysis"))
    with_them, without = answer(full_study, 500_000), answer(alone, 500_000)
    assert not {"supernet", "search_then_prune"} & set(without["further_routes"])
    for field in ("verdict", "policies", "accuracy_difference", "more_accurate", "n"):
        assert with_them[field] == without[field]


def test_older_studies_have_only_controls(study):
    assert set(answer(study, 500_000)["further_routes"]) == {"scratch_family", "scratch_pruned_structure"}
    assert len(pooled_further(JudgedStudy(load_frames(study)))) == 2


def test_interpolated(full_study):
    given = answer(full_study, 632_456)
    check_schema(given)
    supernet = given["further_routes"]["supernet"]
    assert supernet["policies"]["full"]["total_cost"]["supernet"]["value"] == pytest.approx(0.81)
    assert supernet["policies"]["full"]["verdict"] == "supernet"
    assert "nothing was trained at this target" in supernet["sentence"]


def test_without_a_search_the_further_routes_are_still_compared(make_full_study):
    folder = make_full_study(
        without=("search", "scratch", "analysis"), replicates=2, methods=("global_magnitude+gradual",)
    )
    given = answer(folder, 500_000)
    check_schema(given)
    assert (given["status"], given["verdict"]) == ("refused", None)
    assert "no search route" in given["reason"]
    assert given["further_routes"]["supernet"]["n"] == 2


def test_pooled_over_the_targets(full_frames):
    answers = find.all_answers(full_frames)
    found = {pooled.challenger: pooled for pooled in pooled_further(JudgedStudy(full_frames))}
    supernet, both = found["supernet"], found["search_then_prune"]
    assert [costs.num_targets for costs in supernet.by_policy.values()] == [2, 2, 2]
    said = overall_sentence(both, answers[0].question)
    assert said.startswith("On fashion_mnist_mini, 2 targets pooled, all work charged")
    assert "search then prune" in said
    assert pooled_headline(JudgedStudy(full_frames)).challenger == "search"


def test_only_replicates_with_both_networks_enter(full_frames):
    some = [n for n in full_frames.delivered if not (n.label == "supernet" and n.replicate == 1)]
    study = JudgedStudy(replace(full_frames, delivered=tuple(some)))
    assert study.paired("supernet", 500_000) == [0, 2]
    assert study.paired(study.challenger, 500_000) == [0, 1, 2]
    assert find.answer_from_frames(full_frames, 123).further == ()


def test_the_challenger_is_named():
    assert cheaper_route(Verdict.CHALLENGER, "supernet") == "supernet"
    assert cheaper_route(Verdict.CHALLENGER, "search") == "search"
    assert [cheaper_route(v, "supernet") for v in (Verdict.BASE, Verdict.TIE)] == ["prune", "tie"]


def first_network(frames, route):
    """For replicate 0: the final accuracy, and what had been charged when any network was first measured."""
    contenders = JudgedStudy(frames).contenders
    one = next(one for one in contenders.at(500_000) if one.label == route)
    costs, _ = contenders.costs_at(one, 500_000, "full", np.array([0.01]))
    return contenders.final(one, 500_000)[0], costs[0, 0]


def test_a_supernet_is_no_deliverable_network(full_frames):
    # its 0.97 on 300k MACs and its scoring jobs are not points of the curve
    best, cost_h = first_network(full_frames, "supernet")
    assert best < 0.9
    assert cost_h == pytest.approx(0.6 + 0.1)
    assert max(val for route, _, val in best_within(full_frames.view, 500_000) if route == "supernet") < 0.9


def test_gradual_pruning_counts_with_its_end(make_full_study):
    folder = make_full_study(
        without=("search", "scratch", "analysis"), replicates=1, methods=("global_magnitude+gradual",)
    )
    # its epochs are recorded with the parent's MACs; only its outcome counts, after 3.4 + 0.2 h
    assert first_network(load_frames(folder), "prune")[1] == pytest.approx(3.6)


def test_every_answer_of_a_full_study_fits_the_schema(full_frames):
    for given in find.all_answers(full_frames):
        check_schema(to_json(given))
        assert "prune:global_lamp" in given.accuracy
        assert sentence(given) == to_json(given)["sentence"]
