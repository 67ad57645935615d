"""Int8 quantisation: folding and rounding by hand, zeros, a trained network's accuracy, files, unsupported networks."""

import subprocess
import sys
import zipfile

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import BatchNormAct2d
from torch import nn

from harness.config.recipe import Recipe
from harness.config.study import DatasetConfig
from harness.data.registry import open_dataset
from harness.delivery import int8 as module
from harness.delivery.int8 import (
    CannotQuantise,
    calibration_batches,
    fix_constant_channels,
    fold_batch_norms,
    int8_report,
    int8_weights,
    load_int8,
    quantise,
    save_int8,
)
from harness.models.build import build_network
from harness.training.loop import Hooks, evaluate, train
from harness.training.resume import StateFiles
from nas_baseline.spaces.families import network_spec
from pruning.masks import apply_masks
from pruning.solve import prune_to_macs

CPU = torch.device("cpu")
MINI = network_spec("fbnetv3_mini", "s", 1, 10)


@pytest.fixture(scope="module")
def splits():
    return open_dataset(DatasetConfig(name="fashion_mnist_mini", num_train=2000)).splits()


@pytest.fixture(scope="module")
def trained(splits, tmp_path_factory):
    """A small network with hard-swish, hard-sigmoid and SE, pruned to half of its MACs and trained a little."""
    torch.manual_seed(0)
    model = build_network(MINI)
    masks = dict(prune_to_macs(model, (1, 28, 28), 250_000, floor=0.05).masks)
    apply_masks(model, masks)
    resume = tmp_path_factory.mktemp("training") / "resume.pt"
    recipe, hooks = Recipe(epochs=4, batch_size=50), Hooks(lambda _: None, lambda _: None)
    return train(
        model, splits, recipe, seed=1, device=CPU, masks=masks, files=StateFiles(resume), hooks=hooks
    ).model.eval()


@pytest.fixture(scope="module")
def quantised(trained, splits):
    return quantise(trained, calibration_batches(splits))


def warm(model, side):
    """Give batch norms statistics other than 0 and 1."""
    torch.manual_seed(1)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, model.conv_stem.in_channels if hasattr(model, "conv_stem") else 3, side, side))
    return model.eval()


class TestFolding:
    def test_by_hand(self):
        model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=True), nn.BatchNorm2d(2, eps=0.0)).eval()
        conv, norm = model
        conv.weight.data, conv.bias.data = torch.tensor([3.0, 0.0]).view(2, 1, 1, 1), torch.tensor([1.0, 4.0])
        norm.weight.data, norm.bias.data = torch.tensor([2.0, 1.0]), torch.tensor([10.0, 0.0])
        norm.running_mean, norm.running_var = torch.tensor([5.0, 1.0]), torch.tensor([4.0, 9.0])
        folded = fold_batch_norms(model)
        conv = folded.get_submodule("0")
        assert conv.weight.flatten().tolist() == [3.0 * 2 / 2, 0.0], "weight times gamma over sigma; zero stays zero"
        assert conv.bias.tolist() == [pytest.approx((1 - 5) * 2 / 2 + 10), pytest.approx((4 - 1) / 3)]
        assert isinstance(folded.get_submodule("1"), nn.Identity)

    def test_a_convolution_used_twice_is_left_alone(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

            def forward(self, x):
                return self.norm(self.conv(self.conv(x)))

        model = warm(Twice(), 4)
        folded, x = fold_batch_norms(model), torch.randn(2, 3, 4, 4)
        assert isinstance(folded.norm, nn.BatchNorm2d)
        assert torch.equal(folded(x), model(x))

    @pytest.mark.parametrize("name", ["mobilenetv3_small_050", "tf_efficientnet_lite0", "resnet10t"])
    def test_gives_the_same_outputs(self, name):
        model, x = warm(timm.create_model(name, num_classes=5), 45), torch.randn(2, 3, 45, 45)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        with torch.no_grad():
            folded = fold_batch_norms(module._plain_layers(module.copy.deepcopy(model), x[:1]))
            torch.testing.assert_close(folded(x), model(x), rtol=1e-3, atol=1e-4)
        assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d | BatchNormAct2d)]
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


