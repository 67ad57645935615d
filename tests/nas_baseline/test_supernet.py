"""The supernet computes each of its members exactly, and trains only what it activates."""

import copy
from functools import cache

import numpy as np
import pytest
import torch
from elastic_space import declared, inherited, norms_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from accounting.macs.count import count_macs
from harness.task.classification import Classification
from nas_baseline.spaces import list_spaces, load_space
from nas_baseline.spaces.counting import se_width
from nas_baseline.spaces.networks import build
from nas_baseline.supernet.elastic import Extent, extents, measure, share
from nas_baseline.supernet.supernet import Supernet

IMITATION = Classification(4).imitation
SPACES = {name: load_space(name) for name in list_spaces()}
SIDE = {"fbnetv3_mini": 28, "fbnetv3": 32, "mobilenetv3_lite": 40, "mobilenetv3_lite_small": 40}


@cache
def prepared(name):
    """A supernet in which a wrong slice shows: its statistics and affine parameters are random instead of 0 and 1."""
    torch.manual_seed(0)
    supernet = Supernet(SPACES[name] if name in SPACES else declared()).eval()
    generator = torch.Generator().manual_seed(1)
    for norm in norms_of(supernet):
        for tensor, low in (
            (norm.running_var, 0.5), (norm.running_mean, -0.3), (norm.weight, 0.6), (norm.bias, -0.3)
        ):  # fmt: skip
            tensor.data.copy_(low + torch.rand(tensor.shape, generator=generator))
    return supernet


def images_for(space, n=2, side=None):
    generator = torch.Generator().manual_seed(n)
    return torch.randn(
        n, space.in_chans, side or SIDE.get(space.name, 16), side or SIDE.get(space.name, 16), generator=generator
    )


def assert_same_network(supernet, arch):
    space, network = supernet.space, inherited(supernet, arch).eval()
    images = images_for(space)
    supernet.activate(arch)
    with torch.no_grad():
        expected, found = network(images), supernet(images)
    assert found.shape == (2, space.num_classes)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    side = space.image_size(arch)
    weights = [m.weight.numel() for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum(weights) == space.params(arch)
    if space.name in ("small", "fbnetv3_mini"):
        assert count_macs(network, (space.in_chans, side, side)).macs == space.macs(arch)


# Members are networks.


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.sampled_from(["small", "fbnetv3_mini"]), st.integers(0, 2**32 - 1))
def test_an_active_member_is_the_built_network_with_what_is_extracted(name, seed):
    supernet = prepared(name)
    assert_same_network(supernet, supernet.space.sample(np.random.default_rng(seed)))


@pytest.mark.parametrize("name", sorted(SPACES))
def test_so_it_is_for_the_ends_of_every_space_and_between(name):
    supernet = prepared(name)
    for arch in supernet.sandwich(np.random.default_rng(5), num_random=1):
        assert_same_network(supernet, arch)


@pytest.mark.parametrize("name", [*sorted(SPACES), "small"])
def test_sizes_are_those_of_the_built_network(name):
    space = prepared(name).space
    for arch in space.sample_batch(np.random.default_rng(0), 3):
        with torch.device("meta"):
            built = build(space.network_spec(arch)).state_dict()
        assert {n: t.shape for n, t in prepared(name).extract(arch).items()} == {n: t.shape for n, t in built.items()}


def test_a_part_by_hand():
    # Two of three outputs, one of two inputs, the middle 3x3 of 5x5.
    full = torch.arange(150.0).view(3, 2, 5, 5)
    named = [
        ("conv.weight", full),
        ("conv.bias", torch.arange(3.0)),
        ("other.weight", full),
        ("bn.count", torch.tensor(7)),
    ]
    parts = share(named, {"conv": Extent(2, 1, 3), "bn": Extent(2)})
    assert sorted(parts) == ["bn.count", "conv.bias", "conv.weight"]
    assert parts["conv.weight"][1, 0].tolist() == [[56.0, 57.0, 58.0], [61.0, 62.0, 63.0], [66.0, 67.0, 68.0]]
    assert parts["conv.weight"].shape == (2, 1, 3, 3)
    assert parts["conv.bias"].tolist() == [0.0, 1.0]
    assert int(parts["bn.count"]) == 7
    assert share([("conv.weight", full)], {"conv": Extent(3, 2, 5)})["conv.weight"] is full


