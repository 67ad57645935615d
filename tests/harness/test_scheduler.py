"""The scheduler, on routes and a ledger made by hand."""

import pytest

from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import LedgerWriter, read_ledger
from harness.config.routes import BudgetConfig
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.paths import StudyPaths
from harness.scheduling import scheduler as module
from harness.scheduling.scheduler import Scheduler


def job(name, route, replicate=0, phase=Phase.RETRAIN):
    return Job(name, route, phase, None, replicate, 0, {}, 1000)


class Line:
    """A route that proposes its jobs in turn; the next one once the one before has been told, if ``chained``."""

    def __init__(self, name, jobs, replicate=0, chained=False):
        self.name, self.replicate = name, replicate
        self.jobs, self.chained = list(jobs), chained
        self.out, self.told = set(), []

    def ask(self):
        if self.chained and self.out:
            return Wait()
        if self.jobs:
            self.out.add(self.jobs[0].job)
            return self.jobs.pop(0)
        return Wait() if self.out else Done()

    def tell(self, job, outcome):
        self.told.append((job.job, outcome))
        self.out.discard(job.job)


def line(name, count, replicate=0, **options):
    return Line(name, [job(f"{name}-r{replicate}-{i}", name, replicate) for i in range(count)], replicate, **options)


class Study:
    """A folder with a ledger in which jobs cost what the test says."""

    def __init__(self, root):
        self.paths = StudyPaths(root)
        self.ledger = LedgerWriter(self.paths.ledger, "s1", "driver")
        self.t = 1000.0
        self.ledger.append(
            Kind.SESSION_OPENED, t=self.t, session="s1", study="x", environment={},
            capacity=[{"device": "n/cpu", "device_kind": "cpu_core", "amount": 1.0, "name": "c", "node": "n"}],
        )  # fmt: skip

    def spend(self, job, seconds, ok=True, metrics=None):
        attempt = f"{job.job}#{self.t}"
        self.ledger.append(
            Kind.ATTEMPT_STARTED, t=self.t, session="s1", attempt=attempt, job=job.job, route=job.route,
            phase=job.phase, target=job.target, replicate=job.replicate, allocation=None, devices={"n/cpu": 1.0},
            meter="wall_clock", network_macs=1000, spec={},
        )  # fmt: skip
        self.ledger.append(Kind.WORK_BEGUN, t=self.t, attempt=attempt, epoch=0)
        self.t += seconds
        self.ledger.append(
            Kind.ATTEMPT_ENDED, t=self.t, attempt=attempt, status="ok" if ok else "failed",
            reason=None if ok else "broken", outcome=(metrics or {}) if ok else None, work_end_t=self.t, measurement={},
        )  # fmt: skip

    def scheduler(self, *routes, **budget):
        made = Scheduler(routes, self.paths, self.ledger, "s1", BudgetConfig(**budget))
        plain = made._spending.of

        def always_fresh(route, replicate):
            made._spending._fresh_until = float("-inf")
            return plain(route, replicate)

        made._spending.of = always_fresh
        return made


@pytest.fixture
def study(tmp_path):
    made = Study(tmp_path)
    yield made
    made.ledger.close()


def play(scheduler, study, cost_s, outcome=None):
    """Run everything, each job at the cost of its route; the names in the order in which they were given out."""
    names = []
    while not isinstance(answer := scheduler.next(), Done):
        assert isinstance(answer, Job), "nothing is out, and the scheduler waits"
        names.append(answer.job)
        study.spend(answer, cost_s[answer.route])
        scheduler.tell(answer, outcome(answer) if outcome else Outcome(ok=True))
    return names


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
    assert first.job == "prune-r0-0"
    assert isinstance(scheduler.next(), Wait)
    assert isinstance(scheduler.next(), Wait)
    scheduler.tell(first, Outcome(ok=True))
    second = scheduler.next()
    assert second.job == "prune-r0-1"
    scheduler.tell(second, Outcome(ok=True))
    assert not scheduler.finished, "no route has said so yet"
    assert isinstance(scheduler.next(), Done)
    assert scheduler.finished


def test_a_waiting_route_does_not_hold_up_another(study):
    scheduler = study.scheduler(line("prune", 2, chained=True), line("search", 2))
    given = [scheduler.next().job for _ in range(3)]
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
                self.jobs.append(Job("late", "scratch", Phase.RETRAIN, None, 0, 0, {}, 1))

    names = play(study.scheduler(Listener("scratch", []), line("prune", 1)), study, {"prune": 1, "scratch": 1})
    assert names == ["prune-r0-0", "late"]


def test_what_the_ledger_knows_is_told_and_not_run(study):
    study.spend(job("prune-r0-0", "prune"), 5, metrics={"val_top1": 0.5})
    route = line("prune", 3, chained=True)
    scheduler = study.scheduler(route)
    assert scheduler.next().job == "prune-r0-1"
    assert route.told == [("prune-r0-0", Outcome(ok=True, metrics={"val_top1": 0.5}))]


