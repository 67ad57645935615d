"""Sub-networks of a trained network have the right channels and blocks and exact MACs; the parent is unchanged."""

import copy
import random

import pytest
import timm
import torch
from test_structured import randomise_norms, toy

from accounting.ledger.parts import macs_of
from accounting.macs.count import count_macs
from pruning.channels import NotFollowed
from pruning.structured import prune_channels_to_macs
from pruning.subnets import Subnets

pytest.importorskip("torch_pruning")
NETWORKS = {
    "resnet18": {},
    "mobilenetv3_small_050": {},
    "fbnetv3_b": {},
    "convnext_atto": {},
    "vit_tiny_patch16_224": {"img_size": 32},
}
SIZE = (3, 32, 32)


def network(name):
    torch.manual_seed(0)
    return randomise_norms(timm.create_model(name, num_classes=7, **NETWORKS[name]))


def whole(parts):
    return [*(group.width for group in parts.groups), *[1] * len(parts.blocks)]


def test_macs_and_channels_by_hand():
    # 64*(3*4 + 4*8 + 9*8 + 8*4) + 4*5 = 9,492 with half of the channels of both groups.
    model = toy()
    subnets = Subnets(model, (3, 8, 8))
    assert sorted((group.name, group.width) for group in subnets.parts.groups) == [("expand", 16), ("stem", 8)]
    member = [group.width // 2 for group in subnets.parts.groups]
    assert macs_of(subnets.parts, member) == 9492
    assert count_macs(subnets.module(member), (3, 8, 8)).macs == 9492


def test_the_weakest_channels_go_as_in_pruning():
    model = toy()
    pruned = prune_channels_to_macs(model, (3, 8, 8), 9492)
    subnets = Subnets(model, (3, 8, 8))
    member = [pruned.widths[group.name][1] for group in subnets.parts.groups]
    state = subnets.state(member)
    assert state.keys() == pruned.model.state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in pruned.model.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_is_what_torch_pruning_cuts_and_costs_what_is_said(name):
    model = network(name)
    before = copy.deepcopy(model.state_dict())
    subnets = Subnets(model, SIZE)
    subnets.check()
    rng = random.Random(name)
    for _ in range(2):
        member = [rng.randint(1, group.width) for group in subnets.parts.groups]
        member += [rng.randint(0, 1) for _ in subnets.parts.blocks]
        assert count_macs(subnets.module(member), SIZE).macs == macs_of(subnets.parts, member)
    assert macs_of(subnets.parts, whole(subnets.parts)) == subnets.parts.macs == count_macs(model, SIZE).macs
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in before.items())


def test_the_whole_is_the_parent():
    model = network("fbnetv3_b")
    subnets = Subnets(model, SIZE)
    images = torch.randn(2, *SIZE)
    with torch.no_grad():
        assert torch.equal(subnets.module(whole(subnets.parts))(images), model(images))


def test_a_block_that_is_left_out_passes_its_input_on():
    model = network("resnet18")
    subnets = Subnets(model, SIZE)
    kinds = [(block.name, block.kind) for block in subnets.parts.blocks]
    assert ("layer1.0", "residual") in kinds
    member = whole(subnets.parts)
    member[len(subnets.parts.groups) + kinds.index(("layer1.0", "residual"))] = 0
    expected = copy.deepcopy(model)
    expected.layer1[0] = torch.nn.Identity()
    images = torch.randn(2, *SIZE)
    with torch.no_grad():
        assert torch.equal(subnets.module(member)(images), expected(images))


def test_a_member_of_another_network_is_refused():
    subnets = Subnets(toy(), (3, 8, 8))
    with pytest.raises(ValueError, match="2 widths and 0 blocks, not 3 numbers"):
        subnets.state([8, 8, 1])
    with pytest.raises(ValueError, match="has widths of 1 to"):
        subnets.state([0, 8])


def test_a_cut_that_differs_from_torch_pruning_is_refused(monkeypatch):
    subnets = Subnets(toy(), (3, 8, 8))
    right = subnets.state
    monkeypatch.setattr(subnets, "state", lambda member: {k: v.flip(0) for k, v in right(member).items()})
    with pytest.raises(NotFollowed, match="not foreseen"):
        subnets.check()