def test_sizes_of_a_member_by_hand():
    space = declared()
    member = measure(space.network_spec(space.find({"1.depth": 3, "1.expansion": 2.5, "1.se": 0.25, "stem.width": 8})))
    first, *rest = member.stages[1]
    # 6 × 2.5 = 15 rounds to 16; a quarter of the block's input is 16 × 0.25 / 2.5 = 1.6, which rounds to 8.
    assert (first.into, first.inner, first.out, first.kernel, first.squeeze) == (6, 16, 8, 3, 8)
    # The stage's other blocks have their own kernel and expansion: 8 × 2.
    assert [(b.into, b.inner, b.out, b.kernel) for b in rest] == [(8, 16, 8, 3)] * 2
    assert (member.stem, member.final, member.features) == (8, 16, 16)
    used = extents(member)
    assert used["blocks.1.0.conv_pw"] == Extent(16, 6)
    assert used["blocks.1.1.conv_dw"] == Extent(16, None, 3)
    assert used["blocks.0.0.conv_pw"] == Extent(6, 8)
    assert "blocks.0.1.conv_pw" not in used


def test_a_shortcut_is_there_for_the_members_that_timm_gives_one():
    supernet = prepared("small")
    first = supernet.network.blocks[0][0]
    for stem, width, has_skip in ((6, 6, True), (8, 8, True), (8, 6, False), (6, 8, False)):
        supernet.activate(supernet.space.find({"stem.width": stem, "0.width": width}))
        assert first.has_skip is has_skip
        assert supernet.network.blocks[1][0].has_skip is False


def test_a_squeeze_excite_is_as_wide_as_the_widest_member_has_it():
    # 20 × 3 = 60 rounds to 64: 64 × 0.8 / 3 = 17.07 rounds to 16, just below 16 / 0.95 = 16.84, so it goes up to 24; with
    # expansion 4 there are 80 × 0.8 / 4 = 16.
    assert [int(se_width(i, 0.8, e)) for i, e in ((64, 3), (80, 4))] == [24, 16]
    stage = {"type": "ir", "stride": 1, "kernel": 3, "expansion": [3, 4], "depth": 1, "width": 20, "se": 0.8}
    supernet = Supernet(declared(stem={"width": 20}, stages=[stage])).eval()
    squeeze = supernet.network.blocks[0][0].se
    assert squeeze.conv_reduce.weight.shape == (24, 80, 1, 1)
    assert squeeze.conv_expand.weight.shape == (80, 24, 1, 1)
    # Initialised as in timm: variance 2 / outputs, biases 0.
    assert float(squeeze.conv_reduce.weight.detach().std()) == pytest.approx((2 / 24) ** 0.5, rel=0.1)
    assert not squeeze.conv_reduce.bias.any()
    for expansion in (3, 4):
        assert_same_network(supernet, supernet.space.find({"0.expansion": expansion}))


def test_a_fifth_stride_is_dilation_as_in_timm():
    stages = [
        {"type": "ir", "stride": 2, "kernel": [3, 5], "expansion": 2, "depth": [1, 2], "width": 8} for _ in range(6)
    ]
    supernet = Supernet(declared(stages=stages)).eval()
    arch = supernet.space.sample(np.random.default_rng(0))
    supernet.activate(arch)
    images = images_for(supernet.space, side=64)
    with torch.no_grad():
        torch.testing.assert_close(supernet(images), inherited(supernet, arch).eval()(images), rtol=1e-5, atol=1e-5)


def test_largest_and_smallest():
    for name in (*SPACES, "small"):
        supernet = prepared(name)
        space = supernet.space
        assert space.macs(supernet.largest()) == space.max_macs(), name
        assert space.macs(supernet.smallest()) == space.min_macs(), name
        assert supernet.extract(supernet.largest()).keys() == supernet.network.state_dict().keys()


def test_the_sandwich():
    supernet = Supernet(declared())
    members = supernet.sandwich(np.random.default_rng(3), num_random=4)
    assert members[:2] == [supernet.largest(), supernet.smallest()]
    assert len(members) == 6
    assert [supernet.space.canonical(a) for a in members] == members
    assert members == supernet.sandwich(np.random.default_rng(3), num_random=4)
    assert members != supernet.sandwich(np.random.default_rng(4), num_random=4)
    assert len(supernet.sandwich(np.random.default_rng(3))) == 4


# Training.


def test_gradients_reach_the_active_part_and_nothing_else():
    torch.manual_seed(0)
    supernet = Supernet(declared()).train()
    space = supernet.space
    arch = space.find({"stem.width": 8, "0.kernel": 3, "1.se": 0.25})
    supernet.activate(arch)
    supernet(images_for(space, 8)).square().sum().backward()
    inside = share(
        ((n, torch.ones(p.shape)) for n, p in supernet.network.named_parameters()),
        extents(measure(space.network_spec(arch))),
    )
    for name, parameter in supernet.network.named_parameters():
        if name not in inside:
            assert parameter.grad is None, name
            continue
        gradient = parameter.grad
        active = share([(name, gradient)], extents(measure(space.network_spec(arch))))[name]
        assert active.shape == inside[name].shape
        # The whole gradient is in the active part.
        assert gradient.abs().sum() == pytest.approx(float(active.abs().sum()), rel=1e-5)
    assert supernet.network.conv_head.weight.grad[:16].any()
    assert not supernet.network.conv_head.weight.grad[16:].any()