def test_a_failed_attempt_alone_is_no_outcome(study):
    study.spend(job("prune-r0-0", "prune"), 5, ok=False)
    assert study.scheduler(line("prune", 1)).next().job == "prune-r0-0"


def test_an_abandoned_job_stays_abandoned_and_makes_the_study_incomplete(study):
    study.spend(job("prune-r0-0", "prune"), 5, ok=False)
    study.ledger.append(Kind.JOB_ABANDONED, session="s1", job="prune-r0-0", reason="broken")
    scheduler = study.scheduler(line("prune", 1))
    assert isinstance(scheduler.next(), Done)
    assert list(scheduler.failed) == ["prune-r0-0"]


def test_a_failed_job_is_written_down(study):
    scheduler = study.scheduler(line("prune", 1))
    scheduler.tell(scheduler.next(), Outcome(ok=False, reason="it diverged"))
    (record,) = [r for r in read_ledger(study.paths.ledger).records if r["kind"] == Kind.JOB_ABANDONED]
    assert (record["job"], record["reason"]) == ("prune-r0-0", "it diverged")
    assert scheduler.failed == {"prune-r0-0": "it diverged"}


def test_a_failed_candidate_is_part_of_a_search(study):
    route = Line("search", [job("c", "search", phase=Phase.SEARCH)])
    scheduler = study.scheduler(route)
    scheduler.tell(scheduler.next(), Outcome(ok=False, reason="it diverged"))
    assert scheduler.failed == {}


def test_a_spent_budget_stops_training_but_not_evaluation(study):
    jobs = [job(f"t{i}", "search") for i in range(5)] + [job("e", "search", phase=Phase.EVALUATE)]
    route = Line("search", jobs, chained=True)
    names = play(study.scheduler(route, search="25 s"), study, {"search": 10})
    assert names == ["t0", "t1", "t2", "e"]
    refused = dict(route.told)["t3"]
    assert not refused.ok
    assert "budget" in refused.reason


def test_a_budget_is_for_each_replicate_and_route(study):
    routes = line("search", 3, 0, chained=True), line("search", 3, 1, chained=True), line("prune", 3, chained=True)
    names = play(study.scheduler(*routes, search="10 s"), study, {"search": 10, "prune": 10})
    assert sorted(names) == ["prune-r0-0", "prune-r0-1", "prune-r0-2", "search-r0-0", "search-r1-0"]


def test_a_refusal_for_the_budget_is_not_written_so_that_more_budget_goes_on(study):
    play(study.scheduler(line("search", 3, chained=True), search="10 s"), study, {"search": 10})
    assert not [r for r in read_ledger(study.paths.ledger).records if r["kind"] == Kind.JOB_ABANDONED]
    study_again = study.scheduler(line("search", 3, chained=True), search="1 h")
    assert study_again.next().job == "search-r0-1"


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


def test_spending_is_not_read_again_within_a_second(study):
    now = [100.0]
    spending = module._Spending(study.paths, clock=lambda: now[0])
    assert spending.of("prune", 0) == 0
    study.spend(job("prune-r0-0", "prune"), 5)
    now[0] += 0.9
    assert spending.of("prune", 0) == 0, "still what was read before"
    now[0] += 0.2
    assert spending.of("prune", 0) == 5


def evaluation(route, target):
    deliver = {"label": route, "description": "", "parent": None}
    return Job(
        f"{route}-r0-t{target}-x-evaluate-{route}", route, Phase.EVALUATE, target, 0, 0, {}, 1000, deliver=deliver
    )


def test_a_route_that_ends_with_nothing_is_named(study):
    routes = (
        Line("search", [evaluation("search", 300)]),
        Line("prune", [evaluation("prune", 300), evaluation("prune", 200)]),
    )
    scheduler = study.scheduler(*routes, Line("scratch", []), Line("analysis", []))
    play(scheduler, study, {"search": 1, "prune": 1})
    assert scheduler.undelivered([300, 200]) == ["search of replicate 0 at 200 MACs"]
    assert scheduler.undelivered([300]) == []


def test_a_route_without_budget_ends_with_nothing_as_planned(study):
    scheduler = study.scheduler(line("search", 3, chained=True), search="10 s")
    play(scheduler, study, {"search": 10})
    assert scheduler.stopped
    assert scheduler.undelivered([300]) == []


def test_work_before_a_retraining_is_for_its_target(study, monkeypatch):
    times = iter([0.0, 3.5, 10.0, 10.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(times))
    retrain = Job("search-r0-t300-retrain-0", "search", Phase.RETRAIN, 300, 0, 0, {}, 1000)
    study.scheduler(Line("search", [retrain])).next()
    (record,) = [r for r in read_ledger(study.paths.ledger).records if r["kind"] == Kind.DRIVER_WORK]
    assert (record["duration_s"], record["target"]) == (3.5, 300)
