"""MACs match networks counted by hand, and fvcore's counts of real networks."""

from __future__ import annotations

import copy
import logging
import time

import pytest
import timm
import torch
import torch.nn.functional as F
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.nn.utils import prune

from accounting.macs.count import LayerMacs, MacsReport, count_macs

FAMILIES = [
    "fbnetv3_b",
    "fbnetv3_d",
    "fbnetv3_g",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_100",
    "resnet18",
]


def by_fvcore(model: nn.Module, input_size: tuple[int, ...]) -> int:
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    analysis = FlopCountAnalysis(model.eval(), torch.zeros(1, *input_size))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    operators = analysis.by_operator()
    return int(operators["conv"] + operators["linear"])


def by_modules(model: nn.Module, input_size: tuple[int, ...]) -> int:
    """Non-zero MACs from forward hooks and the textbook formula, as an independent count."""
    total = 0

    def hook(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        positions = output.shape[2:].numel() if isinstance(module, nn.Conv2d) else output.shape[:-1].numel()
        total += int((module.weight != 0).sum()) * positions

    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        model.eval()(torch.zeros(1, *input_size))
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize("name", FAMILIES)
def test_equals_fvcore(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False)
    report = count_macs(model, (3, 224, 224))
    assert report.macs == by_fvcore(model, (3, 224, 224))
    assert report.params == sum(parameter.numel() for parameter in model.parameters())
    assert report.uncounted == ()
    assert {layer.name for layer in report.layers} == {
        layer for layer, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))
    }
    assert all(layer.macs == layer.num_weights * layer.positions for layer in report.layers)


def test_sparse_macs_of_a_pruned_network_equal_a_count_by_hooks() -> None:
    torch.manual_seed(0)
    model = timm.create_model("mobilenetv3_small_100", pretrained=False)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter[torch.rand_like(parameter) < 0.6] = 0
    report = count_macs(model, (3, 96, 96))
    assert report.sparse_macs == by_modules(model, (3, 96, 96)) < report.macs
    assert report.nonzero == sum(int((parameter != 0).sum()) for parameter in model.parameters())


def layers_of(report: MacsReport) -> dict[str, LayerMacs]:
    return {layer.name: layer for layer in report.layers}


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)  # 8x8 -> 4x4
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 6, 1, groups=2, bias=False)
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        return self.head(self.grouped(self.depthwise(x)).mean((2, 3)))


def test_toy_by_hand() -> None:
    report = count_macs(Toy(), (3, 8, 8))
    assert report.layers == (
        LayerMacs("stem", "conv", 3 * 9 * 8 * 16, 3 * 9 * 8, 3 * 9 * 8, 16, 1, (8, 3, 3, 3)),
        LayerMacs("depthwise", "conv", 9 * 8 * 16, 72, 72, 16, 8, (8, 1, 3, 3)),
        LayerMacs("grouped", "conv", 4 * 6 * 16, 24, 24, 16, 2, (6, 4, 1, 1)),
        LayerMacs("head", "linear", 60, 60, 60, 1, 1, (10, 6)),
    )
    assert report.macs == 3456 + 1152 + 384 + 60
    assert report.params == (216 + 8) + 16 + (72 + 8) + 24 + (60 + 10)
    assert (report.num_weights, report.num_nonzero_weights) == (372, 372)


def test_toy_masked_by_hand() -> None:
    model = Toy()
    with torch.no_grad():
        model.stem.weight[2:] = 0  # 2 of 8 filters remain
        model.depthwise.weight[0] = 0  # 7 of 8
        model.head.weight[:, 0] = 0  # 5 of 6 inputs
    report = count_macs(model, (3, 8, 8))
    assert report.sparse_macs == 2 * 27 * 16 + 7 * 9 * 16 + 24 * 16 + 50
    assert report.num_nonzero_weights == 54 + 63 + 24 + 50
    assert report.macs == 5052


