"""Channels are ranked within groups of the same kind, and each kind loses the same share (arXiv 2407.04616)."""

import pytest
import timm
import torch
from torch import nn

from accounting.macs.count import count_macs
from harness.work.prune import CHANNEL_SCOPES
from pruning.channels import find_groups
from pruning.methods import checked_method, list_methods
from pruning.structured import prune_channels_to_macs

pytest.importorskip("torch_pruning")


class TwoKinds(nn.Module):
    """Two similar groups of plain convolutions (a, b), and one with batch norm (c), which the classifier reads."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(3, 160, 3, padding=1), nn.Conv2d(160, 160, 3, padding=1)
        self.c, self.norm = nn.Conv2d(160, 160, 3, padding=1), nn.BatchNorm2d(160)
        self.head = nn.Linear(160, 4)
        with torch.no_grad():  # the first half of the channels between a and b is much weaker
            for layer in (self.a, self.b, self.c):
                layer.weight.fill_(0.1)
                layer.weight.mul_(1 + torch.arange(160.0).view(-1, 1, 1, 1) / 1000)
            self.a.weight[:80] *= 0.01
            self.b.weight[:, :80] *= 0.01

    def forward(self, x):
        x = self.norm(self.c(self.b(self.a(x).relu()).relu())).relu()
        return self.head(x.mean((2, 3)))


def groups_of(model):
    return find_groups(model, (3, 8, 8), ["head"])[0]


def test_groups_are_alike_where_their_layers_are():
    kinds = {group.name: group.kind for group in groups_of(TwoKinds())}
    assert kinds["a"] == kinds["b"] != kinds["c"]


def test_of_each_kind_the_same_share_goes_and_within_it_the_weakest():
    model = TwoKinds()
    target = count_macs(model, (3, 8, 8)).macs // 2
    result = prune_channels_to_macs(model, (3, 8, 8), target, scope="isomorphic", floor=0.05)
    gone = {name: before - after for name, (before, after) in result.widths.items()}
    assert gone["a"] >= 75 > gone["b"]  # the weak half of a goes first
    assert abs((gone["a"] + gone["b"]) / 320 - gone["c"] / 160) <= 0.03
    assert 0.99 * target <= result.macs <= target
    assert result.scope == "isomorphic"


def test_it_differs_from_one_ranking_over_all():
    model = TwoKinds()
    target = count_macs(model, (3, 8, 8)).macs // 2
    widths = {
        scope: prune_channels_to_macs(model, (3, 8, 8), target, scope=scope, floor=0.05).widths
        for scope in ("uniform", "global", "isomorphic")
    }
    assert widths["isomorphic"] not in (widths["uniform"], widths["global"])


def test_its_method_is_read_and_listed():
    method = checked_method("channels_isomorphic_magnitude+iterative")
    assert (method.scope, method.criterion, method.schedule) == ("channels_isomorphic", "magnitude", "iterative")
    assert method.is_structured
    assert "channels_isomorphic_lamp" in list_methods()
    assert CHANNEL_SCOPES[method.scope] == "isomorphic"


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto", "deit_tiny_patch16_224"])
def test_networks_of_timm_meet_their_target_and_run(name):
    """A transformer loses MLP widths, embedding width and attention heads."""
    torch.manual_seed(0)
    size = {"img_size": 64} if "patch16" in name else {}
    model = timm.create_model(name, num_classes=10, **size).eval()
    target = count_macs(model, (3, 64, 64)).macs // 2
    result = prune_channels_to_macs(model, (3, 64, 64), target, scope="isomorphic")
    assert 0.99 * target <= count_macs(result.model, (3, 64, 64)).macs <= target
    assert result.model(torch.rand(1, 3, 64, 64)).shape == (1, 10)
    is_transformer = bool(size)
    assert any("mlp" in group for group in result.widths) or not is_transformer
    assert (
        any(after < before for name, (before, after) in result.widths.items() if "attn.qkv" in name) == is_transformer
    )
