"""A running job that would exceed its route's budget stops at a checkpoint; the stop is recorded and replayed."""

import time
from dataclasses import replace

import pytest
import torch
from scheduled import Exact, Line, opened
from some_jobs import evaluation, job
from test_training import Seen, fit, network, same, split

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from harness.backends.tune_jobs import JobSearcher
from harness.config.recipe import Recipe
from harness.config.resources import JobShape
from harness.data.base import Splits
from harness.jobs.files import Given
from harness.jobs.job import Done, Outcome, Wait
from harness.jobs.start import WeightsOf
from harness.jobs.work import Train
from harness.scheduling.forecast import Forecast
from harness.scheduling.known import known_outcomes, stopped_before
from harness.scheduling.remakes import Remakes
from harness.scheduling.scheduler import Scheduler
from harness.scheduling.seams import LedgerJournal
from harness.training.loop import Hooks, Stopped
from harness.work.stop_notes import StopNotes

COSTS = {Phase.SEARCH: 10, Phase.RETRAIN: 30, Phase.EVALUATE: 5}
OF_FIVE = Train(Recipe(epochs=5))
"""A candidate's five epochs are planned to take 10 s, so there is a checkpoint every 2 s."""


@pytest.fixture
def study(tmp_path):
    with opened(tmp_path) as made:
        yield made


def jobs():
    """Candidates at 10 s; a target whose network needs a retraining of 30 s and an evaluation of 5 s."""
    retrain = job("r", "search", Phase.RETRAIN, 300, work=OF_FIVE)
    last = replace(evaluation("search", 300), start=WeightsOf(retrain.name))
    return [*(job(f"c{i}", "search", Phase.SEARCH, work=OF_FIVE) for i in range(3)), retrain, last]


def scheduler_of(study, limit_s, route=None, **more):
    route = route or Line("search", jobs(), chained=True)
    records = read_ledger(study.paths.ledger).records
    forecast = Forecast([(each, COSTS[each.phase]) for each in jobs()], lambda each: COSTS[each.phase], 1.0)
    return Scheduler(
        [route], {"search": limit_s / 3600}, known_outcomes(study.paths), Exact(study.paths),
        LedgerJournal(study.ledger, "s1"), Remakes(study.paths, records), forecast=forecast,
        stopped_before=stopped_before(records), **more,
    )  # fmt: skip


def begin(study, running, held_s):
    """Record an attempt at the job that has run for ``held_s``."""
    study.ledger.append(
        Kind.ATTEMPT_STARTED, t=time.time() - held_s, session="s1", attempt=f"{running.name}#1", job=running.name,
        route=running.route, phase=running.phase, target=running.target, replicate=0, allocation=None,
        devices={"n/cpu": 1.0}, meter="none", network_macs=1, spec={},
    )  # fmt: skip
    study.ledger.append(Kind.WORK_BEGUN, t=time.time() - held_s, attempt=f"{running.name}#1", epoch=0)


def stop(study, scheduler, running, reason="stopped after epoch 3 of 5: the route's budget is spent"):
    """The job's worker stops as it was asked to."""
    study.ledger.append(
        Kind.ATTEMPT_ENDED, attempt=f"{running.name}#1", status="failed", reason=reason, outcome=None,
        work_end_t=time.time(), measurement=None, stopped=True,
    )  # fmt: skip
    scheduler.tell(running, Outcome(ok=False, reason=reason, final=False, stopped=True))