def test_masks_of_torch_prune_count_by_their_values() -> None:
    model = Toy()
    for module, amount in ((model.stem, 54), (model.head, 30)):
        prune.random_unstructured(module, "weight", amount=amount)
    stale = model.stem.weight
    report = count_macs(model, (3, 8, 8))
    assert report.macs == 5052
    assert layers_of(report)["stem"].sparse_macs == (216 - 54) * 16
    assert layers_of(report)["head"].sparse_macs == 30
    assert report.uncounted == ()
    assert model.stem.weight is stale


def test_parametrised_weights_count_by_their_values() -> None:
    class Half(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * (torch.arange(weight.shape[0]) % 2)[:, None]

    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    torch.nn.utils.parametrize.register_parametrization(model[0], "weight", Half())
    report = count_macs(model, (4,))
    assert [(layer.name, layer.macs, layer.sparse_macs) for layer in report.layers] == [("0", 24, 12), ("1", 12, 12)]
    assert report.uncounted == ()


def test_a_module_called_twice_counts_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, stride=2, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x))

    (layer,) = count_macs(Twice(), (4, 8, 8)).layers
    assert (layer.positions, layer.num_weights, layer.macs) == (16 + 4, 144, 144 * 20)


def test_a_shared_weight_is_one_weight_used_by_two_modules() -> None:
    model = nn.Sequential(nn.Linear(5, 5, bias=False), nn.ReLU(), nn.Linear(5, 5, bias=False))
    model[2].weight = model[0].weight
    with torch.no_grad():
        model[0].weight[0] = 0
    report = count_macs(model, (5,))
    (layer,) = report.layers
    assert (layer.name, layer.macs, layer.sparse_macs) == ("0", 50, 40)
    assert (report.params, report.nonzero) == (25, 20)


def test_functional_calls_and_slices_count() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.ones(6, 4))
            self.filters = nn.Parameter(torch.ones(2, 1, 3, 3))
            self.product = nn.Parameter(torch.ones(12, 7))
            self.mixed = nn.Parameter(torch.ones(3, 7))

        def forward(self, x: Tensor) -> Tensor:
            x = F.conv2d(x, self.filters)  # 1x6x6 -> 2x4x4
            x = F.linear(x, self.matrix[:3])  # rows of 4 -> 3, 2 x 4 rows
            x = torch.cat([x.flatten(), torch.zeros_like(x.flatten())])[:12]
            x = (x @ self.product)[None]
            return torch.einsum("nc,dc->nd", x, self.mixed)

    report = count_macs(Functional(), (1, 6, 6))
    assert [(layer.name, layer.kind, layer.macs, layer.positions) for layer in report.layers] == [
        ("filters", "conv", 18 * 16, 16),
        ("matrix[0]", "linear", 12 * 8, 8),
        ("product", "linear", 84, 1),
        ("mixed", "linear", 21, 1),
    ]
    assert report.uncounted == ()


@pytest.mark.parametrize(
    ("module", "input_size", "macs"),
    [
        (nn.Conv1d(3, 5, 4), (3, 10), 3 * 5 * 4 * 7),
        (nn.Conv3d(2, 3, 2), (2, 4, 4, 4), 2 * 3 * 8 * 27),
        (nn.ConvTranspose2d(3, 5, 2, stride=2), (3, 4, 4), 3 * 5 * 4 * 16),  # each weight at every input position
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 5, 5), 4 * 3 * 9 * 25),
        (nn.ConvTranspose1d(3, 5, 2), (3, 7), 3 * 5 * 2 * 7),
        (nn.Conv2d(3, 4, 3, dilation=2), (3, 9, 9), 3 * 4 * 9 * 25),
        (nn.Linear(7, 3), (2, 5, 7), 2 * 5 * 21),
        (nn.LazyLinear(3), (4,), 12),
    ],
)  # fmt: skip
def test_single_layers_by_hand(module: nn.Module, input_size: tuple[int, ...], macs: int) -> None:
    if isinstance(module, nn.LazyLinear):
        module(torch.zeros(1, *input_size))
    assert count_macs(module, input_size).macs == macs


