import itertools

import pytest
import torch
from safetensors.torch import load, save
from timm.utils import ModelEmaV3
from torch import nn

from accounting.macs.count import count_macs
from pruning.masks import MaskKeeper, apply_masks, from_tensors, masks_from_model, shuffle_masks, to_tensors
from pruning.schedules import gradual
from pruning.solve import prune_to_macs

SIZE = (1, 8, 8)


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, 2, 1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.Conv2d(6, 8, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.9, weight_decay=1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
}


@pytest.mark.parametrize(("name", "amp"), [("sgd", False), ("sgd", True), ("rmsprop", True), ("adamw", True)])
def test_zeros_are_bit_exact_after_1000_steps(name, amp):
    model = net()
    masks = prune_to_macs(model, SIZE, 1200).masks
    ema = ModelEmaV3(model, decay=0.99)  # made before the masks are applied, so its weights are dense
    apply_masks(model, masks)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = OPTIMIZERS[name](model.parameters())
    keeper = MaskKeeper(model, masks)
    keeper.hold(optimizer)
    keeper.hold_ema(ema)
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(8, *SIZE, generator=generator), torch.arange(8) % 4
    model.train()
    for _ in range(1000):
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(model)
    for network in (model, ema.module):
        weights = dict(network.named_parameters())
        for key, mask in masks.items():
            assert (weights[key].detach()[~mask].view(torch.int32) == 0).all()  # +0.0 in every bit
            assert not torch.equal(weights[key], before[key]), f"{key} did not train"
            assert weights[key].isfinite().all()
    assert torch.cat([v.flatten() for v in masks.values()]).logical_not().sum() > 20


def test_without_a_keeper_the_zeros_do_move():
    model = net()
    masks = prune_to_macs(model, SIZE, 1200).masks
    apply_masks(model, masks)
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    nn.functional.cross_entropy(model(torch.randn(4, *SIZE)), torch.arange(4)).backward()
    optimizer.step()
    assert any((p.detach()[~masks[key]] != 0).any() for key, p in model.named_parameters() if key in masks)


def test_a_keeper_can_change_and_let_go():
    model = nn.Linear(2, 2, bias=False)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    keeper = MaskKeeper(model, {"weight": torch.tensor([[True, True], [True, False]])})
    keeper.hold(optimizer)
    keeper.change({"weight": torch.tensor([[True, False], [True, False]])})
    assert model.weight.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert model.weight.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    keeper.release()
    optimizer.zero_grad()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert model.weight.tolist() == [[-1.0, -1.0], [-1.0, -1.0]]


def test_gradients_of_masked_weights_are_zero_so_that_clipping_sees_the_sparse_network():
    model = nn.Linear(2, 1, bias=False)
    keeper = MaskKeeper(model, {"weight": torch.tensor([[True, False]])})
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    keeper.hold(optimizer)
    for gradient in (3.0, 6.0):  # accumulated over two batches
        model(torch.tensor([[3.0, 4.0]])).sum().backward()
        assert model.weight.grad.tolist() == [[gradient, 0.0]]
    assert float(nn.utils.clip_grad_norm_(model.parameters(), 1.0)) == 6.0
    keeper.change({"weight": torch.tensor([[False, True]])})
    optimizer.zero_grad()
    model(torch.tensor([[3.0, 4.0]])).sum().backward()
    assert model.weight.grad.tolist() == [[0.0, 4.0]]


def test_masks_travel_in_safetensors():
    model = net()
    masks = prune_to_macs(model, SIZE, 1000).masks
    tensors = to_tensors(masks)
    assert all(t.dtype == torch.uint8 for t in tensors.values())
    back = from_tensors(load(save(tensors)))
    assert back.keys() == masks.keys() and all(torch.equal(back[k], masks[k]) for k in masks)


def test_masks_of_a_model_are_its_non_zeros():
    model = net()
    masks = prune_to_macs(model, SIZE, 1000).masks
    apply_masks(model, masks)
    found = masks_from_model(model)
    assert found.keys() == masks.keys() and all(torch.equal(found[k], masks[k]) for k in masks)


def test_pruned_again_the_masks_are_nested():
    model = net()
    last = None
    for target in (2000, 1500, 900, 300):
        masks = prune_to_macs(model, SIZE, target).masks
        apply_masks(model, masks)
        assert last is None or all(not (masks[k] & ~last[k]).any() for k in masks)
        last = masks


def test_shuffled_masks_keep_the_share_of_each_layer():
    masks = prune_to_macs(net(), SIZE, 1000).masks
    a, b, c = (shuffle_masks(masks, seed) for seed in (0, 0, 1))
    assert all(a[k].sum() == masks[k].sum() and a[k].shape == masks[k].shape for k in masks)
    assert all(torch.equal(a[k], b[k]) for k in masks)
    assert any(not torch.equal(a[k], other[k]) for k, other in itertools.product(masks, (c, masks)))


def test_masks_of_another_network_are_refused():
    with pytest.raises(ValueError, match=r"mask for '9.weight', which is not a parameter"):
        apply_masks(net(), {"9.weight": torch.ones(1, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"mask for '7.weight' has shape \(4, 7\), its weight \(4, 8\)"):
        apply_masks(net(), {"7.weight": torch.ones(4, 7, dtype=torch.bool)})


def test_gradual_pruning_while_training_ends_at_the_target_with_nested_masks():
    model = net()
    start = prune_to_macs(model, SIZE, 10**9).macs
    target = start // 4
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    keeper = MaskKeeper(model, {})
    keeper.hold(optimizer)
    generator = torch.Generator().manual_seed(1)
    last = None
    for step in range(40):
        result = prune_to_macs(model, SIZE, gradual((step + 1) / 40, start, target))
        keeper.change(result.masks)
        assert last is None or all(not (mask & ~last[key]).any() for key, mask in result.masks.items())
        last = result.masks
        loss = nn.functional.cross_entropy(model(torch.randn(8, *SIZE, generator=generator)), torch.arange(8) % 4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert target - 16 < count_macs(model, SIZE).sparse_macs <= target  # 16 positions: the most expensive weight
