"""A supernet learns in every member, and searching with what it learned works like any other strategy."""

import numpy as np
import pytest
import torch
from elastic_space import declared, inherited, norms_of
from torch.nn import functional as F

from harness.task.classification import Classification
from nas_baseline import search
from nas_baseline.proposing.proposals import InfeasibleTarget
from nas_baseline.spaces import load_space
from nas_baseline.strategies import make_strategy
from nas_baseline.supernet.elastic import measure
from nas_baseline.supernet.supernet import Supernet, without_recipe

IMITATION = Classification(4).imitation


def separable(n):
    """Images whose class is the brightest channel, or a fourth class if none is bright."""
    generator = torch.Generator().manual_seed(n)
    labels = torch.randint(4, (n,), generator=generator)
    bright = F.one_hot(labels, 4)[:, :3, None, None]
    return bright + torch.randn(n, 3, 16, 16, generator=generator) / 2, labels


@pytest.mark.parametrize("half", [False, True])
def test_training_lowers_the_loss_of_every_member(half):
    torch.manual_seed(0)
    supernet = Supernet(declared()).train()
    optimizer = torch.optim.Adam(supernet.parameters(), lr=0.01)
    images, labels = separable(64)
    rng, history = np.random.default_rng(0), []
    for _ in range(25):
        optimizer.zero_grad()
        parts, step = (
            supernet.losses(images, labels, F.cross_entropy, IMITATION, supernet.sandwich(rng, num_random=1)),
            [],
        )
        while True:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                loss = next(parts, None)
            if loss is None:
                break
            assert loss.dtype == torch.float32
            loss.backward()
            step.append(3 * float(loss.detach()))
        optimizer.step()
        history.append(step)
    first, last = np.mean(history[:3], axis=0), np.mean(history[-3:], axis=0)
    assert last[0] < 0.5 * first[0]
    assert (last < first).all()
    # The smallest member, with inherited weights and its own statistics, is right far more often than by chance.
    network = inherited(supernet, supernet.smallest()).train()
    for norm in norms_of(network):
        norm.reset_running_stats()
        norm.momentum = None
    network.drop_rate = 0.0
    with torch.no_grad():
        network(images)
        fresh, truth = separable(65)
        assert (network.eval()(fresh).argmax(1) == truth).float().mean() > 0.6


# The strategy.


def test_without_recipe_nothing_but_the_recipe_is_gone():
    space = load_space("fbnetv3_mini")
    plain = without_recipe(space)
    assert [d.name for d in plain.dimensions] == [d.name for d in space.dimensions if not d.name.startswith("recipe.")]
    arch = plain.sample(np.random.default_rng(0))
    same = space.find(plain.describe(arch))
    assert plain.recipe(arch) == {}
    assert (plain.macs(arch), plain.params(arch)) == (space.macs(same), space.params(same))
    assert measure(plain.network_spec(arch)) == measure(space.network_spec(same))
    assert "recipe" in space.data
    lite = load_space("mobilenetv3_lite")
    assert without_recipe(lite).dimensions == lite.dimensions


def test_search_with_inherited_weights():
    space = without_recipe(load_space("fbnetv3_mini"))
    limit = 500_000
    best = {
        seed: search(space, space.macs, max_macs=limit, num_trials=70, strategy="supernet", seed=seed)
        for seed in (0, 1)
    }
    proposed = [arch for arch, _ in best[0].history]
    assert len(set(proposed)) == 70
    assert max(space.macs(a) for a in proposed) <= limit
    # The value is the MACs here: the best must come close to the limit, and be at least as good as the first batch.
    assert space.macs(best[0].best) > 0.99 * limit
    assert space.macs(best[0].best) >= max(space.macs(a) for a in proposed[:32])
    again = search(space, space.macs, max_macs=limit, num_trials=70, strategy="supernet", seed=0)
    assert again == best[0] != best[1]
    with pytest.raises(InfeasibleTarget, match=r"target of 1k MACs: the smallest network"):
        search(space, space.macs, max_macs=1000, num_trials=70, strategy="supernet")


def test_batches_are_large_and_the_strategy_says_that_it_shares_weights():
    space = without_recipe(load_space("fbnetv3_mini"))
    searcher = make_strategy("supernet", space, seed=0, num_trials=70, max_macs=None)
    assert searcher.shares_weights is True
    assert (searcher.options.first_batch, searcher.options.batch) == (32, 16)
    assert make_strategy("random", space, seed=0, num_trials=4, max_macs=None).shares_weights is False
    with pytest.raises(ValueError, match="must be at least 1"):
        make_strategy("supernet", space, seed=0, num_trials=70, max_macs=None, batch=0)
