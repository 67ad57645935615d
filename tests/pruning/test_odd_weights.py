"""Weights used twice, in part, by two kinds of layer, or computed: the reported MACs equal a new count."""

import copy
import dataclasses
import logging

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from accounting.macs.count import count_macs
from accounting.words.quantities import macs_text
from pruning.masks import apply_masks, shuffle_masks
from pruning.nm import nm_masks
from pruning.recount import MacsDiffer, recounted
from pruning.solve import UnreachableTarget, prune_to_macs
from pruning.sparsity import prune_to_sparsity

SHAPE = (3, 8, 8)


class Odd(nn.Module):
    """A stem, an odd module, and plain layers in which a target can be met: 3x8x8 images, 64 positions."""

    def __init__(self, odd):
        super().__init__()
        self.stem, self.odd = nn.Conv2d(3, 8, 3, padding=1), odd
        self.plain, self.fc = nn.Conv2d(8, 16, 3, padding=1), nn.Linear(16, 5)

    def forward(self, x):
        return self.fc(self.plain(self.odd(self.stem(x))).mean((2, 3)))


class Weighted(nn.Module):
    def __init__(self, use, *shape):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape))
        self.use = use

    def forward(self, x):
        return self.use(x, self.weight)


def rows(x):
    return x.permute(0, 2, 3, 1)


def back(x):
    return x.permute(0, 3, 1, 2)


def whole_and_part(x, w):
    return back(F.linear(rows(x), w) + F.pad(F.linear(rows(x), w[:4]), (0, 4)))


def two_kinds(x, w):
    return F.conv2d(x, w.view(8, 8, 1, 1)) + F.linear(x.mean((2, 3)), w)[..., None, None]


def standardised(x, w):
    return F.conv2d(x, (w - w.mean((1, 2, 3), keepdim=True)) / w.std(), padding=1)


class LowRank(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(8, 2)), nn.Parameter(torch.randn(2, 8))

    def forward(self, x):
        return back(F.linear(rows(x), self.a @ self.b))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.tied = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.tied.weight = self.conv.weight

    def forward(self, x):
        return self.tied(self.conv(self.conv(x)))


class OneMemory(nn.Module):
    """Two parameters that share one block of memory, one after the other, next to a computed weight."""

    def __init__(self):
        super().__init__()
        memory = torch.randn(16, 8)
        self.first, self.second = nn.Parameter(memory[:8]), nn.Parameter(memory[8:])
        self.computed = Weighted(lambda x, w: F.conv2d(x, w.tanh() + 0.1), 8, 8, 1, 1)

    def forward(self, x):
        return self.computed(back(F.linear(F.linear(rows(x), self.first), self.second)))


ODD = {
    "whole and in part": lambda: Weighted(whole_and_part, 8, 8),
    "convolution and linear": lambda: Weighted(two_kinds, 8, 8),
    "standardised by its own code": lambda: Weighted(standardised, 8, 8, 3, 3),
    "squashed": lambda: Weighted(lambda x, w: back(F.linear(rows(x), w.sigmoid())), 8, 8),
    "batch norm of a weight": lambda: Weighted(
        lambda x, w: F.conv2d(x, F.batch_norm(w.view(1, 8, -1), None, None, training=True).view_as(w), padding=1), 8, 8, 3, 3
    ),
    "masked by a ReLU": lambda: Weighted(lambda x, w: back(F.linear(rows(x), w.relu())), 8, 8),
    "transposed and plain": lambda: Weighted(lambda x, w: F.conv_transpose2d(F.conv2d(x, w), w), 8, 8, 1, 1),
    "low rank": LowRank,
    "weight norm": lambda: weight_norm(nn.Conv2d(8, 8, 3, padding=1)),
    "tied and called twice": Twice,
    "in one memory": OneMemory,
}  # fmt: skip


def network(odd):
    torch.manual_seed(0)
    return Odd(ODD[odd]()).eval()


def recount(model, masks):
    masked = copy.deepcopy(model)
    apply_masks(masked, masks)
    return count_macs(masked, SHAPE).sparse_macs