def test_losses_are_by_hand_and_together_the_mean():
    torch.manual_seed(0)
    supernet = Supernet(declared()).train()
    space = supernet.space
    images, labels = images_for(space, 8), torch.arange(8) % 4
    archs = supernet.sandwich(np.random.default_rng(0), num_random=1)
    networks = [inherited(supernet, a).train() for a in archs]
    for network in networks:
        network.drop_rate = 0.0
        for block in network.modules():
            if hasattr(block, "drop_path"):
                block.drop_path = nn.Identity()
    logits = [network(images) for network in networks]
    teacher = logits[0].detach().softmax(1)
    expected = [F.cross_entropy(logits[0], labels), *(-(teacher * x.log_softmax(1)).sum(1).mean() for x in logits[1:])]
    found = []
    for loss in supernet.losses(images, labels, F.cross_entropy, IMITATION, archs):
        loss.backward()
        found.append(float(loss.detach()))
    assert found == pytest.approx([float(loss.detach()) / 3 for loss in expected], rel=1e-5)
    sum(loss / 3 for loss in expected).backward()
    # The gradient of a bias that every member uses in full is the sum of its gradients in the built networks.
    total = sum(network.classifier.bias.grad for network in networks)
    torch.testing.assert_close(supernet.network.classifier.bias.grad, total)


def test_the_first_of_a_sandwich_is_the_largest_whatever_its_recipe():
    supernet = Supernet(declared())
    images, labels = images_for(supernet.space, 4), torch.arange(4)
    for wrong in ([], [supernet.smallest(), supernet.largest()]):
        with pytest.raises(ValueError, match="must be the largest"):
            supernet.losses(images, labels, F.cross_entropy, IMITATION, wrong)
    other = supernet.space.find(supernet.space.describe(supernet.largest()) | {"recipe.lr": 0.2, "recipe.dropout": 0.5})
    assert other != supernet.largest()
    assert len(list(supernet.losses(images, labels, F.cross_entropy, IMITATION, [other]))) == 1


def test_only_the_largest_leaves_statistics_and_is_left_active():
    torch.manual_seed(0)
    supernet = Supernet(declared()).train()
    images, labels = images_for(supernet.space, 8), torch.arange(8) % 4
    alone = copy.deepcopy(supernet)
    list(supernet.losses(images, labels, F.cross_entropy, IMITATION, supernet.sandwich(np.random.default_rng(0))))
    list(alone.losses(images, labels, F.cross_entropy, IMITATION, [alone.largest()]))
    for (name, one), (_, other) in zip(supernet.named_buffers(), alone.named_buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=name)
    assert int(supernet.network.bn1.num_batches_tracked) == 1
    supernet.eval()
    with torch.no_grad():
        evaluated = supernet(images)
        torch.testing.assert_close(evaluated, inherited(supernet, supernet.largest()).eval()(images))
    # The same holds when a training step is broken off halfway.
    parts = supernet.losses(images, labels, F.cross_entropy, IMITATION, supernet.sandwich(np.random.default_rng(0)))
    next(parts), next(parts)
    parts.close()
    with torch.no_grad():
        torch.testing.assert_close(supernet(images), evaluated)


@pytest.mark.parametrize("choices", [{}, {"stem.width": 8, "1.depth": 3, "1.se": 0.25}])
def test_statistics_taken_anew_in_place_are_those_of_the_built_network(choices):
    torch.manual_seed(0)
    supernet = Supernet(declared())
    arch = supernet.space.find(choices)
    supernet.activate(arch)
    network, images = inherited(supernet, arch), images_for(supernet.space, 16)
    for model in (supernet, network):
        model.eval()
        for norm in norms_of(model):
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        with torch.inference_mode():
            model(images[:8]), model(images[8:])
        model.eval()
    mine, theirs = supernet.extract(arch), network.state_dict()
    for name in theirs:
        torch.testing.assert_close(mine[name], theirs[name], msg=name)
    assert int(theirs["bn1.num_batches_tracked"]) == 2


def test_extracted_tensors_are_copies_and_the_state_is_saved_plainly(tmp_path):
    supernet = Supernet(declared())
    supernet.activate(supernet.smallest())
    torch.save(supernet.state_dict(), tmp_path / "supernet.pt")
    again = Supernet(declared())
    again.load_state_dict(torch.load(tmp_path / "supernet.pt", weights_only=True), strict=True)
    assert set(again.state_dict()) == {
        f"network.{n}" for n in build(again.space.network_spec(again.largest())).state_dict()
    }
    taken = again.extract(again.largest())
    torch.testing.assert_close(taken, supernet.extract(supernet.largest()))
    before = again.network.conv_stem.weight.detach().clone()
    taken["conv_stem.weight"].zero_()
    assert torch.equal(again.network.conv_stem.weight.detach(), before)
