import copy
import itertools

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from accounting.macs.count import count_macs
from pruning.layers import by_name, by_role
from pruning.masks import apply_masks
from pruning.solve import UnreachableTarget, prune_to_macs


def arange_(model: nn.Module, start: int = 1) -> nn.Module:
    """Set the weights of the whole network, in order, to 1, 2, 3, ..."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            n = module.weight.numel()
            module.weight.data = torch.arange(start, start + n).float().view(module.weight.shape)
            start += n
    return model


class Toy(nn.Module):
    """On 1x4x4 images: conv 2 weights x 16 positions, depthwise 2 x 16 (1x1, 2 groups), linear 6 x 1: 70 MACs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.dw = nn.Conv2d(2, 2, 1, groups=2, bias=False)
        self.fc = nn.Linear(2, 3)

    def forward(self, x):
        return self.fc(self.dw(self.conv(x)).mean((2, 3)))


SIZE = (1, 4, 4)


def kept(result, name):
    return result.masks[f"{name}.weight"].flatten().tolist()


def test_global_by_hand():
    # Magnitudes: conv 1 2 (16 MACs each), dw 3 4 (16 each), fc 5..10 (1 each). Target 40: fc 6 + dw 4 (16) + dw 3 (16).
    result = prune_to_macs(arange_(Toy()), SIZE, 40)
    assert result.macs == 38 and result.dense_macs == 70 and result.target_macs == 40
    assert kept(result, "conv") == [False, False]
    assert kept(result, "dw") == [True, True]
    assert kept(result, "fc") == [True] * 6
    assert [(row.name, row.macs, row.kept_macs, row.num_weights, row.num_kept) for row in result.layers] == [
        ("conv", 32, 0, 2, 0),
        ("dw", 32, 32, 2, 2),
        ("fc", 6, 6, 6, 6),
    ]
    assert result.masks["dw.weight"].shape == (2, 1, 1, 1)


def test_global_fills_what_is_left_with_smaller_weights():
    # The smallest weights are now in fc. Target 17: dw's second weight (16) and the largest fc weight (1).
    model = arange_(Toy())
    model.fc.weight.data = torch.arange(1, 7).float().view(3, 2) / 100
    result = prune_to_macs(model, SIZE, 17)
    assert result.macs == 17
    assert kept(result, "dw") == [False, True]
    assert kept(result, "fc") == [False] * 5 + [True]


def test_uniform_by_hand():
    # Half of each: 16 + 16 + 3 = 35 MACs.
    result = prune_to_macs(arange_(Toy()), SIZE, 35, scope="uniform")
    assert result.macs == 35
    assert kept(result, "conv") == [False, True]
    assert kept(result, "dw") == [False, True]
    assert kept(result, "fc") == [False] * 3 + [True] * 3


def test_macs_magnitude_weighs_what_is_saved():
    # Squares per MAC: conv 9.5²/16 = 5.6, dw 9²/16 = 5.1, fc 5²/1 = 25: the linear layer stays, though it is smallest.
    model = arange_(Toy())
    model.conv.weight.data.fill_(9.5)
    model.dw.weight.data.fill_(9.0)
    model.fc.weight.data.fill_(5.0)
    assert kept(prune_to_macs(model, SIZE, 40, criterion="macs_magnitude"), "fc") == [True] * 6
    assert sum(kept(prune_to_macs(model, SIZE, 64), "fc")) == 0


def test_the_model_is_not_changed():
    model = arange_(Toy()).train()
    before = copy.deepcopy(model.state_dict())
    prune_to_macs(model, SIZE, 30, criterion="taylor", batches=[(torch.ones(2, *SIZE), torch.tensor([0, 1]))])
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert model.training and all(p.grad is None and p.requires_grad for p in model.parameters())


def test_zeros_stay_zero_and_count_as_pruned():
    model = arange_(Toy())
    model.fc.weight.data[2] = 0  # the two largest weights
    for scope in ("global", "uniform"):
        result = prune_to_macs(model, SIZE, 68, scope=scope)
        assert result.macs == 68 and kept(result, "fc") == [True] * 4 + [False] * 2
        assert not any(kept(prune_to_macs(model, SIZE, 30, scope=scope), "fc")[4:])
    assert prune_to_macs(model, SIZE, 67).macs == 52  # conv's first weight (16) has to go; no cheaper one is left


def test_a_target_already_met_gives_the_non_zeros():
    model = arange_(Toy())
    model.conv.weight.data[0] = 0
    result = prune_to_macs(model, SIZE, 10**9)
    assert result.macs == 54 and result.dense_macs == 70
    assert kept(result, "conv") == [False, True] and all(kept(result, "dw") + kept(result, "fc"))


