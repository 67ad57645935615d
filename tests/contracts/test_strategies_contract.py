"""On every kind of space, strategies propose distinct, feasible networks, whatever the order, failures or resumes."""

import time

import numpy as np
import pytest
from subnet_parts import many_blocks

from nas_baseline import search
from nas_baseline.proposing.proposals import Done, InfeasibleTarget, Proposal, Wait
from nas_baseline.spaces import list_spaces, load_space
from nas_baseline.spaces.base import Dimension, DiscreteSpace
from nas_baseline.spaces.subnets import SubnetSpace
from nas_baseline.strategies import list_strategies, make_strategy

NUM_TRIALS = 22


class Widths(DiscreteSpace):
    """Five widths of a plain network; all dimensions are ordered."""

    def __init__(self):
        super().__init__("widths", [Dimension(f"width {i}", (8, 16, 24, 32, 48, 64), ordered=True) for i in range(5)])

    def macs_batch(self, archs):
        widths = np.array([8, 16, 24, 32, 48, 64])[np.asarray(archs)]
        return 3 * widths[:, 0] + (widths[:, :-1] * widths[:, 1:]).sum(1)


class Cells:
    """Six edges with five operations; defines only the five methods of the protocol."""

    name = "cells"

    def sample(self, rng):
        return tuple(int(v) for v in rng.integers(5, size=6))

    def mutate(self, arch, rng):
        i = int(rng.integers(6))
        return (*arch[:i], int((arch[i] + rng.integers(1, 5)) % 5), *arch[i + 1 :])

    def crossover(self, a, b, rng):
        return tuple(int(x if rng.random() < 0.5 else y) for x, y in zip(a, b, strict=True))

    def encode(self, arch):
        return np.eye(5)[list(arch)].ravel()

    def macs(self, arch):
        return int(sum((0, 0, 10, 90, 30)[op] for op in arch)) + 40


class Subnets(SubnetSpace):
    """Widths and blocks of one network; some widths have no effect when other blocks are left out."""

    def __init__(self):
        super().__init__("subnets", many_blocks())


class Tiny(DiscreteSpace):
    """Nine networks, fewer than there are trials."""

    def __init__(self):
        super().__init__("tiny", [Dimension("a", (1, 2, 3), ordered=True), Dimension("b", ("x", "y", "z"))])

    def macs_batch(self, archs):
        return 10 * (1 + np.asarray(archs)[:, 0])


def space_named(name):
    made = {"widths": Widths, "cells": Cells, "tiny": Tiny, "subnets": Subnets}
    return made[name]() if name in made else load_space(name)


# About a third of the way from the smallest to the largest MACs, and well inside the range.
TARGETS = {
    "widths": [2_000, 5_000], "cells": [150, 300], "tiny": [10, 20],
    "subnets": [1_200_000, 2_200_000], "fbnetv3_mini": [378_000, 567_000],
    "fbnetv3": [400_000_000, 700_000_000], "mobilenetv3_lite": [120_000_000, 250_000_000],
    "mobilenetv3_lite_small": [20_000_000, 40_000_000],
}  # fmt: skip
SPACES = sorted({"widths", "cells", "tiny", "subnets", *list_spaces()})
ALL = pytest.mark.parametrize("strategy", list_strategies())
EVERYWHERE = pytest.mark.parametrize("space_name", SPACES)
QUICK_SPACES = pytest.mark.parametrize("space_name", ["widths", "cells", "fbnetv3_mini"])


def value_of(space, arch):
    """A smooth score that rises with MACs and also depends on the encoding."""
    encoding = np.asarray(space.encode(arch), dtype=float).ravel()
    return float(np.log(space.macs(arch)) + encoding @ np.cos(np.arange(len(encoding))))


def drive(strategy, space, order=None, failing=()):
    """Answer every ask and return the proposals; with ``order``, each batch is told in that random order."""
    proposals, pending = [], []
    while not isinstance(work := strategy.ask(), Done):
        if isinstance(work, Proposal):
            assert work.trial == len(proposals)
            proposals.append(work.arch)
            pending.append(work.trial)
        if isinstance(work, Wait) or order is None:
            assert pending, "waits although everything is told"
            told = pending if order is None else [pending[i] for i in order.permutation(len(pending))]
            for trial in told:
                strategy.tell(trial, None if trial in failing else value_of(space, proposals[trial]))
            pending = []
    assert not pending
    return proposals


def made(strategy, space, space_name, seed=3, num_trials=NUM_TRIALS, max_macs=None):
    targets = TARGETS.get(space_name) if max_macs is None else max_macs
    return make_strategy(strategy, space, seed=seed, num_trials=num_trials, max_macs=targets)


@ALL
@EVERYWHERE
def test_distinct_feasible_and_complete(strategy, space_name):
    space = space_named(space_name)
    targets = TARGETS[space_name]
    searcher = made(strategy, space, space_name)
    proposals = drive(searcher, space)
    within = 6 if space_name == "tiny" else NUM_TRIALS
    assert len(proposals) == within
    canonical = getattr(space, "canonical", lambda arch: arch)
    assert len({canonical(a) for a in proposals}) == within
    assert [canonical(a) for a in proposals] == proposals
    macs = np.array([space.macs(a) for a in proposals])
    assert macs.max() <= targets[1]
    assert (macs <= targets[0]).sum() >= (3 if space_name == "tiny" else 4)


