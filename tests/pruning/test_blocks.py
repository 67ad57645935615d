import pytest
import timm
import torch

from accounting.macs.count import count_macs
from accounting.words.methods import Method
from harness.jobs.work import PruneRule
from harness.work.prune import remove
from pruning.blocks import prune_blocks_to_macs, remove_blocks, residual_blocks, se_blocks
from pruning.layers import by_name
from pruning.resize import fit_to_state
from pruning.solve import UnreachableTarget

pytest.importorskip("torch_pruning")
SIZE = (3, 32, 32)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return timm.create_model("mobilenetv3_small_050", num_classes=10).eval()


def test_what_the_blocks_are(model):
    assert "blocks.0.0.se" in se_blocks(model) and len(se_blocks(model)) == 9
    found = residual_blocks(model, SIZE)
    assert {"blocks.1.1", "blocks.2.1", "blocks.2.2", "blocks.3.1", "blocks.4.1", "blocks.4.2"} <= set(found)
    assert "blocks.1.0" not in found
    resnet = timm.create_model("resnet18")
    assert residual_blocks(resnet, SIZE) == ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]
    assert se_blocks(resnet) == []
    with pytest.raises(ValueError, match="no squeeze-excite blocks"):
        prune_blocks_to_macs(resnet, SIZE, count_macs(resnet, SIZE).macs // 2, kind="se")
    regnet = timm.create_model("regnetx_002")
    assert len(residual_blocks(regnet, SIZE)) == 9, "13 blocks, of which the first of each of 4 stages changes the size"
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32)
    assert residual_blocks(vit, SIZE) == [f"blocks.{i}" for i in range(12)]
    assert len(residual_blocks(timm.create_model("convnext_atto"), SIZE)) == 12


def test_removed_blocks_are_gone_and_the_rest_is_untouched(model):
    smaller = remove_blocks(model, ["blocks.1.1", "blocks.2.1.se"])
    assert smaller(torch.randn(1, *SIZE)).shape == (1, 10)
    lost = {key for key in model.state_dict() if key not in smaller.state_dict()}
    assert all(key.startswith(("blocks.1.1.", "blocks.2.1.se.")) for key in lost) and lost
    with pytest.raises(ValueError, match=r"no block 'blocks\.9'"):
        remove_blocks(model, ["blocks.9"])


@pytest.mark.parametrize("kind", ["residual", "se"])
def test_reaches_the_target_with_channels_for_the_rest(model, kind):
    dense = count_macs(model, SIZE).macs
    result = prune_blocks_to_macs(model, SIZE, dense // 2, kind=kind)
    assert result.removed_blocks and result.dense_macs == dense
    assert 0.99 * (dense // 2) <= result.macs <= dense // 2
    rebuilt = fit_to_state(timm.create_model("mobilenetv3_small_050", num_classes=10), result.model.state_dict()).eval()
    image = torch.randn(2, *SIZE)
    assert torch.equal(rebuilt(image), result.model(image))


def test_exactly_the_network_without_a_block_needs_no_channels(model):
    weakest = prune_blocks_to_macs(model, SIZE, int(count_macs(model, SIZE).macs * 0.97)).removed_blocks
    target = count_macs(remove_blocks(model, weakest), SIZE).macs
    result = prune_blocks_to_macs(model, SIZE, target)
    assert result.macs == target and result.widths == {} and result.removed_blocks == weakest


def test_out_of_reach(model):
    dense = count_macs(model, SIZE).macs
    with pytest.raises(UnreachableTarget, match="smallest reachable"):
        prune_blocks_to_macs(model, SIZE, 1000)
    met = prune_blocks_to_macs(model, SIZE, 2 * dense)
    assert (met.macs, met.removed_blocks, met.widths) == (dense, (), {}), "a target already met"
    with pytest.raises(ValueError, match="allowed: residual, se"):
        prune_blocks_to_macs(model, SIZE, dense // 2, kind="block")


def test_what_is_to_be_kept_is_kept(model):
    keep = by_name("conv_stem", "blocks.1.1.*")
    result = prune_blocks_to_macs(model, SIZE, count_macs(model, SIZE).macs // 2, keep=keep)
    assert result.removed_blocks
    assert "blocks.1.1" not in result.removed_blocks
    assert result.model.conv_stem.out_channels == model.conv_stem.out_channels


def test_a_later_round_goes_on_with_channels_where_no_block_is_left():
    """resnet10t has one block that adds to its own input; without it, half of its MACs are left by narrower layers."""
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=3).eval()
    without = remove_blocks(model, residual_blocks(model, SIZE))
    target = count_macs(model, SIZE).macs // 2
    with pytest.raises(ValueError, match="no residual blocks"):
        prune_blocks_to_macs(without, SIZE, target)
    result = prune_blocks_to_macs(without, SIZE, target, may_lack=True)
    assert 0.99 * target <= result.macs <= target
    assert result.removed_blocks == ()
    rule = PruneRule(Method("blocks", "magnitude", "iterative"), target, channel_floor=0.1, round_to=1)
    assert remove(rule, without, SIZE).macs == result.macs
