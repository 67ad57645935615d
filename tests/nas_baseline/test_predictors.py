"""Predictors, encoders, pools, evolution and the early stop, against closed forms and known answers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from threadpoolctl import threadpool_info, threadpool_limits

from nas_baseline.predictor.base import Encoder, Inputs, Warp
from nas_baseline.predictor.gaussian_process import JITTER, GaussianProcess
from nas_baseline.predictor.mlp import MLPOptions, MLPPredictor
from nas_baseline.proposing.early_stop import choose_early_stop
from nas_baseline.proposing.genetic import GeneticOptions, evolve
from nas_baseline.proposing.pool import constrained_pool, enumerate_space, spread
from nas_baseline.spaces import load_space
from nas_baseline.spaces.base import (
    CountsParams,
    Dimension,
    DiscreteSpace,
    FromUnit,
    MarksRecipe,
    MergesEqual,
    OfChoices,
)
from nas_baseline.spaces.looped import batched, own

SMALL = MLPOptions(members=3, pretrain_steps=150, fit_steps=120)


class Grid(DiscreteSpace):
    """Six digits with four values each; a member has 1000 MACs times (their sum + 1)."""

    def __init__(self, digits=6):
        super().__init__("grid", [Dimension(f"d{i}", (0, 1, 2, 3), ordered=True) for i in range(digits)])

    def macs_batch(self, archs):
        return 1000 * (1 + np.asarray(archs).sum(1))


def value(space, archs):
    """A value that rises with most digits; the first two also interact."""
    x = np.asarray(archs, dtype=float)
    return x @ np.array([3.0, 2.0, 1.0, 0.5, 0.2, -1.0]) + x[:, 0] * x[:, 1]


def sampled(n, seed=0):
    space = Grid()
    archs = list(dict.fromkeys(space.sample_batch(np.random.default_rng(seed), n)))
    return space, archs, Encoder(space, archs)


def test_a_fit_takes_one_thread_and_gives_the_others_back(monkeypatch):
    """Contending threads made a fit 20 times slower next to other work."""
    _, archs, encode = sampled(12)
    seen, plain = [], GaussianProcess._loss
    threads = lambda: {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}  # noqa: E731

    def watched(self, log, parts):
        seen.append(threads())
        return plain(self, log, parts)

    monkeypatch.setattr(GaussianProcess, "_loss", watched)
    with threadpool_limits(2, "blas"):
        assert threads() == {2}
        GaussianProcess().fit(encode(archs), np.arange(float(len(archs))))
        assert threads() == {2}
    assert {1} in seen and all(found == {1} for found in seen)


def test_gaussian_process_is_the_closed_form():
    _, archs, encode = sampled(15)
    values = np.random.default_rng(1).normal(size=len(archs))
    model, x, new = GaussianProcess(), encode(archs), encode([(0, 1, 2, 3, 0, 1), (3, 3, 3, 3, 3, 3)])
    model.fit(x, values)
    p = np.exp(model._log)
    scale = model._warp(values)
    goal = (scale - scale.mean()) / scale.std()

    def kernel(a, b):
        distance = ((a.encoding[:, None] - b.encoding[None]) ** 2).sum(2)
        linear = (a.encoding - x.encoding.mean(0)) @ (b.encoding - x.encoding.mean(0)).T
        statistics = (a.statistics - x.statistics.mean(0)) @ (b.statistics - x.statistics.mean(0)).T
        return p[0] * np.exp(-distance / p[1]) + p[2] * linear + p[3] * statistics

    inverse = np.linalg.inv(kernel(x, x) + (p[4] + JITTER) * np.eye(len(archs)))
    mean = kernel(new, x) @ inverse @ goal
    variance = np.diag(kernel(new, new) - kernel(new, x) @ inverse @ kernel(x, new))
    got = model.bound(new, 0.0)
    assert got == pytest.approx(mean, abs=1e-6)
    assert model.bound(new, 1.0) - got == pytest.approx(np.sqrt(variance), abs=1e-6)
    assert model.predict(new)[0] == pytest.approx(model._warp.inverse(scale.mean() + scale.std() * mean))


def test_gradient_of_the_marginal_likelihood():
    _, archs, encode = sampled(12)
    model, x = GaussianProcess(), encode(archs)
    model.fit(x, np.random.default_rng(2).normal(size=len(archs)))
    parts, at = model._parts(x, x), np.array([-0.5, 1.0, -1.0, -0.3, -2.0])
    _, gradient = model._loss(at, parts)
    for i in range(5):
        step = np.eye(5)[i] * 1e-5
        slope = (model._loss(at + step, parts)[0] - model._loss(at - step, parts)[0]) / 2e-5
        assert gradient[i] == pytest.approx(slope, abs=1e-4)


@pytest.mark.parametrize("kind", ["gp", "mlp"])
def test_predictors_rank_what_they_have_not_seen(kind):
    space, archs, encode = sampled(400)
    truth = value(space, archs)
    model = GaussianProcess() if kind == "gp" else MLPPredictor(0, SMALL)
    model.pretrain(encode(archs))
    model.fit(encode(archs[:60]), truth[:60])
    mean, sd = model.predict(encode(archs[60:]))
    assert kendalltau(mean, truth[60:]).statistic > (0.85 if kind == "gp" else 0.7)
    assert (sd > 0).all()
    again = GaussianProcess() if kind == "gp" else MLPPredictor(0, SMALL)
    again.pretrain(encode(archs))
    again.fit(encode(archs[:60]), truth[:60])
    assert np.array_equal(again.predict(encode(archs[60:]))[0], mean)


@pytest.mark.parametrize("kind", ["gp", "mlp"])
def test_choices_are_distinct_and_lead_by_bound(kind):
    space, archs, encode = sampled(200)
    model = GaussianProcess() if kind == "gp" else MLPPredictor(0, SMALL)
    model.fit(encode(archs[:20]), value(space, archs[:20]))
    rest = encode(archs[20:])
    chosen = model.choose(rest, 8, 1.5)
    assert len(set(chosen)) == 8
    assert chosen[0] == int(np.argmax(model.bound(rest, 1.5)))
    assert len(model.choose(encode(archs[:3]), 8, 1.5)) == 3


def test_a_batch_does_not_take_two_of_a_kind():
    # Two features. The two points with the best bound coincide; the third is far from them and almost as good.
    def at(*points):
        x = np.array(points, dtype=float)
        return Inputs(x, np.zeros((len(x), 0)), np.zeros((len(x), 2)))

    model = GaussianProcess()
    model.fit(at([0, 0], [0.1, 0], [0, 0.1], [0.1, 0.1]), np.array([0.0, 0.01, -0.01, 0.0]))
    candidates = at([3, 0], [3, 0.0001], [0, 3])
    single = np.argsort(-model.bound(candidates, 3.0))[:2]
    batch = model.choose(candidates, 2, 3.0)
    assert set(single) == {0, 1} or 2 in batch
    assert 2 in batch


@pytest.mark.parametrize("kind", ["gp", "mlp"])
def test_belief_lies_between_prediction_and_measurement(kind):
    space, archs, encode = sampled(30)
    noisy = value(space, archs) + np.random.default_rng(3).normal(0, 2, len(archs))
    model = GaussianProcess() if kind == "gp" else MLPPredictor(0, SMALL)
    model.fit(encode(archs), noisy)
    assert model.believed(noisy, 1.0) == pytest.approx(noisy)
    assert model.believed(noisy, 0.0) == pytest.approx(model.predict(encode(archs))[0])
    half = model.believed(noisy, 0.5)
    low, high = np.sort(np.stack([noisy, model.predict(encode(archs))[0]]), axis=0)
    assert ((low - 1e-6 <= half) & (half <= high + 1e-6)).all()


@pytest.mark.parametrize("model", [GaussianProcess(), MLPPredictor(0, SMALL)])
def test_equal_values_and_a_single_one_can_be_fitted(model):
    _, archs, encode = sampled(12)
    for n in (1, 6):
        model.fit(encode(archs[:n]), np.full(n, 0.5))
        mean, sd = model.predict(encode(archs[n:]))
        assert np.isfinite(mean).all()
        assert np.isfinite(sd).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_warp_keeps_the_order_and_can_be_undone(values):
    a = np.array(values)
    warp = Warp.of(a)
    order = np.argsort(a, kind="stable")
    assert (np.diff(warp(a)[order]) >= 0).all()
    assert warp.inverse(warp(a)) == pytest.approx(a, rel=1e-6, abs=1e-6 * max(1.0, np.ptp(a)))


def test_recipe_features_go_past_the_encoder():
    space = load_space("fbnetv3_mini")
    archs = space.sample_batch(np.random.default_rng(0), 50)
    inputs = Encoder(space, archs)(archs)
    # optimizer one-hot (2), then lr, weight decay, EMA, dropout, drop path, mixup and smoothing.
    assert inputs.recipe.shape == (50, 9)
    assert np.array_equal(inputs.encoding, space.encode_batch(archs))
    assert inputs.statistics.mean(0) == pytest.approx([0, 0], abs=1e-9)
    model = MLPPredictor(0, SMALL)
    model.fit(inputs, np.array([space.recipe(a)["dropout"] for a in archs]))
    assert kendalltau(model.predict(inputs)[0], inputs.recipe[:, 5]).statistic > 0.5


class Raw:
    """The grid's members with only the protocol's methods, and an encoding in other units."""

    def __init__(self, unit):
        self.inner, self.unit = Grid(), unit
        self.sample, self.mutate, self.crossover = self.inner.sample, self.inner.mutate, self.inner.crossover
        self.macs = self.inner.macs

    def encode(self, arch):
        return self.unit * self.inner.encode(arch)


@pytest.mark.parametrize("unit", [64.0, 1e-3])
def test_units_of_an_encoding_do_not_matter(unit):
    _, archs, encode = sampled(300)
    raw = Encoder(batched(Raw(unit)), archs)
    assert raw(archs).encoding == pytest.approx(encode(archs).encoding)
    # The scale is the pool's, even for networks outside it; a constant feature is not scaled.
    few = Encoder(batched(Raw(unit)), [(0, 0, 0, 0, 0, 0), (3, 3, 3, 3, 3, 0)])
    assert few([(3, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 3)]).encoding == pytest.approx(
        np.array([[1.0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, unit]])
    )


def test_what_a_space_of_five_methods_has_besides_is_used():
    _, archs, _ = sampled(10)

    class Marked(Raw):
        num_choices, recipe_mask = [2, 3], np.array([False] * 5 + [True])
        canonical, params = staticmethod(lambda arch: arch[::-1]), staticmethod(sum)

        def from_unit(self, points):
            return [tuple(row) for row in (points > 0.5).astype(int).tolist()]

    space = batched(Marked(1.0))
    assert Encoder(space, archs)(archs).recipe.shape == (len(archs), 1)
    assert (space.canonical((1, 2)), space.params((1, 2))) == ((2, 1), 3)
    written = own(space)
    assert isinstance(written, OfChoices) and isinstance(written, FromUnit) and isinstance(written, MarksRecipe)
    assert not isinstance(own(batched(Raw(1.0))), OfChoices | FromUnit | MarksRecipe | MergesEqual | CountsParams)


@pytest.mark.slow
def test_pretraining_brings_statistics_into_the_embedding():
    space, archs, encode = sampled(500)
    x, macs = encode(archs), space.macs_batch(archs).astype(float)
    taus = {}
    for pretrained in (True, False):
        found = []
        for seed in range(3):
            rows = np.random.default_rng(seed).permutation(len(archs))
            model = MLPPredictor(seed, MLPOptions(members=4, pretrain_steps=300, fit_steps=100, pretrained=pretrained))
            model.pretrain(x)
            model.fit(encode([archs[i] for i in rows[:8]]), macs[rows[:8]])
            found.append(kendalltau(model.predict(x)[0], macs).statistic)
        taus[pretrained] = np.mean(found)
    assert taus[True] > taus[False] + 0.05


def test_pools_are_distinct_within_the_limit_and_cover_small_spaces():
    small = Grid(3)
    assert len(enumerate_space(small)) == 64
    pool = constrained_pool(small, 4000, 1000, seed=0)
    assert sorted(pool) == sorted(a for a in enumerate_space(small) if sum(a) <= 3)
    large = Grid(12)
    assert enumerate_space(large) is None
    # Only 1e-5 of all members are within the limit: sampling alone finds none, walking down does.
    tight = constrained_pool(large, 5000, 100, seed=0)
    assert len(tight) == len(set(tight)) >= 10
    assert large.macs_batch(tight).max() <= 5000
    wide = constrained_pool(large, math.inf, 300, seed=0)
    assert len(set(wide)) == 300
    assert wide == constrained_pool(large, math.inf, 300, seed=0) != constrained_pool(large, math.inf, 300, seed=1)


def test_spread_takes_turns():
    a, b, c, d = (0,), (1,), (2,), (3,)
    assert spread([[a, b, c], [a, d]], 3, taken=set()) == [a, d, b]
    assert spread([[a, b], [c]], 5, taken={b}) == [a, c]
    assert spread([[], []], 5, taken=set()) == []


def test_evolution_finds_the_known_best_within_the_limit():
    space = Grid()
    everything = enumerate_space(space)
    limit = 10_000
    scores = value(space, everything)
    best = max(s for a, s in zip(everything, scores, strict=True) if sum(a) <= 9)
    rng = np.random.default_rng(0)
    found = evolve(space, lambda archs: value(space, archs), [(0, 0, 0, 0, 0, 3)], limit, rng)
    assert found[0][1] == best
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
    assert max(space.macs(a) for a, _ in found) <= limit
    with pytest.raises(ValueError, match="at least one network"):
        evolve(space, lambda archs: value(space, archs), [(3, 3, 3, 3, 3, 3)], limit, rng)


def test_evolution_stops_when_nothing_rises():
    space, calls = Grid(), []

    def score(archs):
        calls.append(len(archs))
        return np.zeros(len(archs))

    evolve(space, score, [(0,) * 6], math.inf, np.random.default_rng(0), GeneticOptions(generations=50, patience=4))
    assert len(calls) == 5


def test_early_stop_by_hand():
    final = [1.0, 2.0, 3.0, 4.0]
    curves = np.array([[4, 1, 1, 1], [3, 2, 3, 2], [2, 3, 2, 3], [1, 4, 4, 4]], dtype=float)
    # Kendall's tau of each epoch: reversed (-1), right (1), one pair swapped (4/6), right (1).
    assert choose_early_stop(curves, final, 0.6) == 2
    assert choose_early_stop(curves, final, 0.9) == 4
    assert choose_early_stop(curves, final, -1.0) == 1
    assert choose_early_stop(np.ones((4, 3)), final, 0.5) == 3
    broken = np.vstack([curves, [np.nan] * 4])
    assert choose_early_stop(broken, [*final, 0.0], 0.6) == 2


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(-1, 1))
def test_early_stop_is_an_epoch_from_which_on_the_ranking_holds(seed, tau):
    rng = np.random.default_rng(seed)
    curves, final = rng.normal(size=(6, 5)), rng.normal(size=6)
    epoch = choose_early_stop(curves, final, tau)
    assert 1 <= epoch <= 5
    taus = [kendalltau(c, final).statistic for c in curves.T]
    assert epoch == 5 or all(t >= tau for t in taus[epoch - 1 :])
    # If no epoch qualifies, the last one is chosen.
    assert epoch == 1 or taus[epoch - 2] < tau or taus[-1] < tau


@pytest.mark.parametrize(
    ("curves", "final", "tau"), [([[1, 2]], [1, 2], 0.5), ([1, 2], [1, 2], 0.5), (np.ones((2, 2)), [1, 2], 0.5),
                                 (np.ones((3, 2)), [1, 2, 3], 2.0)],
)  # fmt: skip
def test_early_stop_refuses_what_it_cannot_rank(curves, final, tau):
    with pytest.raises(ValueError, match=r"need curves|at least 3|min_tau"):
        choose_early_stop(curves, final, tau)
