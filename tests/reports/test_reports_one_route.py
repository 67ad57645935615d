"""A study of one route reports what it measured and does not claim to be unfinished."""

from __future__ import annotations

import json

import pytest
import yaml
from full_study import DENSE

from accounting.words.names import label_text
from reports.answers.no_verdict import headline, lines, short_headline
from reports.data.frames import load_frames
from reports.figures import anytime
from reports.measure.kinds import Alone, KindAt, alone, missing_routes
from reports.page.build import build_report, told_sentences
from reports.statistics import NOTHING

pytestmark = pytest.mark.usefixtures("sketched")
PRUNE_ALONE = ("search", "supernet", "search_then_prune", "scratch")


def test_a_study_of_both_routes_lacks_none(frames):
    assert missing_routes(frames.info) == []


def test_pruning_alone(make_full_study):
    folder = make_full_study(without=PRUNE_ALONE, replicates=3)
    frames = load_frames(folder)
    assert missing_routes(frames.info) == ["search"]
    tested = [n.test_top1 for n in frames.delivered if (n.label, n.target) == ("prune", 500_000)]
    mean = 100 * sum(tested) / 3
    sentence = headline(alone(frames))
    assert sentence.startswith(f"On fashion_mnist_mini, test top-1 by pruning (95 % interval): {mean:.1f} % (")
    assert "n = 3) at 0.5M MACs" in sentence
    assert f"the dense parent: {100 * (DENSE - 0.01):.1f} %" in sentence
    assert sentence.endswith("there is no cost ratio in CPU core-hours, since the study has no search route.")
    small, large = lines(alone(frames))
    assert small.sentence.startswith("At 0.5M MACs, prune: test top-1 ")
    assert large.sentence.startswith("At 0.8M MACs, prune: ")
    # five methods cost 1.14 h per target, the parent 3.4 h (tests/reports/full_study.py)
    assert "CPU core-hours: 4.54 (4.54 to 4.54, n = 3) all work charged, 1.14 (" in small.sentence
    assert told_sentences(build_report(folder)) == [sentence, small.sentence, large.sentence]


def test_a_declared_pair_needs_its_own_routes_and_no_search(make_full_study):
    """``verdict: {pair: [prune, supernet]}`` works in a study without search."""
    folder = make_full_study(without=("search", "search_then_prune"), replicates=2)
    path = folder / "study.yaml"
    document = yaml.safe_load(path.read_text())
    document["study"]["verdict"] = {"pair": ["prune", "supernet"]}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    frames = load_frames(folder)
    assert missing_routes(frames.info) == []
    page = build_report(folder).read_text()
    assert "has no search route" not in page
    answers = json.loads((folder / "report" / "answer.json").read_text())["answers"]
    assert {(given["status"], given["challenger"]) for given in answers} == {("measured", "supernet")}


def test_its_page(make_full_study):
    folder = make_full_study(without=PRUNE_ALONE, replicates=2)
    page = build_report(folder).read_text()
    assert "not complete" not in page
    assert "The study has no search route, so there is no verdict." in page
    assert "no answer" not in page
    content = json.loads((folder / "report" / "answer.json").read_text())
    assert content["sentence"] == headline(alone(load_frames(folder)))
    assert content["verdict"] == "insufficient_evidence"


def test_too_few_networks_are_said(make_full_study):
    folder = make_full_study(without=PRUNE_ALONE, replicates=2, planned=3)
    assert (
        "This study is not complete: fewer networks than the 3 planned at 0.5M, 0.8M MACs."
        in build_report(folder).read_text()
    )


def test_nothing_delivered_yet(make_full_study):
    frames = load_frames(make_full_study(without=PRUNE_ALONE, replicates=1, until_h=0.01))
    assert "no network has been delivered yet (n = 0)" in headline(alone(frames))
    assert lines(alone(frames)) == []


def test_controls_alone(make_study):
    frames = load_frames(make_study(routes=("scratch",)))
    assert missing_routes(frames.info) == ["search", "prune"]
    assert "test top-1 by small network trained directly" in headline(alone(frames))
    assert "no search and no prune route" in headline(alone(frames))


def test_further_routes_are_still_compared(make_full_study):
    folder = make_full_study(without=("search", "scratch", "analysis"), replicates=2)
    told = told_sentences(build_report(folder))
    assert any("supernet" in line and "pruning" in line for line in told)


@pytest.mark.parametrize("without", [PRUNE_ALONE, ("supernet", "search_then_prune", "scratch", "analysis")])
def test_the_legend_names_what_is_drawn(make_full_study, without):
    from matplotlib.figure import Figure

    data = anytime.data(load_frames(make_full_study(without=without, replicates=1)))
    figure = Figure()
    anytime.draw(data, figure)
    names = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert names == {label_text(str(label)) for label in data["label"].unique()}


def test_the_control_stands_beside_the_routes(study, frames):
    told = told_sentences(build_report(study))
    assert told[0].startswith("On fashion_mnist_mini, 2 targets pooled")
    (small,) = [line for line in told if line.startswith("Control at 0.5M MACs")]
    # it costs 0.3 + 0.01, and in replicate 1 another 0.1 that was lost: (0.31 + 0.41 + 0.31) / 3
    assert "0.343 (" in small
    assert "prune − control +" in small
    assert "search − control +" in small


def test_no_control_no_sentence(make_study):
    told = told_sentences(build_report(make_study(routes=("search", "prune"))))
    assert not [line for line in told if "Control" in line]


def test_an_accuracy_is_a_share():
    from reports.statistics import mean_interval

    estimate = mean_interval([0.05, 0.95], at_least=0.0, at_most=1.0)
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_a_kind_without_a_tested_network_says_so():
    nothing = KindAt("prune", 500_000, NOTHING, dict.fromkeys(("full", "free", "amortised"), NOTHING))
    found = Alone("data", "gpu_hours", (500_000,), ("search",), (nothing,), NOTHING, (500_000,))
    assert "by pruning (95 % interval): not measured (n = 0) at 0.5M MACs" in headline(found)
    assert "pruning has test top-1 not measured (n = 0) at 0.5M MACs." in short_headline(found)
    assert lines(found)[0].sentence.startswith("At 0.5M MACs, prune: test top-1 not measured (n = 0); GPU-hours: ")
