"""The scheduler, on routes and a ledger made by hand."""

import copy
from dataclasses import replace
from unittest import mock

import pytest
from some_jobs import evaluation, job
from some_jobs import job as job_of

from accounting.cost.attempts import derive
from accounting.cost.shares import spent_h
from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import LedgerWriter, read_ledger
from accounting.study.folder import StudyFolder
from harness.config.routes import BudgetConfig, with_keys
from harness.console.outlook import undelivered
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.spec import to_json
from harness.jobs.start import WeightsOf
from harness.jobs.teacher import Teacher
from harness.scheduling import scheduler as module
from harness.scheduling.forecast import Forecast
from harness.scheduling.remakes import Remakes
from harness.scheduling.scheduler import Scheduler, known_outcomes, stopped_before
from harness.scheduling.seams import LedgerJournal, LedgerSpending
from harness.scheduling.simulated import PlannedJob


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
            self.out.add(self.jobs[0].name)
            return self.jobs.pop(0)
        return Wait() if self.out else Done()

    def tell(self, job, outcome):
        self.told.append((job.name, outcome))
        self.out.discard(job.name)


def line(name, count, replicate=0, **options):
    return Line(name, [job(str(i), name, replicate=replicate) for i in range(count)], replicate, **options)


class Exact(LedgerSpending):
    """Reads the ledger whenever it is asked."""

    of = LedgerSpending.now


class Study:
    """A folder with a ledger in which jobs cost what the test says."""

    def __init__(self, root):
        self.paths = StudyFolder(root)
        self.ledger = LedgerWriter(self.paths.ledger, "s1", "driver")
        self.t = 1000.0
        self.ledger.append(
            Kind.SESSION_OPENED, t=self.t, session="s1", study="x", environment={},
            capacity=[{"device": "n/cpu", "device_kind": "cpu_core", "amount": 1.0, "name": "c", "node": "n"}],
        )  # fmt: skip

    def spend(self, job, seconds, ok=True, metrics=None, device="n/cpu", spec=None):
        attempt = f"{job.name}#{self.t}"
        self.ledger.append(
            Kind.ATTEMPT_STARTED, t=self.t, session="s1", attempt=attempt, job=job.name, route=job.route,
            phase=job.phase, target=job.target, replicate=job.replicate, allocation=None, devices={device: 1.0},
            meter="wall_clock", network_macs=1000, spec=spec or {},
        )  # fmt: skip
        self.ledger.append(Kind.WORK_BEGUN, t=self.t, attempt=attempt, epoch=0)
        self.t += seconds
        self.ledger.append(
            Kind.ATTEMPT_ENDED, t=self.t, attempt=attempt, status="ok" if ok else "failed",
            reason=None if ok else "broken", outcome=(metrics or {}) if ok else None, work_end_t=self.t, measurement={},
        )  # fmt: skip

    def scheduler(self, *routes, **budget):
        return Scheduler(
            routes,
            with_keys(BudgetConfig)(**budget).model_dump(),
            known_outcomes(self.paths),
            Exact(self.paths),
            LedgerJournal(self.ledger, "s1"),
            Remakes(self.paths, read_ledger(self.paths.ledger).records),
        )


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
        names.append(answer.name)
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


def test_a_spent_budget_stops_training_but_not_evaluation(study):
    jobs = [job(f"t{i}", "search") for i in range(5)] + [job("e", "search", Phase.EVALUATE)]
    route = Line("search", jobs, chained=True)
    names = play(study.scheduler(route, search="25 s"), study, {"search": 10})
    assert names == [f"search-r0-{step}" for step in ("t0", "t1", "t2", "e")]
    refused = dict(route.told)["search-r0-t3"]
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
    assert study_again.next().name == "search-r0-1"


