"""Every criterion in ``pruning/criteria``, discovered from the folder, so there is no list to edit."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruning.criteria import list_criteria, load_criterion
from pruning.criterion import ScoreContext
from pruning.solve import prune_to_macs

ALL = list_criteria()


def context(weight, seed=0, macs_per_weight=16):
    gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(99))
    return ScoreContext(macs_per_weight, torch.Generator().manual_seed(seed), gradient)


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 12, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 4),
    )


def batches():
    generator = torch.Generator().manual_seed(5)
    return [(torch.randn(4, 3, 12, 12, generator=generator), torch.arange(4)) for _ in range(2)]


def test_the_required_ones_are_there():
    assert {"magnitude", "macs_magnitude", "lamp", "taylor", "random"} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
@given(
    shape=st.sampled_from([(6,), (4, 3), (8, 2, 1, 1), (4, 1, 3, 3), (2, 2, 5)]),
    scale=st.sampled_from([1e-6, 1.0, 1e4]),
    num_zeros=st.integers(0, 6),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 20),
)
@settings(max_examples=25, deadline=None)
def test_scores_have_an_order_and_leave_the_weight_alone(name, shape, scale, num_zeros, dtype, seed):
    weight = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)
    if not weight.isfinite().all():
        weight = torch.ones(shape, dtype=dtype)
    weight.view(-1)[:num_zeros] = 0
    before = weight.clone()
    scores = load_criterion(name).scores(nn.Parameter(weight), context(weight))
    assert torch.equal(weight, before)
    assert scores.shape == weight.shape and scores.dtype == torch.float32 and not scores.requires_grad
    assert scores.isfinite().all() and (scores >= 0).all()


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_scores(name):
    weight = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    first, second = (load_criterion(name).scores(weight, context(weight, seed=3)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scope", ["global", "uniform"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_reaches_a_target_from_below_and_changes_nothing(name, scope, share):
    model = small_net().train()
    before = copy.deepcopy(model.state_dict())
    dense = prune_to_macs(model, (3, 12, 12), 10**9).macs
    target = int(dense * share)
    result = prune_to_macs(model, (3, 12, 12), target, criterion=name, scope=scope, batches=batches())
    assert result.criterion == name
    assert target - 36 < result.macs <= target  # 36 positions: the most that one weight costs here
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ALL)
def test_the_masks_do_not_depend_on_what_pytorch_drew_before(name):
    results = []
    for seed in (1, 2):
        model = small_net()
        torch.manual_seed(seed)
        results.append(prune_to_macs(model, (3, 12, 12), 4000, criterion=name, batches=batches()).masks)
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


def test_an_unknown_name_lists_the_allowed_ones():
    with pytest.raises(
        ValueError, match=r"unknown criterion 'magnitud' \(did you mean 'magnitude'\?\); allowed: .*lamp"
    ):
        load_criterion("magnitud")
    with pytest.raises(ValueError, match="unknown criterion 'zzz'; allowed"):
        load_criterion("zzz")
