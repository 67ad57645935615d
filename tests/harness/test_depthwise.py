"""Quick gradients of depthwise convolutions over small maps are those of torch."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.training import depthwise
from harness.training.depthwise import _taps, quick_small_maps

CPU = torch.device("cpu")


def gradients(layer, images, upstream):
    images = images.clone().requires_grad_()
    layer.zero_grad()
    out = layer(images)
    out.backward(upstream(out))
    return out.detach(), images.grad, *(p.grad.clone() for p in layer.parameters())


@pytest.mark.parametrize("kernel", [2, 3, 5, 7, (3, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2)])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (2, 1), (3, 3), (4, 4), (6, 6), (3, 8)])
@pytest.mark.parametrize("bias", [False, True])
def test_gradients_are_those_of_torch(kernel, stride, size, bias):
    high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 6, kernel, stride, (high - high // 2, wide - wide // 2), groups=6, bias=bias)
    images = torch.randn(5, 6, *size).contiguous(memory_format=torch.channels_last)

    def upstream(out):
        return torch.randn(out.shape, generator=torch.Generator().manual_seed(1))

    theirs = gradients(layer, images, upstream)
    with quick_small_maps(CPU):
        mine = gradients(layer, images, upstream)
    for quick, plain in zip(mine, theirs, strict=True):
        torch.testing.assert_close(quick, plain, rtol=1e-5, atol=1e-5)


def test_by_hand():
    """One pixel of value 3 under a 3 x 3 kernel: only the middle weight meets it, so its gradient alone is not 0."""
    layer = nn.Conv2d(1, 1, 3, padding=1, groups=1, bias=False)
    images = torch.full((1, 1, 1, 1), 3.0)
    function = depthwise._Depthwise.apply
    function(images, layer.weight, (1, 1), (1, 1)).backward(torch.full((1, 1, 1, 1), 2.0))
    assert layer.weight.grad.flatten().tolist() == [0, 0, 0, 0, 6, 0, 0, 0, 0]


def test_the_places_that_meet_pixels():
    """A side of 2 pixels with padding 2 under a kernel of 5: the first and last place meet only padding at stride 1."""
    assert [(place, of.start, of.stop, to.start) for place, of, to in _taps(5, 2, 2, 1, 2)] == [
        (1, 1, 2, 0), (2, 0, 2, 0), (3, 0, 1, 1),
    ]  # fmt: skip


@pytest.fixture
def used(monkeypatch):
    seen = []
    plain = depthwise._Depthwise.apply
    monkeypatch.setattr(
        depthwise._Depthwise, "apply", lambda x, *rest: seen.append(tuple(x.shape[2:])) or plain(x, *rest)
    )
    return seen


def test_only_small_maps_of_depthwise_layers_are_taken(used):
    x = torch.randn(2, 4, 2, 2, requires_grad=True)
    with quick_small_maps(CPU):
        functional.conv2d(torch.randn(2, 4, 5, 5), torch.randn(4, 1, 5, 5, requires_grad=True), padding=2, groups=4)
        functional.conv2d(x, torch.randn(4, 2, 3, 3), padding=1, groups=2)
        functional.conv2d(x, torch.randn(4, 4, 3, 3), padding=1)
        functional.conv2d(x, torch.randn(4, 1, 3, 3), padding="same", groups=4)
        with torch.no_grad():
            functional.conv2d(x, torch.randn(4, 1, 3, 3), padding=1, groups=4)
        assert used == []
        functional.conv2d(x, torch.randn(4, 1, 3, 3), padding=1, groups=4)
    functional.conv2d(x, torch.randn(4, 1, 3, 3), padding=1, groups=4)
    assert used == [(2, 2)]


def test_a_training_uses_it_and_an_evaluation_does_not(used, tmp_path):
    from harness.config.recipe import Recipe
    from harness.data.base import DataInfo, Splits, TensorSplit
    from harness.training.loop import Hooks, train
    from harness.training.resume import StateFiles

    info = DataInfo((1, 2, 2), 3, (0.5,), (0.5,), 12)
    split = TensorSplit(torch.randint(0, 256, (12, 1, 2, 2), dtype=torch.uint8), torch.arange(12) % 3, info)
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Flatten(), nn.Linear(16, 3))
    train(
        model, Splits(info, split, split, split), Recipe(epochs=2, batch_size=6), seed=0, device=CPU, masks={},
        files=StateFiles(tmp_path / "resume.pt"), hooks=Hooks(lambda epoch: None, lambda epoch: None),
    )  # fmt: skip
    assert used == [(2, 2)] * 4
