"""How a study grew: as a value of its history, and in a sentence."""

import pytest

from accounting.study.facts import StudyFacts
from reports.data.extensions import Counts, Extension, Growth, History, growth_of
from reports.sentences.growth import growth_sentence

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
