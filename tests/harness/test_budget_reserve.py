"""How much of a budget is reserved for a route's networks, on plans written by hand."""

from dataclasses import replace

from some_jobs import evaluation, job

from accounting.ledger.records import Phase
from harness.jobs.start import WeightsOf
from harness.scheduling.forecast import Forecast

COSTS = {Phase.SEARCH: 10, Phase.TUNE: 20, Phase.RETRAIN: 30, Phase.EVALUATE: 5}


def forecast(num_trials=3):
    """A search with one target: candidates at 10 s, trials of the winner's recipe, its retraining and evaluation."""
    trials = [job(f"retrain-tune-{i}", "search", Phase.TUNE, 300) for i in range(num_trials)]
    retrain = job("retrain", "search", Phase.RETRAIN, 300, tuned_by=tuple(trial.name for trial in trials))
    last = replace(evaluation("search", 300), start=WeightsOf(retrain.name))
    jobs = [job("c0", "search", Phase.SEARCH), *trials, retrain, last]
    return Forecast([(each, COSTS[each.phase]) for each in jobs], lambda each: COSTS[each.phase], pace=1.0)


class TestTrials:
    def left_s(self, claims, num_trials=3):
        return forecast(num_trials).reserve_s("search", 0, 1000, {(300, phase): n for phase, n in claims.items()})

    def test_are_kept_with_the_training_that_waits_for_them(self):
        assert self.left_s({}) == 3 * 20 + 30 + 5
        assert self.left_s({}, num_trials=0) == 30 + 5

    def test_that_were_made_are_paid_for(self):
        assert self.left_s({Phase.TUNE: 2}) == 20 + 30 + 5
        assert self.left_s({Phase.TUNE: 3}) == 30 + 5

    def test_of_a_training_that_has_begun_are_over_whatever_became_of_them(self):
        assert self.left_s({Phase.TUNE: 3, Phase.RETRAIN: 1}) == 5
        assert self.left_s({Phase.TUNE: 1, Phase.RETRAIN: 1}) == 5  # two trials failed

    def test_count_where_a_budget_pays_for_some_of_the_targets(self):
        two = [job("c0", "search", Phase.SEARCH)]
        for target, num_trials in ((300, 0), (200, 3)):
            trials = [job(f"tune-{i}", "search", Phase.TUNE, target) for i in range(num_trials)]
            retrain = job("retrain", "search", Phase.RETRAIN, target, tuned_by=tuple(trial.name for trial in trials))
            two += [*trials, retrain, replace(evaluation("search", target), start=WeightsOf(retrain.name))]
        found = Forecast([(each, COSTS[each.phase]) for each in two], lambda each: COSTS[each.phase], pace=1.0)
        assert found.reserve_s("search", 0, 100, {}) == 35  # 10 + 35 + 95 s are more than 100 s
        assert found.reserve_s("search", 0, 140, {}) == 35 + 95
