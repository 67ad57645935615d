"""Tuning a recipe: what ``tune`` accepts, which settings are tried, the range test, the jobs and the choice."""

import math
import re

import pytest
from some_jobs import job

from accounting.cost.lineage import needed
from accounting.ledger.records import Phase
from harness.config.phases import warnings
from harness.config.recipe import Recipe
from harness.config.study import load_configs
from harness.config.tune import Tune
from harness.errors import InputError
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.spec import from_json, to_json
from harness.jobs.work import RangeTest, Train
from harness.routes.base import Queue
from harness.training.lr_range import chosen_rate, rate_at

GRID = {"lr": [0.1, 0.2], "weight_decay": [0.0, 1e-4, 1e-3]}


def test_all_combinations_or_so_many_of_them():
    assert Tune(lr=[0.1, 0.2]).settings(0) == [{"lr": 0.1}, {"lr": 0.2}]
    every = Tune(**GRID).settings(0)
    assert len(every) == 6
    some = Tune(**GRID, trials=4).settings(3)
    assert len(some) == 4
    assert all(setting in every for setting in some)
    assert some == Tune(**GRID, trials=4).settings(3)
    assert {str(Tune(**GRID, trials=4).settings(seed)) for seed in range(9)} > {str(some)}, "drawn by the seed"


