"""The scheduler on routes and a ledger made by hand: whose turn it is, who is told, and what it records."""

import pytest
from scheduled import Line, line, opened, play
from some_jobs import evaluation, job
from some_jobs import job as job_of

from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import read_ledger
from harness.jobs.job import Done, Outcome, Wait
from harness.jobs.spec import to_json
from harness.jobs.work import Score
from harness.scheduling import scheduler as module


@pytest.fixture
def study(tmp_path):
    with opened(tmp_path) as made:
        yield made


def test_the_route_that_has_spent_least_comes_next(study):
    cheap, dear = line("search", 8), line("prune", 2)
    names = play(study.scheduler(cheap, dear), study, {"search": 1, "prune": 4})
    assert names[:2] == ["search-r0-0", "prune-r0-0"]
    assert names[2:6] == [f"search-r0-{i}" for i in (1, 2, 3, 4)] or names[2:5] == [f"search-r0-{i}" for i in (1, 2, 3)]
    before_second = names[: names.index("prune-r0-1")]
    assert before_second.count("search-r0-0") == 1
    assert len(before_second) - 1 in (4, 5), "four or five seconds of search against four of pruning"


def test_replicates_are_served_alike(study):
    names = play(study.scheduler(line("prune", 3, 0), line("prune", 3, 1)), study, {"prune": 1})
    assert {name.split("-")[1] for name in names[:2]} == {"r0", "r1"}
    assert {name.split("-")[1] for name in names[2:4]} == {"r0", "r1"}


def test_every_job_is_given_out_once(study):
    routes = line("search", 5), line("prune", 4), line("scratch", 3)
    names = play(study.scheduler(*routes), study, {"search": 1, "prune": 1, "scratch": 1})
    assert len(names) == len(set(names)) == 12


def test_waits_while_every_route_waits_and_goes_on_when_told(study):
    scheduler = study.scheduler(line("prune", 2, chained=True))
    first = scheduler.next()
    assert first.name == "prune-r0-0"
    assert isinstance(scheduler.next(), Wait)
    assert isinstance(scheduler.next(), Wait)
    scheduler.tell(first, Outcome(ok=True))
    second = scheduler.next()
    assert second.name == "prune-r0-1"
    scheduler.tell(second, Outcome(ok=True))
    assert not scheduler.finished, "no route has said so yet"
    assert isinstance(scheduler.next(), Done)
    assert scheduler.finished


def test_a_waiting_route_does_not_hold_up_another(study):
    scheduler = study.scheduler(line("prune", 2, chained=True), line("search", 2))
    given = [scheduler.next().name for _ in range(3)]
    assert sorted(given) == ["prune-r0-0", "search-r0-0", "search-r0-1"]


def test_outcomes_reach_every_route_of_the_replicate_and_no_other(study):
    prune, scratch, other = line("prune", 1), line("scratch", 0), line("scratch", 0, replicate=1)
    play(study.scheduler(prune, scratch, other), study, {"prune": 1}, lambda job: Outcome(ok=True, metrics={"macs": 7}))
    assert scratch.told == [("prune-r0-0", Outcome(ok=True, metrics={"macs": 7}))]
    assert other.told == []


def test_a_done_route_is_asked_again_when_it_hears_of_another(study):
    class Listener(Line):
        def tell(self, job, outcome):
            super().tell(job, outcome)
            if job.route == "prune":
                self.jobs.append(job_of("late", "scratch"))

    names = play(study.scheduler(Listener("scratch", []), line("prune", 1)), study, {"prune": 1, "scratch": 1})
    assert names == ["prune-r0-0", "scratch-r0-late"]


def test_what_the_ledger_knows_is_told_and_not_run(study):
    study.spend(job("0"), 5, metrics={"val_top1": 0.5})
    route = line("prune", 3, chained=True)
    scheduler = study.scheduler(route)
    assert scheduler.next().name == "prune-r0-1"
    assert route.told == [("prune-r0-0", Outcome(ok=True, metrics={"val_top1": 0.5}))]


