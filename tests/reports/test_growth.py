"""How a study grew: as a value of its history, and in a sentence."""

import pytest
from test_golden_verdicts import two_routes

from accounting.ledger.records import Kind
from accounting.study.facts import StudyFacts
from reports.answers.as_json import to_json
from reports.answers.whole import WholeAnswer
from reports.data.extensions import Counts, Extension, Growth, History, choices_after_results, growth_of
from reports.page.content import page_content
from reports.sentences.growth import changes_sentences, growth_sentence

FACTS = StudyFacts("study", "mnist", (400_000, 600_000), 3, ("prune", "search"), {})
PLANNED = {"replicates": 2, "targets": [600_000], "routes": ["prune"]}


def extended(key, old, new, networks_before=0):
    return Extension(1.0, key, old, new, networks_before)


def test_a_study_as_planned_did_not_grow():
    assert growth_of(History(), FACTS) is None
    whole = {"replicates": 3, "targets": [400_000, 600_000], "routes": ["prune", "search"]}
    assert growth_of(History(whole, (extended("recipe.epochs", 1, 2),)), FACTS) is None


def test_what_grew_is_a_value():
    history = History(
        PLANNED,
        (
            extended("replicates", 2, 3, networks_before=4),
            extended("routes.prune.criterion", ["l1"], ["l1", "l2"], networks_before=6),
            extended("routes.prune.criterion", ["l1"], ["l2", "l1", "l3"], networks_before=5),
            extended("recipe.epochs", 1, 2, networks_before=9),
        ),
    )
    assert growth_of(history, FACTS) == Growth(Counts(2, 1), Counts(3, 2), ("search",), ("l2", "l3"), 6, num_looks=1)


@pytest.mark.parametrize(
    ("growth", "said"),
    [
        (
            Growth(Counts(2, 1), Counts(3, 2), ("search",), ("l2",), 4, 1),
            "Planned with 2 replicates and 1 target; extended to 3 replicates and 2 targets after results were seen "
            "(4 networks delivered); added: route search, criterion l2; intervals of costs are corrected for looking in "
            "between.",
        ),
        (
            Growth(Counts(1, 1), Counts(2, 1), (), (), 0, 0),
            "Planned with 1 replicate; extended to 2 replicates before any result.",
        ),
        (
            Growth(Counts(2, 1), Counts(2, 1), ("search",), (), 1, 0),
            "Added to the plan after results were seen (1 network delivered): route search.",
        ),
    ],
    ids=["all", "before any result", "only added"],
)
def test_the_sentence(growth, said):
    assert growth_sentence(growth) == said


PAIR = extended("verdict.pair", ["prune", "search"], ["prune", "supernet"], networks_before=4)
COST = extended("parent.declared_cost", None, "3 GPU-hours", networks_before=6)


def test_what_a_verdict_is_about_was_chosen_after_results():
    others = (
        extended("verdict.margin", 0.01, 0.02),  # before any result
        extended("replicates", 2, 3, networks_before=4),
        extended("labels.team", "a", "b", networks_before=4),
    )
    assert choices_after_results((PAIR, *others, COST)) == (PAIR, COST)
    assert changes_sentences(None, others) == []
    assert changes_sentences(None, (PAIR, *others, COST)) == [
        "Changed after results were seen (6 networks delivered), without effect on any job: "
        'verdict.pair: ["prune", "search"] -> ["prune", "supernet"]; parent.declared_cost: none -> 3 GPU-hours.'
    ]


def test_every_answer_says_so(tmp_path):
    study = two_routes([4.0, 5.0, 6.25])
    change = {"key": "verdict.margin", "old": 0.01, "new": 0.02}
    study.records.append((Kind.STUDY_EXTENDED, study.t + 1, {"session": "s", "changes": [change]}))
    study.t += 1
    whole = WholeAnswer(study.read(tmp_path))
    said = "Changed after results were seen (6 networks delivered), without effect on any job: verdict.margin: 0.01 -> 0.02."
    assert whole.sentences[-1] == said
    assert said in page_content(whole, {}).warnings
    assert said in to_json(whole.answers[0])["notes"]