class TestForecast:
    """A search of candidates at 10 s, whose two targets each need a retraining of 30 s and an evaluation of 5 s."""

    COSTS = {Phase.SEARCH: 10, Phase.RETRAIN: 30, Phase.EVALUATE: 5}  # noqa: RUF012

    def jobs(self, candidates=6, targets=(300, 200)):
        tail = []
        for target in targets:
            retrain = job(f"r{target}", "search", Phase.RETRAIN, target)
            tail += [retrain, replace(evaluation("search", target), start=WeightsOf(retrain.name))]
        return [*(job(f"c{i}", "search", Phase.SEARCH) for i in range(candidates)), *tail]

    def price_s(self, job):
        return self.COSTS[job.phase]

    def scheduler(self, study, jobs, limit, pace=1.0, **options):
        forecast = Forecast([(each, self.price_s(each)) for each in jobs], self.price_s, pace)
        route = Line("search", jobs, chained=True)
        made = Scheduler(
            [route], {"search": limit / 3600}, known_outcomes(study.paths), Exact(study.paths, forecast=forecast),
            LedgerJournal(study.ledger, "s1"), Remakes(study.paths, read_ledger(study.paths.ledger).records),
            forecast=forecast, stopped_before=stopped_before(read_ledger(study.paths.ledger).records), **options,
        )  # fmt: skip
        return made, route

    def run(self, study, jobs, limit, **options):
        scheduler, route = self.scheduler(study, jobs, limit, **options)
        names = []
        while not isinstance(answer := scheduler.next(), Done):
            names.append(answer.name.removeprefix("search-r0-"))
            study.spend(answer, self.price_s(answer))
            scheduler.tell(answer, Outcome(ok=True))
        return names, scheduler, route

    def test_a_search_leaves_what_its_networks_need(self, study):
        # 70 s are kept for two networks, so 100 s pay for three candidates.
        names, scheduler, _ = self.run(study, self.jobs(), 100)
        assert [name for name in names if name.startswith("c")] == ["c0", "c1", "c2"]
        assert len(names) == 3 + 4
        assert {id.step for id in scheduler.stopped} == {"c3", "c4", "c5"}
        assert scheduler.undelivered([300, 200]) == []
        assert Exact(study.paths).now("search", 0) == pytest.approx(100)

    def test_a_budget_for_one_network_alone_is_kept_for_that(self, study):
        # 60 s: one network (35 s) and two candidates; the other's 35 s are not there.
        names, _, route = self.run(study, self.jobs(), 60)
        assert [name for name in names if name.startswith("c")] == ["c0", "c1"]
        assert Exact(study.paths).now("search", 0) <= 60
        refused = [outcome.reason for name, outcome in route.told if name.endswith("r200")]
        assert "cannot pay for it: about 30 device-seconds" in refused[0]

    def test_lost_work_is_spent_and_ends_the_search_earlier(self, study):
        jobs = self.jobs()
        study.spend(jobs[0], 20, ok=False)
        names, *_ = self.run(study, jobs, 100)
        assert [name for name in names if name.startswith("c")] == ["c0"]
        assert len(names) == 1 + 4

    def test_what_is_under_way_is_paid_for_first(self, study):
        jobs = self.jobs()
        scheduler, _ = self.scheduler(study, jobs, 89)
        scheduler._routes[0] = Line("search", jobs)
        assert scheduler.next().name == "search-r0-c0"
        following = scheduler.next()  # 70 s kept and 10 s under way leave 9 s
        assert following.phase == Phase.RETRAIN

    def test_a_stop_is_on_record_and_stays_for_as_long_as_the_budget_is_that_one(self, study):
        jobs = self.jobs()
        self.run(study, jobs, 100)
        stops = [r for r in read_ledger(study.paths.ledger).records if r["kind"] == Kind.JOB_STOPPED]
        assert [r["job"] for r in stops] == ["search-r0-c3", "search-r0-c4", "search-r0-c5"]
        assert {r["budget_h"] for r in stops} == {100 / 3600}
        again, scheduler, _ = self.run(study, jobs, 100, pace=0.01)
        assert again == []  # though now they would seem cheap
        assert len(scheduler.stopped) == 3
        more, *_ = self.run(study, jobs, 111)
        assert more == ["c3"]

    def test_costs_are_those_of_the_jobs_that_were_done(self, study):
        jobs = self.jobs()
        forecast = Forecast([(each, self.price_s(each)) for each in jobs], self.price_s)
        assert forecast.cost_s(jobs[0]) is None
        for each in jobs[:2]:
            study.spend(replace(each), 20, spec=to_json(each))
        forecast.learn(derive(read_ledger(study.paths.ledger).records))
        assert forecast.cost_s(jobs[2]) == pytest.approx(20)
        assert forecast.cost_s(jobs[6]) == pytest.approx(60)  # none was retrained: the pace of all
        assert forecast.reserve_s("search", 0, 1000, {}) == pytest.approx(140)
        assert forecast.reserve_s("search", 0, 1000, {(300, Phase.RETRAIN): 1}) == pytest.approx(80)


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
    spending = LedgerSpending(study.paths, clock=lambda: now[0])
    assert spending.of("prune", 0) == 0
    study.spend(job("0"), 5)
    now[0] += 0.9
    assert spending.of("prune", 0) == 0, "still what was read before"
    now[0] += 0.2
    assert spending.of("prune", 0) == 5


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
    retrain = job("retrain-0", "search", Phase.RETRAIN, 300)
    study.scheduler(Line("search", [retrain])).next()
    (record,) = [r for r in read_ledger(study.paths.ledger).records if r["kind"] == Kind.DRIVER_WORK]
    assert (record["duration_s"], record["target"]) == (3.5, 300)