def test_a_target_that_no_mask_reaches_is_refused_with_the_smallest():
    keep = by_name("conv")
    with pytest.raises(UnreachableTarget, match=r"cannot prune to 31 MACs: the smallest reachable is 32 of 70"):
        prune_to_macs(arange_(Toy()), SIZE, 31, keep=keep)
    assert prune_to_macs(arange_(Toy()), SIZE, 32, keep=keep).macs == 32
    with pytest.raises(UnreachableTarget, match="smallest reachable is 35"):  # half of each layer
        prune_to_macs(arange_(Toy()), SIZE, 34, floor=0.5)
    for impossible in (0, -5):
        with pytest.raises(UnreachableTarget) as refusal:
            prune_to_macs(arange_(Toy()), SIZE, impossible)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_the_floor_keeps_the_best_of_each_layer(scope):
    result = prune_to_macs(arange_(Toy()), SIZE, 36, floor=0.5, scope=scope)
    assert result.macs == 36
    assert kept(result, "conv") == [False, True]
    assert kept(result, "dw") == [False, True]
    assert kept(result, "fc") == [False] * 2 + [True] * 4


@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_layers_left_alone_keep_their_weights(scope):
    result = prune_to_macs(arange_(Toy()), SIZE, 66, keep=by_role("stem", "depthwise"), scope=scope)
    assert result.macs == 66 and all(kept(result, "conv") + kept(result, "dw")) and sum(kept(result, "fc")) == 2
    result = prune_to_macs(arange_(Toy()), SIZE, 52, keep=by_role("depthwise"), scope=scope)
    assert all(kept(result, "dw")) and result.macs <= 52


def test_a_shared_weight_counts_for_all_its_uses():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3, bias=False)
            self.b = nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight
            self.c = nn.Linear(3, 1, bias=False)

        def forward(self, x):
            return self.c(self.b(self.a(x.flatten(1))))

    model = Shared()
    model.a.weight.data = torch.arange(1.0, 10.0).view(3, 3)
    model.c.weight.data = torch.tensor([[0.5, 0.6, 0.7]])
    result = prune_to_macs(model, (3, 1, 1), 10)
    assert result.dense_macs == 21 and set(result.masks) == {"a.weight", "c.weight"}
    assert result.macs == 10 and kept(result, "a") == [False] * 4 + [True] * 5


def test_a_module_called_twice_counts_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 2, bias=False)

        def forward(self, x):
            return self.a(self.a(x.flatten(1)))

    result = prune_to_macs(arange_(Twice()), (2, 1, 1), 5)
    assert result.dense_macs == 8 and result.macs == 4 and kept(result, "a") == [False, False, True, True]


def test_weight_standardised_and_parametrised_layers_are_left_alone(caplog):
    from timm.layers.std_conv import StdConv2d

    model = nn.Sequential(
        StdConv2d(1, 2, 3, padding=1),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 1)),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    result = prune_to_macs(model, (1, 2, 2), 94)
    assert set(result.masks) == {"3.weight"} and result.dense_macs == 72 + 16 + 16 and result.macs == 94
    assert "left alone" in caplog.text


@pytest.mark.parametrize("name", ["regnetx_002", "edgenext_xx_small", "vit_tiny_patch16_224", "mixnet_s"])
@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_networks_of_other_families_are_recounted_at_the_target(name, scope):
    size = (3, 224, 224) if name.startswith("vit") else (3, 64, 64)
    model = timm.create_model(name, num_classes=10)
    target = count_macs(model, size).macs // 3
    result = prune_to_macs(model, size, target, scope=scope)
    apply_masks(model, result.masks)
    assert target * (1 - 1e-4) < count_macs(model, size).sparse_macs == result.macs <= target


def test_a_network_of_standardised_convolutions_is_refused(caplog):
    model = timm.create_model("nf_regnet_b0", num_classes=10)
    with pytest.raises(UnreachableTarget, match="in layers left alone"):
        prune_to_macs(model, (3, 64, 64), count_macs(model, (3, 64, 64)).macs // 2)
    assert "compute the weights they use: stem.conv (ScaledStdConv2d)" in caplog.text


def test_seeds_and_determinism():
    model = arange_(Toy())
    a, b, c = (prune_to_macs(model, SIZE, 40, criterion="random", seed=s).masks for s in (1, 1, 2))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert any(not torch.equal(a[k], c[k]) for k in a)


def test_all_weights_equal_are_cut_in_order_of_layer_and_index():
    model = Toy()
    for p in model.parameters():
        p.data.fill_(1.0)
    result = prune_to_macs(model, SIZE, 52)
    assert kept(result, "conv") == [True, True] and kept(result, "dw") == [True, False]
    assert kept(result, "fc") == [True] * 4 + [False] * 2 and result.macs == 52


def test_bad_arguments():
    model = Toy()
    with pytest.raises(ValueError, match="allowed: global, uniform"):
        prune_to_macs(model, SIZE, 30, scope="local")
    with pytest.raises(ValueError, match="floor is 2"):
        prune_to_macs(model, SIZE, 30, floor=2)
    with pytest.raises(ValueError, match=r"did you mean 'magnitude'.*allowed: .*lamp"):
        prune_to_macs(model, SIZE, 30, criterion="magnitud")
    with pytest.raises(ValueError, match="needs batches"):
        prune_to_macs(model, SIZE, 30, criterion="taylor")
    with pytest.raises(ValueError, match="no batches"):
        prune_to_macs(model, SIZE, 30, criterion="taylor", batches=[])
    model.fc.weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"'magnitude' on 'fc.weight': scores must be finite"):
        prune_to_macs(model, SIZE, 30)


