"""Attention heads of timm's transformers are removed whole: which weights are theirs, and what is left without them."""

import copy

import pytest
import timm
import torch
from timm.layers.attention import Attention
from torch import nn

from accounting.macs.count import count_macs
from pruning.channels import find_groups, macs_with
from pruning.dead import remove_dead_channels
from pruning.layers import by_name, find_layers, output_layers
from pruning.resize import fit_to_state, fresh_like
from pruning.structured import prune_channels_to_macs

pytest.importorskip("torch_pruning")
SIZE = (3, 32, 32)
SMALL = {"img_size": 32, "num_classes": 10}


class Tokens(nn.Module):
    """16 tokens of 12 channels, attention with 3 heads of 4 channels, and a classifier of the tokens' mean."""

    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(3, 12, 2, stride=2)
        self.attn = Attention(12, num_heads=3, qkv_bias=True, norm_layer=nn.LayerNorm, **options)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        return self.head((x + self.attn(x)).mean(1))


TOKENS = (3, 8, 8)


def heads_of(model, size=TOKENS, ignored=()):
    groups, left_out = find_groups(model, size, [*output_layers(find_layers(model, size)), *ignored])
    return [group for group in groups if group.head_dim > 1], left_out


@pytest.mark.parametrize("options", [{}, {"qk_norm": True}, {"scale_norm": True}, {"gated": True}])
def test_a_removed_head_is_one_that_nobody_reads(options):
    model = Tokens(**options).eval()
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, nn.LayerNorm)):
            norm.weight.copy_(torch.rand(norm.weight.shape))
    smaller, images = copy.deepcopy(model), torch.rand(2, *TOKENS)
    if "scale_norm" not in options:
        model.attn.proj.weight.data[:, 4:8] = 0  # the second head
    [group], _ = heads_of(smaller)
    said = macs_with(count_macs(smaller, TOKENS), [group], [1])
    group.remove([1])
    # 16 tokens: qkv 12 to 3 * 8, a gate 12 to 8, proj 8 to 12, the embedding 12 * 12; once the classifier 12 * 5.
    gate = 16 * 12 * 8 if "gated" in options else 0
    assert count_macs(smaller, TOKENS).macs == said == 16 * (144 + 288 + 96) + gate + 60
    assert (smaller.attn.num_heads, smaller.attn.attn_dim, smaller.attn.qkv.out_features) == (2, 8, 24)
    with torch.no_grad():
        if "scale_norm" in options:  # the norm is over the channels of all heads
            assert smaller.attn.norm.normalized_shape == (8,) and smaller(images).shape == (2, 5)
        else:
            assert torch.allclose(smaller(images), model(images), atol=1e-6)
    again = fit_to_state(Tokens(**options), smaller.state_dict()).eval()
    with torch.no_grad():
        assert torch.equal(again(images), smaller(images))


def test_the_weakest_head_goes():
    model = Tokens().eval()
    for rows in (slice(8, 12), slice(20, 24), slice(32, 36)):  # queries, keys, values of the third head
        model.attn.qkv.weight.data[rows] *= 1e-3
    model.attn.proj.weight.data[:, 8:12] *= 1e-3
    kept = model.attn.qkv.weight.data[[*range(8), *range(12, 20), *range(24, 32)]].clone()
    [group], _ = heads_of(model)
    layers = find_layers(model, TOKENS)
    scores = group.scores({layer.name: layer.own_weight.detach().abs() for layer in layers})
    assert int(scores.argmin()) == 2
    target = count_macs(model, TOKENS).macs - 16 * (144 + 48)
    result = prune_channels_to_macs(model, TOKENS, target, keep=by_name("embed"))
    assert result.widths["attn.qkv"] == (3, 2)
    assert torch.equal(result.model.attn.qkv.weight, kept)


@pytest.mark.parametrize(("name", "depth", "scope"), [
    ("vit_tiny_patch16_224", 12, "uniform"), ("deit_tiny_patch16_224", 12, "global"),
    ("vit_tiny_patch16_224", 3, "isomorphic"),
])  # fmt: skip
def test_transformers_of_timm_at_half_of_their_macs(name, depth, scope):
    torch.manual_seed(0)
    options = {**SMALL, "depth": depth}
    model = timm.create_model(name, **options).eval()
    target = count_macs(model, SIZE).macs // 2
    result = prune_channels_to_macs(model, SIZE, target, scope=scope, round_to=8)
    heads = {layer: after for layer, (before, after) in result.widths.items() if before == 3}
    assert len(heads) == depth and min(heads.values()) < 3 and result.left_out == {}
    assert all(after % 8 == 0 for before, after in result.widths.values() if before != 3)
    assert 0.99 * target <= result.macs == count_macs(result.model, SIZE).macs <= target
    again = fit_to_state(timm.create_model(name, **options), result.model.state_dict()).eval()
    images = torch.rand(2, *SIZE)
    with torch.no_grad():
        assert torch.equal(again(images), result.model(images))
    fresh = fresh_like(timm.create_model(name, **options), result.model.state_dict()).eval()
    assert count_macs(fresh, SIZE).macs == result.macs and fresh(images).isfinite().all()
    if depth == 3:  # a later round prunes the network again
        narrower = prune_channels_to_macs(again, SIZE, target // 2, scope=scope)
        assert narrower.macs == count_macs(narrower.model, SIZE).macs <= target // 2


def test_heads_are_ranked_among_heads():
    model = timm.create_model("vit_tiny_patch16_224", depth=2, **SMALL).eval()
    groups, _ = find_groups(model, SIZE, ["head"])
    kinds = {group.name: group.kind for group in groups}
    assert kinds["blocks.0.attn.qkv"] == kinds["blocks.1.attn.qkv"] != kinds["blocks.0.mlp.fc1"]


def test_multiples_of_channels_are_counted_in_heads():
    [group], _ = heads_of(Tokens().eval())  # 4 channels per head
    assert [group.step(n) for n in (1, 4, 6, 8)] == [1, 1, 3, 2]
    assert group.least_width(8, 0.1) == 2 and group.least_width(1, 0.5) == 2


def test_heads_that_must_stay_do():
    model = Tokens().eval()
    found, left_out = heads_of(model, ignored=["attn.qkv"])
    assert found == [] and left_out == {}
    model.other = nn.Linear(12, 12)
    model.other.weight = model.attn.proj.weight
    found, left_out = heads_of(model)
    assert found == [] and left_out["attn.qkv"] == "goes with the shared weight of attn.proj"


def test_attention_of_another_make_is_left_alone():
    model = Tokens()
    model.attn.norm = timm.layers.RmsNorm(12)
    found, left_out = heads_of(model.eval())
    assert found == [] and "attn.qkv" in left_out


def test_a_dead_head_goes():
    model = Tokens().eval()
    model.attn.proj.weight.data[:, :4] = 0
    result = remove_dead_channels(model, TOKENS)
    assert result.removed["attn.qkv"] == 1 and result.model.attn.num_heads == 2
