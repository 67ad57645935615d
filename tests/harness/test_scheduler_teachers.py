"""The scheduler when trainings learn from a teacher: they wait for its training, and are given up if it fails."""

import copy
from dataclasses import replace
from unittest import mock

import pytest
from scheduled import Line, opened, play
from some_jobs import job

from accounting.ledger.records import Phase
from harness.jobs.job import Outcome, Wait
from harness.jobs.start import WeightsOf
from harness.jobs.teacher import Teacher


@pytest.fixture
def study(tmp_path):
    with opened(tmp_path) as made:
        yield made


PRETRAINED = job("pretrain", "prune")
TEACHER = Teacher("parent", {}, WeightsOf(PRETRAINED.name), 1, (1, 8, 8), (0.5,), (0.5,))


def taught(name, *steps):
    return [job(step, name, teacher=TEACHER) for step in steps]


def test_a_job_waits_for_the_training_of_its_teacher(study):
    """Search is asked first, since it comes first among equals; a job that needs no teacher is not delayed."""
    scheduler = study.scheduler(
        Line("search", [*taught("search", "a", "b"), job("c", "search")]), Line("prune", [PRETRAINED])
    )
    free, pretrain = scheduler.next(), scheduler.next()
    assert {free.name, pretrain.name} == {"search-r0-c", PRETRAINED.name}
    assert isinstance(scheduler.next(), Wait)
    scheduler.tell(free, Outcome(ok=True))
    assert isinstance(scheduler.next(), Wait)
    scheduler.tell(pretrain, Outcome(ok=True))
    assert [scheduler.next().name for _ in range(2)] == ["search-r0-a", "search-r0-b"]


def test_without_its_teacher_a_job_is_given_up_and_nothing_waits_for_ever(study):
    search = Line("search", taught("search", "a"), chained=True)
    names = play(
        study.scheduler(search, Line("prune", [PRETRAINED])), study, {"prune": 1, "search": 1},
        lambda done: Outcome(ok=False, reason="it diverged"),
    )  # fmt: skip
    assert names == [PRETRAINED.name]
    (told,) = [outcome for name, outcome in search.told if name == "search-r0-a"]
    assert (told.ok, told.final) == (False, False)
    assert told.reason == "its teacher prune-r0-pretrain was not trained: it diverged"


def test_a_teacher_for_which_the_budget_is_spent_stops_what_would_learn_from_it(study):
    study.spend(job("earlier", "prune"), 3600)
    scheduler = study.scheduler(Line("search", taught("search", "a")), Line("prune", [PRETRAINED]), prune="0.5 h")
    assert play(scheduler, study, {"search": 1}) == []
    assert {str(id) for id in scheduler.stopped} == {PRETRAINED.name, "search-r0-a"}


def test_a_study_that_goes_on_has_its_teacher_already(study):
    """If the teacher's weights are missing, it is trained again first."""
    given = replace(PRETRAINED, phase=Phase.PRETRAIN)
    study.spend(given, 5, metrics={"val_top1": 0.5, "weights_sha256": "0" * 64, "masks_sha256": None})
    routes = Line("search", taught("search", "a")), Line("prune", [given])
    with mock.patch("harness.scheduling.remakes.files_problem", return_value=None):
        assert play(study.scheduler(*copy.deepcopy(routes)), study, {"search": 1}) == ["search-r0-a"]
    scheduler = study.scheduler(Line("search", taught("search", "b")), Line("prune", [given]))
    assert play(scheduler, study, {"search": 1, "prune": 5}) == [PRETRAINED.name, "search-r0-b"]