class TestConstantChannels:
    """Channels that pruning leaves without a weight, and channels in which int8 would see only noise."""

    def test_by_hand(self):
        model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)).eval()
        first, second = model
        first.weight.data, first.bias.data = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.tensor([0.5, 0.0])
        second.weight.data = torch.tensor([[1000.0, 0.01], [0.0, 1.0]]).view(2, 2, 1, 1)
        second.bias.data = torch.tensor([-497.0, 0.25])
        images = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        before = model(images).detach().clone()
        # The second layer's inputs are in 0 to 1; half a step of 1/127, times 1000, exceeds any channel's variation.
        assert fix_constant_channels(model, [images]) == {"1": 1}
        assert second.weight[0].flatten().tolist() == [0.0, 0.0]
        assert float(second.bias[0]) == pytest.approx(float(before[:, 0].mean()), rel=1e-5)
        assert second.weight[1].flatten().tolist() == [0.0, 1.0]
        assert float(first.bias[0]) == 0.5
        assert torch.equal(model(images)[:, 1], before[:, 1])

    def test_a_channel_without_a_weight_keeps_its_bias(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
        with torch.no_grad():
            model[0].weight[3], model[0].bias[3], model[3].weight[1] = 0, 60.0, 0
            model[3].bias[1] = -300.0
        images = torch.randn(16, 1, 8, 8)
        outputs = quantise(model, [images])(images)
        assert outputs[:, 1].mean() == pytest.approx(-300, rel=0.02)


class TestWeights:
    def test_by_hand(self):
        model = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False)).eval()
        model[0].weight.data = torch.tensor([[2.55, 0.0, -1.275], [0.0, 0.0051, -0.0255]]).view(2, 3, 1, 1)
        (weight,) = int8_weights(quantise(model, [torch.rand(4, 3, 8, 8)])).values()
        # Scales are 2.55 / 127.5 = 0.02 and 0.0255 / 127.5 = 0.0002; 127.5 does not fit and becomes 127.
        assert weight.view(2, 3).tolist() == [[127, 0, -64], [0, 26, -128]]

    def test_symmetric_and_per_channel(self, quantised):
        weights = [m.weight() for m in quantised.modules() if callable(getattr(m, "weight", None))]
        for weight in weights:
            assert weight.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric)
            assert not weight.q_per_channel_zero_points().any()
            assert len(weight.q_per_channel_scales()) == len(weight)
            assert weight.dtype == torch.qint8

    def test_every_layer_of_a_small_network_is_quantised(self, trained, quantised):
        layers = {name for name, m in trained.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
        assert set(int8_weights(quantised)) == layers

    def test_pruned_weights_stay_zero(self, trained, quantised):
        zeros = 0
        for name, weight in int8_weights(quantised).items():
            is_zero = trained.get_submodule(name).weight == 0
            assert not weight[is_zero].any()
            zeros += int(is_zero.sum())
        assert zeros > 10_000

    def test_hard_swish_hard_sigmoid_and_se_run_in_int8(self, quantised):
        """Floats occur only at the two ends: images are quantised once, and logits dequantised once."""
        targets = [node.target for node in quantised.graph.nodes]
        assert targets.count(torch.quantize_per_tensor) == 1
        assert targets.count("dequantize") == 1
        kinds = {type(m).__name__ for m in quantised.modules()}
        assert "Hardswish" in kinds
        assert "Hardsigmoid" in kinds


class TestReport:
    @pytest.fixture(scope="class")
    @staticmethod
    def report(trained, splits, tmp_path_factory):
        path = tmp_path_factory.mktemp("int8") / "model.int8.pt"
        return int8_report(trained, splits, path), path

    def test_accuracy_is_near_the_float_network(self, report, trained, splits):
        metrics, path = report
        val, test = (evaluate(trained, part, splits.info.task, CPU) for part in (splits.val, splits.test))
        assert test > 0.5, "a network that has learned nothing loses nothing"
        assert metrics["val_top1"] == pytest.approx(val, abs=0.04)
        assert metrics["test_top1"] == pytest.approx(test, abs=0.02)
        assert metrics["engine"] in torch.backends.quantized.supported_engines
        assert "reason" not in metrics
        assert evaluate(load_int8(path, metrics["engine"]), splits.test, splits.info.task, CPU) == metrics["test_top1"]

    def test_size_is_the_files(self, report, trained, tmp_path):
        metrics, path = report
        save_file(trained.state_dict(), tmp_path / "float.safetensors")
        assert metrics["size_bytes"] == path.stat().st_size < (tmp_path / "float.safetensors").stat().st_size

    def test_no_source_file_is_named(self, report):
        with zipfile.ZipFile(report[1]) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())
        assert b"site-packages" not in content
        assert b"harness" not in content

    def test_again_gives_the_same_and_disturbs_nothing(self, report, trained, splits, tmp_path):
        before, engine = {n: v.clone() for n, v in trained.state_dict().items()}, torch.backends.quantized.engine
        again = int8_report(trained, splits, tmp_path / "again.pt")
        assert again == report[0]
        assert (tmp_path / "again.pt").read_bytes() == report[1].read_bytes()
        assert torch.backends.quantized.engine == engine
        assert all(torch.equal(before[name], value) for name, value in trained.state_dict().items())
        assert not trained.training

    def test_loads_with_torch_alone_and_gives_the_same(self, report, quantised, tmp_path):
        images = torch.randn(5, 1, 28, 28)
        torch.save((images, quantised(images)), tmp_path / "expected.pt")
        code = (
            "import sys, torch\n"
            f"torch.backends.quantized.engine = {report[0]['engine']!r}\n"
            f"model = torch.jit.load({str(report[1])!r})\n"
            "images, expected = torch.load('expected.pt')\n"
            "print(torch.equal(model(images), expected), torch.equal(model(images[:1]), expected[:1]),\n"
            "      [m for m in sys.modules if m in ('timm', 'harness', 'pruning')])\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout.split("\n")[0] == "True True []"


def test_calibration_batches_are_always_the_same_and_leave_the_generator(splits):
    state = torch.get_rng_state()
    one, two = calibration_batches(splits), calibration_batches(splits)
    assert torch.equal(torch.get_rng_state(), state)
    assert [tuple(images.shape) for images in one] == [(64, 1, 28, 28)] * 4
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


class TestFamilies:
    @pytest.mark.parametrize(
        "name",
        [
            "mobilenetv3_small_050",
            "tf_efficientnet_lite0",
            "efficientnet_b0",
            "resnet10t",
        ],
    )
    def test_of_timm(self, name, tmp_path):
        model = warm(timm.create_model(name, num_classes=5), 45)
        weight = model.get_submodule(
            next(n for n, m in reversed(list(model.named_modules())) if isinstance(m, nn.Conv2d))
        )
        weight.weight.data[weight.weight.abs() < weight.weight.abs().median()] = 0
        quantised = quantise(model, [torch.randn(4, 3, 45, 45)])
        assert len(int8_weights(quantised)) == sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules())
        save_int8(quantised, (3, 45, 45), tmp_path / "m.pt")
        images = torch.randn(3, 3, 45, 45)
        assert torch.equal(load_int8(tmp_path / "m.pt", module.choose_engine())(images), quantised(images))


