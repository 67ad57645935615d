import copy
import sys

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from accounting.macs.count import count_macs
from pruning.channels import NotFollowed, find_groups
from pruning.criteria import list_criteria
from pruning.deadline import Deadline
from pruning.layers import by_name, find_layers, output_layers
from pruning.resize import fit_to_state
from pruning.solve import UnreachableTarget
from pruning.structured import prune_channels_to_macs

pytest.importorskip("torch_pruning")
SIZE = (3, 32, 32)


def toy():
    """Stem 3 -> 8, residual 8 -> 16 -> 16 -> 8, head 8 -> 5, on 8x8 pixels: 1x1 convolutions, one depthwise 3x3."""

    class Toy(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 1, bias=False)
            self.expand = nn.Conv2d(8, 16, 1, bias=False)
            self.dw = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
            self.project = nn.Conv2d(16, 8, 1, bias=False)
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            x = self.stem(x)
            x = x + self.project(self.dw(self.expand(x)).relu())
            return self.head(x.mean((2, 3)))

    torch.manual_seed(0)
    return Toy()


def randomise_norms(model):
    """Set batch-norm statistics as if trained, so that a wrong channel changes the output."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
    return model.eval()


def test_uniform_by_hand():
    # Dense: 64*(3*8 + 8*16 + 9*16 + 16*8) + 8*5 = 27,176. Half of each group (8 -> 4, 16 -> 8):
    # 64*(3*4 + 4*8 + 9*8 + 8*4) + 4*5 = 9,492.
    model = toy()
    result = prune_channels_to_macs(model, (3, 8, 8), 9500)
    assert result.dense_macs == 27176 and result.macs == 9492
    assert result.widths == {"stem": (8, 4), "expand": (16, 8)}
    assert result.model.dw.groups == 8 and result.model.head.in_features == 4 and result.left_out == {}
    assert model.stem.weight.shape == (8, 3, 1, 1)


def test_the_weakest_channels_go():
    model = toy()
    with torch.no_grad():
        for weight, along in ((model.expand.weight, 0), (model.dw.weight, 0), (model.project.weight, 1)):
            weight.index_fill_(along, torch.arange(1, 16, 2), 0.0)
        for weight, along in (
            (model.stem.weight, 0), (model.project.weight, 0), (model.expand.weight, 1), (model.head.weight, 1)
        ):  # fmt: skip
            weight.index_fill_(along, torch.tensor([0, 1, 2, 3]), 0.0)
    image = torch.randn(2, 3, 8, 8)
    smaller = prune_channels_to_macs(model, (3, 8, 8), 9500).model
    assert torch.allclose(smaller(image), model(image), atol=1e-5)


def as_if_trained(model):
    """Set every parameter that would hide a wrong channel: scales near 0, heads at 0, norms that change nothing."""
    generator = torch.Generator().manual_seed(4)
    for module in randomise_norms(model).modules():
        for name, tensor in module.named_parameters(recurse=False):
            if isinstance(module, nn.LayerNorm) or name == "gamma":
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif not tensor.any():
                tensor.data.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return model


QUERIES = {f"blocks.{block}.attn.query.proj" for block in ("2.4", "2.6", "2.8", "2.10", "3.8", "3.10", "3.12", "3.14")}
LEFT_OUT = {"mobilenetv4_hybrid_medium": QUERIES, "mixer_s32_224": {"stem.proj"}}
"""Attention heads, and layers in which tokens and channels swap places."""


@pytest.mark.parametrize(
    "name", ["mobilenetv3_small_050", "resnet18", "fbnetv3_b", "mobilenetv4_hybrid_medium", "mixer_s32_224"]
)
def test_removing_channels_is_the_same_as_no_longer_reading_them(name):
    size = (3, 224, 224) if name.endswith("_224") else SIZE
    torch.manual_seed(0)
    model = as_if_trained(timm.create_model(name, num_classes=10))
    smaller, reference = copy.deepcopy(model), model
    dense_macs, layers = count_macs(model, size).macs, find_layers(model, size)
    with torch.no_grad():
        image = torch.randn(2, *size, generator=torch.Generator().manual_seed(1))
        dense_output = model(image)
    groups, left_out = find_groups(smaller, size, output_layers(layers), Deadline(clock_limit_s=600.0))
    assert set(left_out) == LEFT_OUT.get(name, set())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for group in groups:
            gone = torch.randperm(group.width, generator=generator)[: group.width // 3]
            for member in group.members:
                if not member.is_output and isinstance(member.module, (nn.Conv2d, nn.Linear)):
                    indices = member.indices[torch.isin(member.channels, gone)]
                    reference.get_submodule(member.name).weight.index_fill_(1, indices, 0.0)
            group.remove(gone.tolist())
        assert count_macs(smaller, size).macs < 0.8 * dense_macs
        expected = reference(image)
        difference = float((smaller(image) - expected).abs().max())
        assert difference < 1e-3 * float(expected.abs().max())
        assert difference < 1e-2 * float((expected - dense_output).abs().max()), "what was removed would be seen"


@pytest.mark.parametrize(("name", "scope"), [
    ("mobilenetv3_small_050", "global"), ("convnext_atto", "uniform"), ("resnet18", "global"),
])  # fmt: skip
@pytest.mark.parametrize("share", [0.75, 0.25])
def test_within_one_per_cent_below(name, scope, share):
    model = timm.create_model(name, num_classes=10)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    target = int(count_macs(model, SIZE).macs * share)
    result = prune_channels_to_macs(model, SIZE, target, scope=scope)
    assert 0.99 * target <= result.macs <= target
    assert result.macs == count_macs(result.model, SIZE).macs
    assert result.model(torch.randn(2, *SIZE)).shape == (2, 10)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(1 <= after <= width for width, after in result.widths.values())


def test_widths_in_multiples_of_eight():
    model = timm.create_model("mobilenetv3_small_100")
    target = count_macs(model, SIZE).macs // 2
    result = prune_channels_to_macs(model, SIZE, target, round_to=8)
    assert all(after % 8 == 0 for _, after in result.widths.values())
    assert 0.99 * target <= result.macs <= target


def test_targets_out_of_reach():
    model = toy()
    with pytest.raises(UnreachableTarget, match=r"the smallest reachable is [\d,]+"):
        prune_channels_to_macs(model, (3, 8, 8), 100)
    with pytest.raises(UnreachableTarget, match="no widths end within 1 %"):
        prune_channels_to_macs(model, (3, 8, 8), 26000, round_to=8)
    for bad in ({"scope": "local"}, {"round_to": 0}, {"floor": 2.0}):
        with pytest.raises(ValueError, match="allowed"):
            prune_channels_to_macs(model, (3, 8, 8), 9500, **bad)


def test_layers_left_alone_keep_their_width():
    result = prune_channels_to_macs(toy(), (3, 8, 8), 19200, keep=by_name("stem"))
    assert result.macs == 27176 - 5 * 64 * (8 + 9 + 8)
    assert result.model.stem.out_channels == 8 and list(result.widths) == ["expand"]
    assert result.left_out == {} and result.model.head.out_features == 5


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(8, 8, 1, groups=2), "grouped convolution 1"),
        (nn.Conv2d(8, 16, 1, groups=8), "grouped convolution 1"),
        (nn.ConvTranspose2d(8, 8, 1), "transposed convolution 1"),
    ],
)
def test_convolutions_of_other_kinds_are_left_alone_by_name(layer, reason):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), layer, nn.ReLU(), nn.Conv2d(layer.out_channels, 12, 1), nn.Conv2d(12, 4, 1)
    )
    target = count_macs(model, (3, 8, 8)).macs - 64 * (layer.out_channels + 4)  # one channel less in the fourth layer
    result = prune_channels_to_macs(model, (3, 8, 8), target)
    assert reason in str(result.left_out) and set(result.widths) == {"3"}


@pytest.mark.parametrize("criterion", list_criteria())
def test_every_criterion_can_rank_channels(criterion):
    batches = [(torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2)), torch.arange(4))]
    results = [
        prune_channels_to_macs(toy(), (3, 8, 8), 9500, criterion=criterion, batches=batches, seed=3) for _ in range(2)
    ]
    assert results[0].macs == 9492
    assert torch.equal(results[0].model.head.weight, results[1].model.head.weight)


def test_channels_of_shared_weights_are_left_alone_by_name():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 9, 1), nn.Conv2d(9, 2, 1)
    )
    model[2].weight = model[1].weight
    target = count_macs(model, (3, 8, 8)).macs - 64 * (8 + 2)  # one channel less in the fourth layer
    result = prune_channels_to_macs(model, (3, 8, 8), target)
    assert set(result.widths) == {"3"} and "shared weight" in str(result.left_out)


def test_weights_that_are_not_finite_are_refused():
    model = toy()
    model.expand.weight.data[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        prune_channels_to_macs(model, (3, 8, 8), 9500)


def test_torch_pruning_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install .*\[structured\]"):
        prune_channels_to_macs(toy(), (3, 8, 8), 9500)


@given(share=st.floats(0.15, 0.99), scope=st.sampled_from(["uniform", "global"]))
@settings(max_examples=4, deadline=None)
def test_never_above(share, scope):
    model = timm.create_model("mobilenetv3_small_050", num_classes=4)
    target = int(count_macs(model, SIZE).macs * share)
    assert 0.99 * target <= prune_channels_to_macs(model, SIZE, target, scope=scope).macs <= target


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "convnext_atto"])
def test_a_smaller_network_comes_back_from_its_state_dict(name):
    model = randomise_norms(timm.create_model(name, num_classes=10))
    result = prune_channels_to_macs(model, SIZE, count_macs(model, SIZE).macs // 2)
    rebuilt = fit_to_state(timm.create_model(name, num_classes=10), result.model.state_dict()).eval()
    image = torch.randn(2, *SIZE)
    assert torch.equal(rebuilt(image), result.model(image))
    assert count_macs(rebuilt, SIZE).macs == result.macs


def test_a_foreign_state_dict_is_refused():
    with pytest.raises(ValueError, match=r"no place in the model for zzz\.weight"):
        fit_to_state(toy(), {**toy().state_dict(), "zzz.weight": torch.ones(1)})


def test_channels_normalised_in_groups_are_left_alone_by_name():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.Conv2d(8, 12, 1), nn.Conv2d(12, 4, 1))
    target = count_macs(model, (3, 8, 8)).macs - 64 * (8 + 4)  # one channel less in the third layer
    result = prune_channels_to_macs(model, (3, 8, 8), target)
    assert result.left_out == {"0": "goes with the group norm 1"} and set(result.widths) == {"2"}


def test_a_network_of_its_own_size_stays_as_it_is_with_depthwise_multipliers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 16, 3, padding=1, groups=8))
    again = fit_to_state(model, {name: value.clone() for name, value in model.state_dict().items()})
    assert again(torch.ones(1, 4, 5, 5)).shape == (1, 16, 5, 5)


def test_a_target_already_met_gives_a_copy():
    model = toy().eval()
    result = prune_channels_to_macs(model, (3, 8, 8), 10**9)
    assert (result.macs, result.widths) == (count_macs(model, (3, 8, 8)).macs, {})
    assert result.model is not model


def test_a_network_that_the_graph_does_not_understand_is_one_clear_error():
    model = timm.create_model("poolformer_s12").eval()
    with pytest.raises(NotFollowed, match="Torch-Pruning cannot follow the network's channels"):
        prune_channels_to_macs(model, (3, 64, 64), count_macs(model, (3, 64, 64)).macs // 2)


def test_a_network_of_two_outputs_is_refused():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)

        def forward(self, x):
            return self.a(x), self.b(self.a(x))

    with pytest.raises(NotFollowed, match="this one gives a tuple"):
        prune_channels_to_macs(Two(), (3, 8, 8), 1000)


def test_the_hint_at_coarser_widths_is_only_there_where_it_helps():
    model = toy().eval()
    dense = count_macs(model, (3, 8, 8)).macs
    messages = []
    for round_to in (1, 8):
        with pytest.raises(UnreachableTarget) as refused:
            for share in (0.97, 0.93, 0.89, 0.83, 0.77, 0.71):
                prune_channels_to_macs(model, (3, 8, 8), int(share * dense), round_to=round_to)
        messages.append(str(refused.value))
    assert "round_to" not in messages[0]
    assert "a lower round_to" in messages[1]


def test_the_output_layer_is_kept_whatever_it_is_called():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc, self.out = nn.Conv2d(3, 16, 3), nn.Linear(16, 32), nn.Linear(32, 5)

        def forward(self, x):
            return self.out(self.fc(self.conv(x).relu().mean((2, 3))).relu())

    model = Net().eval()
    result = prune_channels_to_macs(model, (3, 8, 8), count_macs(model, (3, 8, 8)).macs // 2, floor=0.05)
    assert result.model.out.out_features == 5
    assert result.model.fc.out_features < 32
