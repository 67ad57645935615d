"""What study.yaml says about the verdict: the declared pair, the margin, and the method named first in the config."""

from pathlib import Path

import pytest

from accounting.study.facts import StudyDocument, StudyFacts


def facts(**config):
    return StudyFacts.of(StudyDocument({"targets": [500], **config}, {}), Path("study.yaml"))


def test_a_study_of_then_has_the_defaults():
    found = facts(routes={"prune": {}, "search": {}})
    assert (found.pair, found.margin, found.first_methods) == (("prune", "search"), 0.01, {})


def test_what_was_declared_is_read():
    found = facts(verdict={"pair": ["prune:uniform_lamp", "supernet"], "margin": 0.02})
    assert (found.pair, found.margin) == (("prune:uniform_lamp", "supernet"), 0.02)


@pytest.mark.parametrize(
    ("section", "first"),
    [
        ({"criterion": "global_magnitude"}, "global_magnitude"),
        ({"criterion": ["global_lamp", "uniform_lamp"], "schedule": "gradual"}, "global_lamp+gradual"),
        ({"criterion": ["global_lamp+iterative"], "schedule": "gradual"}, "global_lamp+iterative"),
        ({"criterion": ["global_lamp+distilled"], "schedule": "iterative"}, "global_lamp+iterative+distilled"),
    ],
)
def test_the_first_method_has_its_schedule(section, first):
    assert facts(routes={"prune": section}).first_methods["prune"] == first


def test_the_first_methods_of_any_routes_are_read_from_the_facts():
    kept = {"first_methods": {"prune": "global_lamp", "mine": "uniform_lamp"}}
    document = StudyDocument({"targets": [500], "routes": {"prune": {"criterion": "global_magnitude"}}}, kept)
    assert StudyFacts.of(document, Path("study.yaml")).first_methods == kept["first_methods"]


def test_search_then_prune_uses_the_prune_routes_section_or_its_own():
    prune = {"criterion": "global_lamp"}
    assert facts(routes={"prune": prune, "search_then_prune": {}}).first_methods["search_then_prune"] == "global_lamp"
    own = {"prune": {"criterion": "uniform_lamp"}}
    assert facts(routes={"prune": prune, "search_then_prune": own}).first_methods["search_then_prune"] == "uniform_lamp"