@ALL
@QUICK_SPACES
def test_same_proposals_whatever_the_order_of_tells(strategy, space_name):
    space = space_named(space_name)
    straight = drive(made(strategy, space, space_name), space)
    for seed in (0, 1):
        shuffled = drive(made(strategy, space, space_name), space, order=np.random.default_rng(seed))
        assert shuffled == straight
    assert drive(made(strategy, space, space_name, seed=4), space) != straight


@ALL
def test_a_resumed_search_goes_on_as_if_nothing_had_happened(strategy):
    space = space_named("fbnetv3_mini")
    whole = drive(made(strategy, space, "fbnetv3_mini"), space)
    for cut in (3, 11, 17):
        resumed = made(strategy, space, "fbnetv3_mini")
        again = []
        while len(again) < cut:
            work = resumed.ask()
            if isinstance(work, Proposal):
                again.append(work.arch)
                resumed.tell(work.trial, value_of(space, work.arch))
        while not isinstance(work := resumed.ask(), Done):
            again.append(work.arch)
            resumed.tell(work.trial, value_of(space, work.arch))
        assert again == whole


@ALL
@QUICK_SPACES
def test_failures_are_survived_and_never_proposed_again(strategy, space_name):
    space = space_named(space_name)
    some = made(strategy, space, space_name)
    proposals = drive(some, space, failing=range(0, NUM_TRIALS, 3))
    assert len(set(proposals)) == NUM_TRIALS
    failed = {a for t, a in enumerate(proposals) if t % 3 == 0}
    best = some.best(TARGETS[space_name][1])
    assert best is not None
    assert best[0] not in failed
    assert not failed & set(some.finalists(TARGETS[space_name][0], 2, 3))
    nothing = made(strategy, space, space_name)
    assert len(set(drive(nothing, space, failing=range(NUM_TRIALS)))) == NUM_TRIALS
    assert nothing.best() is None
    assert nothing.finalists(TARGETS[space_name][0], 2, 3) == []


@ALL
@EVERYWHERE
def test_infeasible_target_is_one_line_within_a_second(strategy, space_name):
    space = space_named(space_name)
    start = time.process_time()
    with pytest.raises(
        InfeasibleTarget, match=r"^target of 5 MACs: the smallest network of space '\w+' has [\d.]+[kMG]? MACs$"
    ):
        made(strategy, space, space_name, max_macs=5)
    assert time.process_time() - start < 1.0


@ALL
@QUICK_SPACES
def test_finalists_are_distinct_feasible_and_led_by_the_best_seen(strategy, space_name):
    space = space_named(space_name)
    searcher = made(strategy, space, space_name)
    proposals = drive(searcher, space)
    for target in TARGETS[space_name]:
        finalists = searcher.finalists(target, 3, 2)
        assert len(finalists) == len(set(finalists)) == (5 if strategy in ("predictor_evolution", "supernet") else 2)
        assert max(space.macs(a) for a in finalists) <= target
        assert set(finalists[:2]) <= set(proposals)
        assert not set(finalists[2:]) & set(proposals)
        assert finalists == searcher.finalists(target, 3, 2)
    with pytest.raises(InfeasibleTarget):
        searcher.finalists(5, 1, 1)


@ALL
def test_without_a_limit_and_with_one_trial(strategy):
    space = space_named("widths")
    result = search(space, lambda arch: value_of(space, arch), num_trials=1, strategy=strategy)
    assert result.best == result.history[0][0]
    assert result.value == pytest.approx(value_of(space, result.best))


@ALL
def test_wrong_tells_and_settings_are_refused(strategy):
    space = space_named("widths")
    searcher = made(strategy, space, "widths")
    with pytest.raises(ValueError, match="was not proposed"):
        searcher.tell(0, 1.0)
    work = searcher.ask()
    searcher.tell(work.trial, 1.0)
    searcher.tell(work.trial, 1.0)
    with pytest.raises(ValueError, match=r"told 1\.0 before"):
        searcher.tell(work.trial, 2.0)
    for wrong in (0, 4.0, True):
        with pytest.raises(ValueError, match="num_trials"):
            made(strategy, space, "widths", num_trials=wrong)
    for wrong in ("0.5M", float("nan"), [400_000, None]):
        with pytest.raises(ValueError, match=r"max_macs is .*a number of MACs is allowed"):
            made(strategy, space, "widths", max_macs=wrong)
    with pytest.raises(ValueError, match="empty list"):
        made(strategy, space, "widths", max_macs=[])
    with pytest.raises(ValueError, match=rf"strategy '{strategy}' has no option 'populatoin'"):
        make_strategy(strategy, space, seed=0, num_trials=4, max_macs=None, populatoin=3)


@ALL
@pytest.mark.parametrize("num_trials", [1, 12])
@pytest.mark.parametrize("share", [1.0, 1.02, 1.1, 1.5])
def test_as_many_trials_as_asked_for_however_tight_the_limit(strategy, share, num_trials):
    space = load_space("fbnetv3_mini")
    limit = int(share * space.min_macs())
    searcher = made(strategy, space, "fbnetv3_mini", num_trials=num_trials, max_macs=[limit])
    proposals = drive(searcher, space)
    assert len(set(proposals)) == len(proposals) == num_trials
    assert all(space.macs(arch) <= limit for arch in proposals)
    assert searcher.finalists(limit, 1, 0) or not searcher.predicts, "what succeeded can be retrained"