class Chain(nn.Module):
    """Convolutions of different costs and a linear head; the weights are random with some zeros and ties."""

    def __init__(self, widths, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.convs = nn.Sequential(*(nn.Conv2d(a, b, 3, 2, 1, bias=False) for a, b in itertools.pairwise([1, *widths])))
        self.fc = nn.Linear(widths[-1], 5)
        for p in self.parameters():
            p.data = (p.data * 20).round() / 20

    def forward(self, x):
        return self.fc(self.convs(x).mean((2, 3)))


@given(
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    seed=st.integers(0, 100),
    share=st.floats(0.01, 1.2),
    scope=st.sampled_from(["global", "uniform"]),
    criterion=st.sampled_from(["magnitude", "macs_magnitude", "lamp", "random"]),
    floor=st.sampled_from([0.0, 0.0, 0.1]),
)
@settings(max_examples=80, deadline=None)
def test_never_above_and_within_one_weight(widths, seed, share, scope, criterion, floor):
    model = Chain(widths, seed)
    dense = prune_to_macs(model, (1, 16, 16), 10**12).dense_macs
    target = max(1, int(share * dense))
    try:
        result = prune_to_macs(model, (1, 16, 16), target, scope=scope, criterion=criterion, floor=floor)
    except UnreachableTarget as refusal:
        assert floor > 0 and "smallest reachable" in str(refusal)
        return
    weights = dict(model.named_parameters())
    by_hand = 0
    dropped_costs = []
    for row in result.layers:
        mask, weight = result.masks[f"{row.name}.weight"], weights[f"{row.name}.weight"]
        cost = row.macs // row.num_weights
        by_hand += int(mask.sum()) * cost
        assert not (mask & (weight == 0)).any()
        num_dropped = int((~mask & (weight != 0)).sum())
        dropped_costs += [cost] * bool(num_dropped)
        if num_dropped and criterion != "random":
            # Within a layer, every criterion here prunes the smallest weights.
            assert weight[~mask & (weight != 0)].abs().max() <= weight[mask].abs().min() if mask.any() else True
    assert by_hand == result.macs <= target
    if dropped_costs:
        within = min(dropped_costs) if scope == "global" else max(dropped_costs)
        assert target - result.macs < within


@given(seed=st.integers(0, 50), a=st.floats(0.05, 1), b=st.floats(0.05, 1))
@settings(max_examples=30, deadline=None)
def test_masks_are_nested_as_the_target_falls(seed, a, b):
    # All layers cost the same, so there is no gap to fill, and a smaller target's mask lies within a larger one's.
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
    dense = (36 + 144) * 36
    small, large = (prune_to_macs(model, (1, 6, 6), int(s * dense)).masks for s in sorted((a, b)))
    assert all(not (small[k] & ~large[k]).any() for k in small)


def test_uniform_keeps_the_same_share_everywhere():
    torch.manual_seed(0)
    model = Chain([6, 6, 6], 3)
    for p in model.parameters():
        p.data += 1e-3 * torch.rand_like(p)
    dense = prune_to_macs(model, (1, 16, 16), 10**12).dense_macs
    result = prune_to_macs(model, (1, 16, 16), dense // 3, scope="uniform")
    shares = [(row.num_kept / row.num_weights, 1 / row.num_weights) for row in result.layers]
    low = max(share - one for share, one in shares)
    high = min(share + one for share, one in shares)
    assert low < high + 1e-9


def test_a_criterion_can_be_an_object():
    class Index:
        """Ranks later weights as more important."""

        needs_gradients = False

        def scores(self, weight, context):
            return torch.arange(weight.numel()).float().view(weight.shape)

    result = prune_to_macs(arange_(Toy()), SIZE, 20, criterion=Index())
    assert result.criterion == "Index" and kept(result, "fc") == [False] * 2 + [True] * 4


def test_a_weight_used_as_convolution_and_as_matrix_is_one_layer():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = nn.Parameter(torch.arange(1.0, 5.0).view(2, 2, 1, 1))

        def forward(self, x):
            x = nn.functional.conv2d(x, self.kernel)
            return nn.functional.linear(x.mean((2, 3)), self.kernel.flatten(1))

    result = prune_to_macs(Both(), (2, 3, 3), 20)  # 9 + 1 MACs per weight
    assert result.dense_macs == 40 and result.macs == 20
    assert result.masks["kernel"].flatten().tolist() == [False, False, True, True]


@pytest.mark.parametrize("target", [0, -5])
def test_a_target_that_is_none(target):
    with pytest.raises(UnreachableTarget, match="allowed: 1 or more"):
        prune_to_macs(nn.Sequential(nn.Conv2d(3, 4, 1)), (3, 4, 4), target)