def test_what_was_spent_is_the_same_for_the_budget_for_status_and_for_what_is_undelivered(study):
    """In a study in GPU-hours a stray attempt on a CPU is no spending of any of them."""
    study.ledger.append(
        Kind.SESSION_OPENED, t=study.t, session="s2", study="x", environment={},
        capacity=[{"device": "GPU-1", "device_kind": "cuda", "amount": 1.0, "name": "g", "node": "n"}],
    )  # fmt: skip
    study.spend(job("stray"), 7200)
    study.spend(job("0"), 36, device="GPU-1")
    view = derive(read_ledger(study.paths.ledger).records)
    assert spent_h(view) == {("prune", 0): pytest.approx(0.01)}
    assert LedgerSpending(study.paths).now("prune", 0) == pytest.approx(36)
    (left,) = undelivered([PlannedJob(evaluation("prune", 300), 1.0)], view, {"prune": 1.0})
    assert left.spent_h == pytest.approx(0.01)
    scheduler = study.scheduler(line("prune", 2), prune="1 h")
    assert scheduler.next().name == "prune-r0-1", "the budget is not spent"


PRETRAINED = job("pretrain", "prune")
TEACHER = Teacher("parent", {}, WeightsOf(PRETRAINED.name), 1, (1, 8, 8), (0.5,), (0.5,))


def taught(name, *steps):
    return [job(step, name, teacher=TEACHER) for step in steps]


def test_a_job_waits_for_the_training_of_its_teacher(study):
    """The search is asked first, since it comes first among equals; what needs no teacher is not held up."""
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
    """Unless its weights are gone: then it is trained again first."""
    given = replace(PRETRAINED, phase=Phase.PRETRAIN)
    study.spend(given, 5, metrics={"val_top1": 0.5, "weights_sha256": "0" * 64, "masks_sha256": None})
    routes = Line("search", taught("search", "a")), Line("prune", [given])
    with mock.patch("harness.scheduling.remakes.files_problem", return_value=None):
        assert play(study.scheduler(*copy.deepcopy(routes)), study, {"search": 1}) == ["search-r0-a"]
    scheduler = study.scheduler(Line("search", taught("search", "b")), Line("prune", [given]))
    assert play(scheduler, study, {"search": 1, "prune": 5}) == [PRETRAINED.name, "search-r0-b"]
