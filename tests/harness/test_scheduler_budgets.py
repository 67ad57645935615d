"""The scheduler within a budget: what it refuses, what it reserves, and what counts as spent."""

from dataclasses import replace
from functools import partial

import pytest
from scheduled import Exact, Line, line, opened, play
from some_jobs import evaluation, job

from accounting.cost.attempts import derive
from accounting.cost.shares import spent_h
from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import read_ledger
from harness.console.outlook import undelivered
from harness.jobs.job import Done, Outcome
from harness.jobs.spec import to_json
from harness.jobs.start import WeightsOf
from harness.scheduling.forecast import Forecast
from harness.scheduling.known import known_outcomes, stopped_before
from harness.scheduling.remakes import Remakes
from harness.scheduling.scheduler import Scheduler
from harness.scheduling.seams import LedgerJournal, LedgerSpending
from harness.scheduling.simulated import PlannedJob
from harness.scheduling.under_way import UnderWay


@pytest.fixture
def study(tmp_path):
    with opened(tmp_path) as made:
        yield made


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
    """A search with candidates at 10 s; each of its two targets needs a retraining of 30 s and an evaluation of 5 s."""

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
        # 70 s are reserved for two networks, so 100 s pay for three candidates.
        names, scheduler, _ = self.run(study, self.jobs(), 100)
        assert [name for name in names if name.startswith("c")] == ["c0", "c1", "c2"]
        assert len(names) == 3 + 4
        assert {id.step for id in scheduler.stopped} == {"c3", "c4", "c5"}
        assert scheduler.undelivered([300, 200]) == []
        assert Exact(study.paths).now("search", 0) == pytest.approx(100)

    def test_a_budget_for_one_network_alone_is_kept_for_that(self, study):
        # 60 s pay for one network (35 s) and two candidates, but not for the other network's 35 s.
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
        following = scheduler.next()  # 70 s reserved and 10 s running leave 9 s
        assert following.phase == Phase.RETRAIN

    def test_a_stop_is_on_record_and_stays_for_as_long_as_the_budget_is_that_one(self, study):
        jobs = self.jobs()
        self.run(study, jobs, 100)
        stops = [r for r in read_ledger(study.paths.ledger).records if r["kind"] == Kind.JOB_STOPPED]
        assert [r["job"] for r in stops] == ["search-r0-c3", "search-r0-c4", "search-r0-c5"]
        assert {r["budget_h"] for r in stops} == {100 / 3600}
        again, scheduler, _ = self.run(study, jobs, 100, pace=0.01)
        assert again == []  # although by the new pace they would be cheap
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
        assert forecast.cost_s(jobs[6]) == pytest.approx(60)  # no retraining has run, so the pace of all jobs applies
        assert forecast.reserve_s("search", 0, 1000, {}) == pytest.approx(140)
        assert forecast.reserve_s("search", 0, 1000, {(300, Phase.RETRAIN): 1}) == pytest.approx(80)


def test_spending_is_not_read_again_within_a_second(study):
    now = [100.0]
    spending = LedgerSpending(study.paths, clock=lambda: now[0])
    assert spending.of("prune", 0) == 0
    study.spend(job("0"), 5)
    now[0] += 0.9
    assert spending.of("prune", 0) == 0, "still what was read before"
    now[0] += 0.2
    assert spending.of("prune", 0) == 5


def test_a_route_without_budget_ends_with_nothing_as_planned(study):
    scheduler = study.scheduler(line("search", 3, chained=True), search="10 s")
    play(scheduler, study, {"search": 10})
    assert scheduler.stopped
    assert scheduler.undelivered([300]) == []


def test_what_was_spent_is_the_same_for_the_budget_for_status_and_for_what_is_undelivered(study):
    """In a study that counts GPU-hours, a stray attempt on a CPU is not spending in any of the three."""
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