class Branching(nn.Module):
    """A network that no symbolic tracer can follow."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 28)

    def forward(self, x):
        return self.conv(x).flatten(1) if x.sum() > 0 else self.conv(-x).flatten(1)


class TestCannot:
    def report(self, model, splits, tmp_path):
        report = int8_report(model.eval(), splits, tmp_path / "m.pt")
        assert [report[key] for key in ("val_top1", "test_top1", "size_bytes")] == [None] * 3
        assert list(tmp_path.iterdir()) == []
        assert "\n" not in report["reason"]
        return report["reason"]

    def test_follow_the_network(self, splits, tmp_path):
        assert "torch.fx cannot trace" in self.report(Branching(), splits, tmp_path)

    def test_find_a_layer(self, splits, tmp_path):
        assert "no layer" in self.report(nn.Sequential(nn.Flatten(), nn.Identity()), splits, tmp_path)

    def test_find_kernels(self, splits, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "_ENGINES", ("other",))
        assert "none of the int8 kernels other" in self.report(build_network(MINI), splits, tmp_path)

    def test_find_torch_ao(self, splits, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch.ao.quantization.quantize_fx", None)
        assert "quantize_fx" in self.report(build_network(MINI), splits, tmp_path)

    def test_keep_zeros(self, trained, monkeypatch):
        monkeypatch.setattr(
            module, "int8_weights", lambda q: {"conv_stem": torch.ones_like(trained.conv_stem.weight, dtype=torch.int8)}
        )
        trained = module.copy.deepcopy(trained)
        trained.conv_stem.weight.data[0] = 0
        with pytest.raises(CannotQuantise, match="pruned weights of conv_stem would not stay zero"):
            quantise(trained, [torch.randn(2, 1, 28, 28)])