def test_a_failed_attempt_alone_is_no_outcome(study):
    study.spend(job("0"), 5, ok=False)
    assert study.scheduler(line("prune", 1)).next().name == "prune-r0-0"


def test_an_abandoned_job_stays_abandoned_and_makes_the_study_incomplete(study):
    study.spend(job("0"), 5, ok=False)
    study.ledger.append(Kind.JOB_ABANDONED, session="s1", job="prune-r0-0", reason="broken")
    scheduler = study.scheduler(line("prune", 1))
    assert isinstance(scheduler.next(), Done)
    assert [str(id) for id in scheduler.failed] == ["prune-r0-0"]


def test_a_failed_job_is_written_down(study):
    scheduler = study.scheduler(line("prune", 1))
    scheduler.tell(scheduler.next(), Outcome(ok=False, reason="it diverged"))
    (record,) = [r for r in read_ledger(study.paths.ledger).records if r["kind"] == Kind.JOB_ABANDONED]
    assert (record["job"], record["reason"]) == ("prune-r0-0", "it diverged")
    assert {str(id): reason for id, reason in scheduler.failed.items()} == {"prune-r0-0": "it diverged"}


def test_a_failed_candidate_is_part_of_a_search(study):
    route = Line("search", [job("c", "search", Phase.SEARCH)])
    scheduler = study.scheduler(route)
    scheduler.tell(scheduler.next(), Outcome(ok=False, reason="it diverged"))
    assert scheduler.failed == {}


def test_long_thinking_is_written_down_as_work_of_the_driver(study, monkeypatch):
    times = iter([0.0, 3.5, 10.0, 10.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(times))
    scheduler = study.scheduler(line("search", 1))
    scheduler.next()
    (record,) = [r for r in read_ledger(study.paths.ledger).records if r["kind"] == Kind.DRIVER_WORK]
    assert record["duration_s"] == 3.5
    assert record["route"] == "search"


def test_no_route_at_all_is_done(study):
    assert isinstance(study.scheduler().next(), Done)


def test_a_route_that_ends_with_nothing_is_named(study):
    routes = (
        Line("search", [evaluation("search", 300)]),
        Line("prune", [evaluation("prune", 300), evaluation("prune", 200)]),
    )
    scheduler = study.scheduler(*routes, Line("scratch", []), Line("analysis", []))
    play(scheduler, study, {"search": 1, "prune": 1})
    assert scheduler.undelivered([300, 200]) == ["search of replicate 0 at 200 MACs"]
    assert scheduler.undelivered([300]) == []


def test_work_before_a_retraining_is_for_its_target(study, monkeypatch):
    times = iter([0.0, 3.5, 10.0, 10.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(times))
    retrain = job("retrain-0", "search", Phase.RETRAIN, 300)
    study.scheduler(Line("search", [retrain])).next()
    (record,) = [r for r in read_ledger(study.paths.ledger).records if r["kind"] == Kind.DRIVER_WORK]
    assert (record["duration_s"], record["target"]) == (3.5, 300)


@pytest.mark.parametrize(("half", "again"), [("first", False), ("second", True), (None, False)])
def test_scores_that_choose_a_finalist_are_tried_again_and_others_are_part_of_a_search(half, again, study):
    """No proposal follows from the failure of the former, so the network can still be delivered."""
    work = Score(((1, 2),), half)
    scores = job("s", "subnet_search", Phase.SEARCH, 300, work=work)
    study.spend(scores, 5, ok=False, spec=to_json(scores))
    study.ledger.append(Kind.JOB_ABANDONED, session="s1", job=scores.name, reason="lost", final=False)
    scheduler = study.scheduler(Line("subnet_search", [scores]))
    answer = scheduler.next()
    assert (answer == scores) == again
    if again:
        scheduler.tell(answer, Outcome(ok=False, reason="lost again", final=False))
    assert list(scheduler.failed.values()) == (["lost again"] if again else [])