REFUSED = {
    "nothing to choose from": ({"lr": [0.1]}, "nothing to choose from"),
    "more trials than combinations": ({"lr": [0.1, 0.2], "trials": 3}, "trials is 3, of 2 combinations"),
    "a value twice": ({"lr": [0.1, 0.1]}, "duplicate"),
    "a word that is none": ("range", "write off, lr_range, or a section"),
    "another key": ({"momentum": [0.8, 0.9]}, "momentum"),
    "a rate of 0": ({"lr": [0.0, 0.1]}, "routes.prune.finetune.tune.lr"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_tuning_is_refused(tiny, write_config, case):
    value, line = REFUSED[case]
    tiny["routes"]["prune"]["finetune"]["tune"] = value
    with pytest.raises(InputError, match=re.escape(line)):
        load_configs(write_config(tiny))


def test_rates_below_that_of_the_schedules_end_are_refused(tiny, write_config):
    tiny["routes"]["prune"]["finetune"] |= {"min_lr": 0.02, "tune": {"lr": [0.01, 0.1]}}
    line = "routes.prune.finetune: tune.lr has 0.01, below the min_lr of 0.02"
    with pytest.raises(InputError, match=re.escape(line)):
        load_configs(write_config(tiny))
    tiny["routes"]["prune"]["finetune"]["min_lr"] = 0.01
    assert load_configs(write_config(tiny))


@pytest.mark.parametrize("place", ["parent.pretrain", "routes.search.candidate"])
def test_what_is_not_tuned_is_refused_by_its_key(tiny, write_config, place):
    section = tiny
    for key in place.split("."):
        section = section[key]
    section["tune"] = "lr_range"
    with pytest.raises(InputError, match=re.escape(f"{place}.tune: has no effect")):
        load_configs(write_config(tiny))


def test_rates_rise_by_equal_factors_around_the_recipes():
    rates = [rate_at(update, 5, 0.1) for update in range(5)]
    assert rates == pytest.approx([0.001, 0.01, 0.1, 1.0, 10.0])
    assert rate_at(0, 1, 0.1) == pytest.approx(0.001), "one update alone"


def test_the_rate_is_a_tenth_of_that_of_the_lowest_smoothed_loss():
    falling = [2.0, 1.5, 1.0, 5.0, 9.0]
    assert chosen_rate(falling, 5, 0.1) == pytest.approx(0.1 / 10)
    assert chosen_rate([2.0, 1.0, math.nan, 0.1, 0.1], 5, 0.1) == pytest.approx(0.01 / 10), "what diverged is over"
    assert chosen_rate([math.inf], 5, 0.1) == 0.1, "nothing is known"


def tuned_job(tune, **fields):
    plain = {"phase": Phase.FINETUNE, "target": 500, "work": Train(Recipe(epochs=3, lr=0.1, tune=tune))}
    return job("x-finetune", **plain | fields)


def play(queue, values, order=1):
    """All jobs, when trials are told in the given order, each with its value (None if it failed)."""
    seen, out = [], []
    while True:
        answer = queue.next(more=False)
        if isinstance(answer, Job):
            seen.append(answer)
            out.append(answer)
            continue
        if isinstance(answer, Done):
            return seen
        assert isinstance(answer, Wait)
        for told in out[::order]:
            value = values.get(told.name.rpartition("-")[2], 0.5)
            metrics = value if isinstance(value, dict) else {"val_top1": value}
            queue.record(told, Outcome(ok=value is not None, metrics=metrics if value is not None else {}))
        out = []


@pytest.mark.parametrize("order", [1, -1])
def test_trials_come_first_and_the_best_is_trained_by(order):
    queue = Queue()
    queue.put(tuned_job(Tune(lr=[0.1, 0.2], weight_decay=[0.0, 0.001])))
    *trials, last = play(queue, {"0": 0.6, "1": 0.8, "2": None, "3": 0.8}, order)
    assert [trial.name for trial in trials] == [f"prune-r0-t500-x-finetune-tune-{i}" for i in range(4)]
    assert {trial.phase for trial in trials} == {Phase.TUNE}
    assert len({trial.seed for trial in trials} | {last.seed}) == 2, "one seed for all trials, another for the training"
    assert {trial.work.recipe.epochs for trial in trials} == {3}
    assert (last.name, last.phase) == ("prune-r0-t500-x-finetune", Phase.FINETUNE)
    assert (last.work.recipe.lr, last.work.recipe.weight_decay) == (0.1, 0.001), "the first of equals"
    assert last.work.recipe.tune == "off"
    assert last.tuned_by == tuple(trial.name for trial in trials)


def test_where_every_trial_failed_the_recipe_stays():
    queue = Queue()
    queue.put(tuned_job(Tune(lr=[0.3, 0.2])))
    assert play(queue, {"0": None, "1": None})[-1].work.recipe.lr == 0.1


def test_a_range_test_sets_the_rate():
    queue = Queue()
    queue.put(tuned_job("lr_range"))
    test, last = play(queue, {"lr_range": {"chosen_lr": 0.025}})
    assert isinstance(test.work, RangeTest)
    assert test.phase == Phase.TUNE
    assert last.work.recipe.lr == 0.025


def test_a_rate_below_that_of_the_schedules_end_brings_it_down():
    queue = Queue()
    queue.put(tuned_job("lr_range", work=Train(Recipe(epochs=3, lr=0.1, min_lr=0.05, tune="lr_range"))))
    recipe = play(queue, {"lr_range": {"chosen_lr": 0.025}})[-1].work.recipe
    assert (recipe.lr, recipe.min_lr) == (0.025, 0.025)
    queue.put(tuned_job("lr_range", work=Train(Recipe(epochs=3, lr=0.1, min_lr=0.01, tune="lr_range"))))
    assert play(queue, {"lr_range": {"chosen_lr": 0.025}})[-1].work.recipe.min_lr == 0.01


@pytest.mark.parametrize(
    "plain",
    [
        tuned_job("off"),
        tuned_job("lr_range", phase=Phase.PRETRAIN),
        tuned_job("lr_range", work=Train(Recipe(epochs=0))),
    ],
)
def test_others_are_trained_at_once_and_as_they_were(plain):
    queue = Queue()
    queue.put(plain)
    assert play(queue, {}) == [plain]


@pytest.mark.parametrize("tune", ["lr_range", Tune(lr=[0.1, 0.2])])
def test_jobs_read_back_from_json_as_themselves(tune):
    queue = Queue()
    queue.put(tuned_job(tune))
    for each in play(queue, {"lr_range": {"chosen_lr": 0.3}}):
        assert from_json(to_json(each)) == each


def test_what_tuned_a_training_is_paid_for_with_it():
    specs = {
        "e": {"init_from": "f"},
        "f": {"init_from": "p", "tuned_by": ["t0", "t1"]},
        "t0": {"init_from": "p"},
        "t1": {},
        "p": {},
    }
    assert sorted(needed(specs, "e")) == ["e", "f", "p", "t0", "t1"]


def test_a_tuning_that_no_phase_has_is_refused(tiny, write_config):
    """The parent alone is trained, which is not tuned; one epoch of fine-tuning is enough for it to have an effect."""
    tiny["recipe"]["tune"] = "lr_range"
    tiny["routes"] = {"prune": {"finetune": {"epochs": 0}}}
    with pytest.raises(InputError, match=re.escape("recipe.tune: has no effect: no phase is tuned by it")):
        load_configs(write_config(tiny))
    tiny["routes"]["prune"]["finetune"]["epochs"] = 1
    assert load_configs(write_config(tiny))


def test_a_range_test_of_few_updates_is_a_warning_and_of_one_changes_nothing(tiny, write_config):
    """200 images make 4 updates in batches of 50, and 10 in batches of 20."""
    tiny["routes"]["prune"]["finetune"]["tune"] = "lr_range"
    (said,) = warnings(load_configs(write_config(tiny))[0], 200)
    assert said.startswith("routes.prune.finetune.tune: lr_range tries one learning rate in each of the 4 updates")
    assert said.endswith("such as {lr: [0.017, 0.05]}")
    tiny["recipe"]["batch_size"] = 20
    assert warnings(load_configs(write_config(tiny))[0], 200) == []
    assert chosen_rate([0.1], 1, 0.05) == 0.05