@pytest.mark.parametrize("scope", ["global", "uniform"])
@pytest.mark.parametrize("odd", ODD)
def test_what_is_said_is_what_is_counted_again(odd, scope):
    model = network(odd)
    dense = count_macs(model, SHAPE).sparse_macs
    before = copy.deepcopy(model.state_dict())
    result = prune_to_macs(model, SHAPE, int(0.7 * dense), scope=scope)
    costs = [row.macs // row.num_weights for row in result.layers if row.num_kept < row.num_weights]
    assert result.macs == recount(model, result.masks) <= int(0.7 * dense)
    assert int(0.7 * dense) - result.macs < max(costs)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "odd", ["whole and in part", "squashed", "batch norm of a weight", "low rank", "in one memory"]
)
def test_what_is_computed_or_used_in_part_is_left_alone(odd, caplog):
    with caplog.at_level(logging.WARNING):
        result = prune_to_macs(network(odd), SHAPE, 50_000, floor=0.05)
    assert "left alone" in caplog.text
    assert not any("odd.weight" in name or "odd.a" in name or "computed" in name for name in result.masks)


def test_two_kinds_of_layer_share_the_cost_of_a_weight():
    row = next(
        row for row in prune_to_macs(network("convolution and linear"), SHAPE, 50_000).layers if row.name == "odd"
    )
    assert (row.num_weights, row.macs) == (64, 64 * (64 + 1))


@pytest.mark.parametrize("prune", [nm_masks, lambda m, s: prune_to_sparsity(m, s, 0.6)], ids=["2:4", "sparsity"])
@pytest.mark.parametrize("odd", ODD)
def test_other_ways_to_masks_are_counted_again_too(odd, prune):
    model = network(odd)
    result = prune(model, SHAPE)
    assert result.macs == recount(model, result.masks)


def test_a_result_whose_macs_are_not_those_counted_again_is_an_error_that_says_both():
    torch.manual_seed(0)
    model = Odd(nn.Conv2d(8, 8, 3, padding=1)).eval()
    before = copy.deepcopy(model.state_dict())
    result = prune_to_macs(model, SHAPE, count_macs(model, SHAPE).macs // 2)
    assert recounted(model, SHAPE, result) is result
    says = f"pruned to {macs_text(result.macs - 64)} MACs, but counted again the network has {macs_text(result.macs)}"
    with pytest.raises(MacsDiffer, match=says):
        recounted(model, SHAPE, dataclasses.replace(result, macs=result.macs - 64))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class TestCondConv:
    """One image's convolution mixes experts: of 42.7 M MACs, 21.3 M used to be reported where 8.4 M are counted."""

    SHAPE = (3, 32, 32)

    @pytest.fixture(scope="class")
    def model(self):
        torch.manual_seed(0)
        return timm.create_model("tf_efficientnet_cc_b0_4e", num_classes=10).eval()

    def recount(self, model, masks):
        masked = copy.deepcopy(model)
        apply_masks(masked, masks)
        return masked, count_macs(masked, self.SHAPE).sparse_macs

    @pytest.mark.parametrize("scope", ["global", "uniform"])
    def test_is_counted_right_and_pruned_on(self, scope, model):
        dense = count_macs(model, self.SHAPE).macs
        result = prune_to_macs(model, self.SHAPE, dense // 2, scope=scope)
        masked, found = self.recount(model, result.masks)
        assert found == result.macs <= dense // 2 < result.macs + 1025
        again = prune_to_macs(masked, self.SHAPE, dense // 5, scope=scope)
        assert self.recount(masked, again.masks)[1] == again.macs <= dense // 5 < again.macs + 1025

    def test_experts_keep_their_zeros_together_when_masks_are_shuffled(self, model):
        result = prune_to_macs(model, self.SHAPE, count_macs(model, self.SHAPE).macs // 2, scope="uniform")
        assert self.recount(model, shuffle_masks(result.masks, 3))[1] == result.macs

    def test_experts_with_zeros_at_different_places_are_left_alone(self, model):
        torn = copy.deepcopy(model)
        name = "blocks.4.0.conv_pw"
        with torch.no_grad():
            torn.get_submodule(name).weight[0, :100] = 0
        result = prune_to_macs(torn, self.SHAPE, count_macs(torn, self.SHAPE).macs // 2)
        assert f"{name}.weight" not in result.masks
        assert self.recount(torn, result.masks)[1] == result.macs


def test_a_network_of_weights_that_timm_standardises_is_still_refused():
    with pytest.raises(UnreachableTarget, match="left alone"):
        prune_to_macs(timm.create_model("nf_regnet_b0", num_classes=10), (3, 64, 64), 1_000_000)


def test_computed_weights_of_a_network_on_the_meta_device_count_as_dense():
    model = network("batch norm of a weight")
    assert count_macs(copy.deepcopy(model).to("meta"), SHAPE).macs == count_macs(model, SHAPE).macs