class TestManyRunning:
    """What a thousand running attempts cost the scheduler is counted in readings of the ledger and of its segments."""

    @pytest.fixture
    def spending(self, study):
        study.clock = [100.0]
        made = LedgerSpending(study.paths, clock=lambda: study.clock[0])
        made.num_read, read = 0, made._so_far.read

        def noted(now):
            made.num_read += 1
            return read(now)

        made._so_far.read = noted
        return made

    def begin(self, study, count):
        for n in range(count):
            study.ledger.append(
                Kind.ATTEMPT_STARTED, t=study.t, session="s1", attempt=f"a{n}#0", job=f"a{n}", route="search",
                phase=Phase.SEARCH, target=None, replicate=0, allocation=None, devices={"n/cpu": 0.001},
                meter="wall_clock", network_macs=1000, spec={},
            )  # fmt: skip

    @pytest.mark.parametrize(("asked", "soon_s"), [("at_most", 3.0), ("of", 3.1)])
    def test_what_was_spent_is_read_again_the_later_the_more_attempts_run(self, asked, soon_s, study, spending):
        self.begin(study, 100)
        ask = partial(getattr(spending, asked), "search", 0)
        first = ask()
        assert spending.num_read == 1
        study.clock[0] += 2.9
        again = ask()
        assert spending.num_read == 1
        if asked == "at_most":
            assert again == pytest.approx(first + 2.9), "one device, whatever held it"
        study.clock[0] += soon_s - 2.9
        ask()
        assert spending.num_read == 2

    def test_a_few_are_read_at_once(self, study, spending):
        self.begin(study, 1)
        spending.at_most("search", 0)
        study.clock[0] += 0.03
        spending.at_most("search", 0)
        assert spending.num_read == 2

    def test_no_device_on_record_is_no_bound(self, tmp_path):
        with opened(tmp_path / "other") as study:
            study.ledger.append(
                Kind.SESSION_OPENED, t=study.t, session="s2", study="x", environment={}, capacity=[]
            )  # fmt: skip
            study.spend(job("0"), 5, device="GPU-1")
            spending = LedgerSpending(study.paths, clock=lambda: 0.0)
            assert spending.at_most("prune", 0) == 5
            study.spend(job("1"), 7, device="GPU-1")
            assert spending.at_most("prune", 0) == 12

    @pytest.mark.parametrize(("limit_s", "num_exact"), [(10_000, 0), (95, 1)])
    def test_only_near_its_end_is_a_budget_asked_exactly(self, study, limit_s, num_exact):
        """95 s: 70 are reserved for the networks, and 20 for two candidates under way, so a third is too much."""
        jobs = TestForecast().jobs(targets=(300, 200))
        scheduler, _ = TestForecast().scheduler(study, jobs, limit_s)
        scheduler._routes[0] = Line("search", jobs)
        asked, now = [], scheduler._spending.now
        scheduler._spending.at_most = lambda route, replicate: now(route, replicate)
        scheduler._spending.now = lambda route, replicate: asked.append(route) or now(route, replicate)
        assert [scheduler.next().id.step for _ in range(2)] == ["c0", "c1"]
        assert asked == []
        scheduler._admitted(jobs[2])
        assert len(asked) == num_exact
        assert (jobs[2].id in scheduler.stopped) is bool(num_exact)

    def test_what_is_under_way_is_summed_as_it_comes_and_goes(self):
        under_way, jobs = UnderWay(), TestForecast().jobs()
        for each in jobs[:4]:
            under_way.add(each, 10.0)
        under_way.add(jobs[0], 12.5)
        under_way.remove(jobs[3])
        under_way.remove(jobs[4])
        found = under_way.of("search", 0)
        assert (list(found.jobs), +found.num) == (
            ["search-r0-c1", "search-r0-c2", "search-r0-c0"],
            {(None, Phase.SEARCH): 3},
        )
        assert found.planned_s == {Phase.SEARCH: 32.5}
        for each in jobs:
            under_way.remove(each)
        assert (dict(found.jobs), +found.num, dict(found.planned_s)) == ({}, {}, {})
