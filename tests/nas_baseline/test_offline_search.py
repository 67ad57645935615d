"""``search`` in plain Python beats random search, reports what it did, and refuses wrong settings."""

import subprocess
import sys

import numpy as np
import pytest

from nas_baseline import SearchResult, search
from nas_baseline.proposing.proposals import DONE, WAIT, Done, InfeasibleTarget
from nas_baseline.spaces.base import Dimension, DiscreteSpace
from nas_baseline.strategies import list_strategies, make_strategy


class Ladder(DiscreteSpace):
    """Seven dimensions of five steps; each step adds 100 MACs to a base of 100."""

    def __init__(self):
        super().__init__("ladder", [Dimension(f"rung {i}", (0, 1, 2, 3, 4), ordered=True) for i in range(7)])

    def macs_batch(self, archs):
        return 100 * (1 + np.asarray(archs).sum(1))


WEIGHTS = np.array([5, 4, 3, 1, 1, 1, 1])


def score(arch):
    return float(np.asarray(arch) @ WEIGHTS)


def found(strategy, repeats=6, **options):
    """The mean true score of the networks returned when scores are measured with noise."""
    scores = []
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        result = search(
            Ladder(), lambda a, rng=rng: score(a) + rng.normal(), max_macs=1300, num_trials=24, strategy=strategy, seed=seed,
            **options,
        )  # fmt: skip
        assert Ladder().macs(result.best) <= 1300
        assert len(result.history) == 24
        scores.append(score(result.best))
    return float(np.mean(scores))


def test_search_is_the_function_however_often_it_is_imported():
    """A submodule called ``search`` would replace the function as soon as anything in it was imported."""
    code = (
        "import nas_baseline\n"
        "from nas_baseline import search as first\n"
        "from nas_baseline import search as second\n"
        "assert first is second is nas_baseline.search and callable(first)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_guided_search_beats_random_and_comes_close_to_the_best():
    # Twelve steps: four on each of the dimensions with weights 5, 4 and 3 make 48.
    random, evolution, guided = found("random"), found("regularized_evolution"), found("predictor_evolution")
    assert guided > 46
    assert guided > random + 3
    assert evolution > random - 1


@pytest.mark.slow
def test_the_network_predictor_is_selectable_and_also_beats_random():
    assert found("predictor_evolution", repeats=1, predictor="mlp") > found("random")


def test_predictions_come_with_uncertainty_and_lead_stage_two():
    searcher = make_strategy("predictor_evolution", Ladder(), seed=0, num_trials=30, max_macs=[800, 1300])
    assert searcher.predict([(0,) * 7]) is None
    while not isinstance(work := searcher.ask(), Done):
        searcher.tell(work.trial, score(work.arch))
    # Seven steps: four on the dimension with weight 5 and three on the one with weight 4 make 32.
    finalists = searcher.finalists(800, 1, 1)
    assert max(map(score, finalists)) >= 30
    mean, sd = searcher.predict(finalists)
    assert mean == pytest.approx([score(a) for a in finalists], abs=3)
    assert (sd > 0).all()
    rare, _ = searcher.predict([(0, 0, 0, 4, 4, 4, 0)])
    assert rare[0] < mean.min()


def test_all_failed_is_an_empty_result():
    result = search(Ladder(), lambda arch: None, num_trials=12)
    assert (result.best, result.value, len(result.history)) == (None, None, 12)
    assert search(Ladder(), lambda arch: float("nan"), num_trials=3, strategy="random").best is None


def test_same_seed_same_result():
    runs = [search(Ladder(), score, max_macs=1000, num_trials=15, seed=seed) for seed in (1, 1, 2)]
    assert isinstance(runs[0], SearchResult)
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ("strategy", "options", "message"),
    [
        ("predictor_evolutoin", {}, r"did you mean 'predictor_evolution'\?\); allowed: predictor_evolution, random"),
        ("random", {"population": 3}, "strategy 'random' has no option 'population'; allowed: first_batch, batch"),
        ("predictor_evolution", {"predictor": "svm"}, "allowed: gp, mlp"),
        ("predictor_evolution", {"batch": 0}, "must be at least 1"),
        ("predictor_evolution", {"confidence": -1}, "confidence must be from 0 to 1000, not -1"),
        ("predictor_evolution", {"own_share": 2}, "0 to 1"),
        ("regularized_evolution", {"tournament": 30}, "tournament must be from"),
        ("regularized_evolution", {"batch": 0}, "batch must be at least 1"),
    ],
)
def test_wrong_settings_are_refused(strategy, options, message):
    with pytest.raises(ValueError, match=message):
        search(Ladder(), score, num_trials=4, strategy=strategy, **options)


def test_infeasible_target_names_both_numbers():
    with pytest.raises(InfeasibleTarget, match="target of 99 MACs") as caught:
        search(Ladder(), score, max_macs=99, num_trials=4)
    assert (caught.value.target, caught.value.smallest) == (99, 100)
    # At a limit of exactly the smallest MACs there is one network.
    assert search(Ladder(), score, max_macs=100, num_trials=4).best == (0,) * 7


def test_a_strategy_that_only_waits_is_reported(monkeypatch):
    import nas_baseline.strategies.random as module

    class Idle(module.Strategy):
        def __init__(self, *given):
            self.answers = iter([WAIT, DONE])

        def ask(self):
            return next(self.answers)

    monkeypatch.setattr(module, "Strategy", Idle)
    with pytest.raises(RuntimeError, match="waits although"):
        search(Ladder(), score, num_trials=4, strategy="random")


def test_strategies_are_found_by_their_file():
    assert list_strategies() == ["predictor_evolution", "random", "regularized_evolution", "supernet"]


def test_importing_the_package_loads_no_torch():
    code = "import sys, nas_baseline; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
