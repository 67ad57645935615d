import copy

import pytest
import timm
import torch
from torch import nn

from accounting.macs.count import count_macs
from pruning.dead import remove_dead_channels
from pruning.masks import apply_masks
from pruning.solve import prune_to_macs

pytest.importorskip("torch_pruning")


def chain():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 2),
    ).eval()


def test_a_channel_nobody_reads_goes():
    model = chain()
    model[3].weight.data[:, 1] = 0
    result = remove_dead_channels(model, (3, 8, 8))
    assert result.removed == {"0": 1} and result.model[0].weight.shape == (3, 3, 3, 3)
    assert result.dense_macs_before - result.dense_macs == 64 * 27 + 64 * 6
    assert result.sparse_macs_before - result.sparse_macs == 64 * 27
    assert model[0].weight.shape == (4, 3, 3, 3)


def test_a_silent_channel_goes_only_if_its_batch_norm_is_silent_too():
    model = chain()
    model[0].weight.data[2] = 0
    model[1].bias.data[2] = 0.5  # a constant output of 0.5, which later layers read
    assert remove_dead_channels(model, (3, 8, 8)).removed == {}
    model[1].bias.data[2] = 0.0
    model[1].running_mean[2] = 0.1
    assert remove_dead_channels(model, (3, 8, 8)).removed == {}
    model[1].running_mean[2] = 0.0
    assert remove_dead_channels(model, (3, 8, 8)).removed == {"0": 1}


def test_death_spreads_backwards_and_every_group_keeps_a_channel():
    model = chain()
    model[7].weight.data[:, 1:] = 0  # only channel 0 of the second convolution is read,
    model[3].weight.data[0, 1:] = 0  # which itself reads only channel 0 of the first
    result = remove_dead_channels(model, (3, 8, 8))
    assert result.removed == {"0": 3, "3": 5}
    model[7].weight.data[:] = 0
    assert remove_dead_channels(model, (3, 8, 8)).removed["3"] == 5


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet18"])
def test_a_pruned_network_stays_the_same(name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10).eval()
    size = (3, 32, 32)
    masks = prune_to_macs(model, size, count_macs(model, size).macs // 20, criterion="magnitude").masks
    apply_masks(model, masks)
    before = copy.deepcopy(model.state_dict())
    result = remove_dead_channels(model, size)
    assert result.removed and result.dense_macs < result.dense_macs_before
    assert result.sparse_macs <= result.sparse_macs_before
    image = torch.randn(3, *size)
    with torch.no_grad():
        assert torch.allclose(result.model(image), model(image), rtol=1e-3, atol=1e-4 * float(model(image).abs().max()))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_layer_norm_keeps_its_channels():
    model = timm.create_model("convnext_atto", num_classes=10).eval()
    masks = prune_to_macs(model, (3, 32, 32), count_macs(model, (3, 32, 32)).macs // 10).masks
    apply_masks(model, masks)
    result = remove_dead_channels(model, (3, 32, 32))
    assert all("mlp" in name for name in result.removed)


def test_batch_norm_without_scale_or_statistics():
    model = chain()
    model[1] = nn.BatchNorm2d(4, affine=False).eval()
    model[0].weight.data[2] = 0
    assert remove_dead_channels(model, (3, 8, 8)).removed == {"0": 1}
    model[1] = nn.BatchNorm2d(4, track_running_stats=False).eval()
    assert remove_dead_channels(model, (3, 8, 8)).removed == {}


def test_a_removal_that_would_change_the_output_is_refused():
    class Sigmoid(nn.Module):
        """Outputs 0.5 for a silent input, so the channel only looks dead."""

        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 1, bias=False)
            self.second = nn.Conv2d(4, 2, 1, bias=False)

        def forward(self, x):
            return self.second(self.first(x).sigmoid()).mean((2, 3))

    torch.manual_seed(0)
    model = Sigmoid().eval()
    model.first.weight.data[1] = 0
    with pytest.raises(ValueError, match="would change the output"):
        remove_dead_channels(model, (3, 8, 8))