class TestWhenItIsStopped:
    """Of a budget of 100 s, 35 s are reserved for the network to deliver."""

    def test_a_candidate_that_leaves_room_for_its_next_checkpoint_goes_on(self, study):
        scheduler = scheduler_of(study, 100)
        begin(study, scheduler.next(), 50)  # an interval takes 50 / 5 s, and 15 s are left
        assert scheduler.to_stop() == {}

    def test_a_candidate_ends_before_what_the_network_needs_is_gone(self, study):
        scheduler = scheduler_of(study, 100)
        begin(study, scheduler.next(), 60)  # an interval takes 60 / 5 s, and only 5 s are left
        assert list(scheduler.to_stop()) == ["search-r0-c0"]
        assert "35 are kept for the networks to deliver" in scheduler.to_stop()["search-r0-c0"]

    def test_a_candidate_with_checkpoints_within_its_epochs_goes_on_for_longer(self, study):
        scheduler = scheduler_of(study, 100, within_epoch_s=lambda job: 1.0)
        begin(study, scheduler.next(), 60)  # 5 s are left, and the next checkpoint is 1 s away, not 60 / 5 s
        assert scheduler.to_stop() == {}

    def test_a_candidate_that_can_be_paid_to_its_end_is_not_stopped_shortly_before_it(self, study):
        """It takes 10 s, of which 2 are left, as are 2 of the budget; a checkpoint within its epoch is 9 s apart."""
        one = [job("c0", "search", Phase.SEARCH, work=Train(Recipe(epochs=1))), *jobs()[3:]]
        scheduler = scheduler_of(study, 45.5, Line("search", one, chained=True), within_epoch_s=lambda job: 9.0)
        begin(study, scheduler.next(), 8)
        assert scheduler.to_stop() == {}

    def test_one_interval_is_kept_for_each_that_runs(self, study):
        scheduler = scheduler_of(study, 100, Line("search", jobs()))
        for held_s in (26, 26):  # 13 s are left, and two intervals take 2 × 26 / 5 s
            begin(study, scheduler.next(), held_s)
        assert scheduler.to_stop() == {}
        begin(study, scheduler.next(), 6)  # 7 s are left, and 2 × 26 / 5 + 2 s are needed
        assert sorted(scheduler.to_stop()) == [f"search-r0-c{i}" for i in range(3)]

    def test_a_retraining_ends_when_the_budget_is_spent(self, study):
        scheduler = scheduler_of(study, 50, Line("search", jobs()[3:], chained=True))
        retrain = scheduler.next()
        begin(study, retrain, 45)
        assert scheduler.to_stop() == {}
        study.spend(job("x", "search"), 10)
        assert scheduler.to_stop() == {retrain.name: "the route's budget is spent"}

    def test_what_delivers_and_what_has_no_budget_goes_on(self, study):
        scheduler = scheduler_of(study, 50, Line("search", jobs()[4:]))
        begin(study, scheduler.next(), 500)
        assert scheduler.to_stop() == {}
        free = study.scheduler(Line("prune", [job("x")]))
        begin(study, free.next(), 500)
        assert free.to_stop() == {}


class TestWhatComesOfIt:
    def stopped(self, study, limit_s=100):
        """c0 took 60 s and was stopped; the retraining comes next, since no further candidate can be paid for."""
        scheduler = scheduler_of(study, limit_s)
        begin(study, first := scheduler.next(), 60)
        stop(study, scheduler, first)
        return scheduler

    def names(self, study, scheduler):
        found = []
        while not isinstance(answer := scheduler.next(), Done):
            found.append(answer.id.step)
            scheduler.tell(answer, Outcome(ok=True))
        return found

    def test_the_route_goes_on_to_what_was_kept_for_its_network(self, study):
        scheduler = self.stopped(study)
        assert self.names(study, scheduler) == ["r", "x-evaluate"]
        assert {id.step for id in scheduler.stopped} == {"c0", "c1", "c2"}
        assert scheduler.failed == {}
        assert scheduler.undelivered([300]) == []

    def test_a_replay_repeats_it_for_as_long_as_the_budget_is_that_one(self, study):
        self.stopped(study)
        [record] = [r for r in read_ledger(study.paths.ledger).records if r["kind"] == Kind.JOB_STOPPED]
        assert (record["job"], record["budget_h"]) == ("search-r0-c0", 100 / 3600)
        assert "stopped after epoch 3 of 5" in record["reason"]
        assert not [r for r in read_ledger(study.paths.ledger).records if r["kind"] == Kind.JOB_ABANDONED]
        assert self.names(study, scheduler_of(study, 100)) == ["r", "x-evaluate"]
        assert scheduler_of(study, 1000).next().id.step == "c0"

    def test_its_route_is_told_that_it_was_not_paid_for(self, study):
        route = Line("search", jobs(), chained=True)
        scheduler = scheduler_of(study, 100, route)
        begin(study, first := scheduler.next(), 60)
        stop(study, scheduler, first)
        assert dict(route.told)[first.name].not_paid_for

    def test_a_ledger_with_a_stop_adds_up_and_what_was_trained_counts_as_kept(self, study):
        self.stopped(study)
        study.ledger.append(Kind.SESSION_CLOSED, session="s1", reason="done")
        records = read_ledger(study.paths.ledger).records
        assert "job_without_end" not in [f.code for f in audit(records).findings]
        [attempt] = derive(records).attempts
        assert attempt.reason.startswith("stopped after epoch 3 of 5")