@pytest.mark.parametrize("is_real", [False, True])
def test_attention_counts_its_projections_only(is_real: bool) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.block(x + float(x.sum()) if is_real else x)

    report = count_macs(Attention(), (5, 8))
    assert report.macs == 5 * (8 * 24 + 8 * 8 + 8 * 16 + 16 * 8)
    assert report.uncounted == ()


def test_what_is_not_counted_is_listed() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.position = nn.Parameter(torch.zeros(1, 4))
            self.unused = nn.Linear(4, 4)
            self.recurrent = nn.LSTM(4, 3, batch_first=True)
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.recurrent(x + self.position)[0])

    report = count_macs(Odd(), (6, 4))
    assert report.macs == 6 * (4 * 12 + 3 * 12) + 6 * (3 * 2)  # 4 gates of 3; every step
    assert report.uncounted == ("position", "unused.weight")


def test_an_untouched_model_stays_as_it_was() -> None:
    model = Toy()
    model.norm.eval()
    model.head.register_forward_hook(lambda *_: None)
    modes = [module.training for module in model.modules()]
    before, state = copy.deepcopy(model), model.state_dict()
    parameters = dict(model.named_parameters())
    for _ in range(2):
        count_macs(model, (3, 8, 8))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[key], value) for key, value in before.state_dict().items())
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    for module, old in zip(model.modules(), before.modules(), strict=True):
        assert len(module._forward_hooks) == len(old._forward_hooks)
        assert len(module._forward_pre_hooks) == len(old._forward_pre_hooks)
    model(torch.zeros(2, 3, 8, 8)).sum().backward()


class Decides(nn.Module):
    """A network that cannot run on shapes alone, because the layer it calls depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.small, self.large = nn.Linear(4, 2), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.small(x) if float(x.sum()) == 0 else self.large(x)


def test_a_model_that_decides_by_values_runs_for_real() -> None:
    model = Decides()
    before = copy.deepcopy(model.state_dict())
    report = count_macs(model, (4,))
    assert (report.macs, report.uncounted) == (8, ("large.weight",))
    assert model.training and model.norm.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())


def test_a_broken_model_fails_and_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 4))
    with pytest.raises(RuntimeError):
        count_macs(model, (4,))
    assert model.training
    assert not model[0]._forward_hooks
    assert not torch.is_inference_mode_enabled()


def test_a_model_on_the_meta_device_counts_as_dense() -> None:
    with torch.device("meta"):
        model = Toy()
    report = count_macs(model, (3, 8, 8))
    assert (report.macs, report.sparse_macs, report.nonzero) == (5052, 5052, report.params)
    with torch.device("meta"), pytest.raises(Exception, match=r"meta|Tensor\.item"):
        count_macs(Decides(), (4,))


def test_half_precision_and_channels_last() -> None:
    model = Toy().to(torch.bfloat16, memory_format=torch.channels_last)
    with torch.no_grad():
        model.stem.weight[1:] = 0
    report = count_macs(model, (3, 8, 8))
    assert (report.macs, layers_of(report)["stem"].sparse_macs) == (5052, 27 * 16)


def test_a_network_without_weights() -> None:
    assert count_macs(nn.Flatten(), (3, 4)) == MacsReport((), 0, 0, ())


def test_is_far_faster_than_a_real_pass_would_be_at_high_resolution() -> None:
    model = timm.create_model("fbnetv3_b", pretrained=False)
    count_macs(model, (3, 64, 64))
    begin = time.perf_counter()
    report = count_macs(model, (3, 2048, 2048))  # a real pass takes about 35 GMACs
    assert time.perf_counter() - begin < 2
    assert report.macs > 30e9