class TestTraining:
    RECIPE = Recipe(epochs=4, batch_size=20, lr=0.1, ema_decay=0.9)

    @pytest.fixture
    def splits(self):
        from test_training import INFO

        return Splits(INFO, split(60, 1), split(30, 2), split(30, 3))

    def stopping(self, after):
        seen = Seen()
        asked = []

        def why():
            asked.append(len(seen.epochs))
            return "the budget is spent" if len(seen.epochs) >= after else None

        seen.hooks = Hooks(seen.begun.append, seen.epochs.append, stop=why)
        return seen, asked

    def test_it_ends_at_a_checkpoint_and_goes_on_from_there_to_the_same_bits(self, splits, tmp_path):
        whole, val_top1 = fit(splits, tmp_path / "whole", self.RECIPE)
        seen, _ = self.stopping(2)
        with pytest.raises(Stopped, match=r"^stopped after epoch 2 of 4: the budget is spent$"):
            fit(splits, tmp_path / "parts", self.RECIPE, seen=seen)
        assert [epoch.checkpointed for epoch in seen.epochs] == [True, True]
        again = Seen()
        resumed, top1 = fit(splits, tmp_path / "parts", self.RECIPE, seen=again)
        assert again.begun == [2]
        assert same(whole.state_dict(), resumed.state_dict())
        assert top1 == val_top1

    def test_one_that_is_done_is_not_stopped(self, splits, tmp_path):
        seen, asked = self.stopping(4)
        fit(splits, tmp_path, self.RECIPE, model=network(), seen=seen)
        assert asked == [1, 2, 3]
        assert torch.isfinite(torch.tensor(seen.epochs[-1].val_top1))


class Endless:
    """A scheduler with one job, which must stop as soon as the test says so."""

    def __init__(self):
        self.job, self.stops, self.outcomes = job("a"), {}, []
        self.todo = [self.job]

    def next(self):
        return self.todo.pop() if self.todo else Wait()

    def to_stop(self):
        return self.stops

    def given(self, job):
        return Given()

    def tell(self, job, outcome):
        self.outcomes.append(outcome)


def test_a_worker_elsewhere_is_asked_by_a_note_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.backends.tune_jobs.STOP_LOOK_S", 0.0)
    notes, scheduler = StopNotes(StudyFolder(tmp_path)), Endless()
    searcher = JobSearcher(scheduler, {}, 1, lambda job: JobShape(1, 0, 1), "cpu", {"n": {"Resources": {"CPU": 4.0}}})
    searcher.notes = notes
    searcher.suggest("t1")
    searcher.suggest("t2")
    name = scheduler.job.name
    assert notes.why(name) is None
    scheduler.stops = {name: "the route's budget is spent"}
    searcher.suggest("t3")
    assert StopNotes(StudyFolder(tmp_path)).why(name) == "the route's budget is spent"
    searcher._running.clear()
    scheduler.todo = [scheduler.job]  # a larger budget continues it
    scheduler.stops = {}
    searcher.suggest("t4")
    assert notes.why(name) is None
    notes.ask(name, "x")
    notes.clear()
    assert notes.why(name) is None
