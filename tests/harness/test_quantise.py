"""Int8 quantisation: folding and rounding by hand, zeros, a trained network's accuracy, files, unsupported networks."""

import copy
import subprocess
import sys

import numpy as np
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
from harness.delivery.folding import CannotQuantise, fix_constant_channels, fold_batch_norms, plain_layers
from harness.delivery.int8 import (
    Int8Network,
    calibration_batches,
    exported,
    int8_report,
    int8_weights,
    quantise,
    save_int8,
)
from harness.errors import InputError
from harness.models.build import build_network
from harness.training.loop import Hooks, evaluate, train
from harness.training.resume import StateFiles
from nas_baseline.spaces.families import network_spec
from pruning.masks import apply_masks
from pruning.solve import prune_to_macs

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

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


def quantised_from(model, calibration):
    return quantise(exported(model, calibration), calibration)


def outputs_of(quantised, images, folder):
    save_int8(quantised, folder / "m.onnx")
    return Int8Network(folder / "m.onnx")(images)


@pytest.fixture(scope="module")
def quantised(trained, splits):
    return quantised_from(trained, calibration_batches(splits))


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
            folded = fold_batch_norms(plain_layers(copy.deepcopy(model), x[:1]))
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
        # The second layer's inputs are in 0 to 1; half a step of 1/255, times 1000, exceeds any channel's variation.
        assert fix_constant_channels(model, [images]) == {"1": 1}
        assert second.weight[0].flatten().tolist() == [0.0, 0.0]
        assert float(second.bias[0]) == pytest.approx(float(before[:, 0].mean()), rel=1e-5)
        assert second.weight[1].flatten().tolist() == [0.0, 1.0]
        assert float(first.bias[0]) == 0.5
        assert torch.equal(model(images)[:, 1], before[:, 1])

    def test_a_channel_without_a_weight_keeps_its_bias(self, tmp_path):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
        with torch.no_grad():
            model[0].weight[3], model[0].bias[3], model[3].weight[1] = 0, 60.0, 0
            model[3].bias[1] = -300.0
        images = torch.randn(16, 1, 8, 8)
        outputs = outputs_of(quantised_from(model, [images]), images, tmp_path)
        assert outputs[:, 1].mean() == pytest.approx(-300, rel=0.02)


class TestWeights:
    def test_by_hand(self):
        model = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False)).eval()
        model[0].weight.data = torch.tensor([[2.56, 0.0, -1.28], [0.0, 0.0048, -0.0256]]).view(2, 3, 1, 1)
        (weight,) = int8_weights(quantised_from(model, [torch.rand(4, 3, 8, 8)])).values()
        # Scales are 2.56 / 64 = 0.04 and 0.0256 / 64 = 0.0004.
        assert weight.reshape(2, 3).tolist() == [[64, 0, -32], [0, 12, -64]]

    def test_symmetric_and_per_channel(self, quantised):
        stored, weights = module.tensors(quantised), int8_weights(quantised)
        nodes = {node.input[0]: node for node in quantised.graph.node if node.op_type == "DequantizeLinear"}
        for name, weight in weights.items():
            _, scales, zero_points = (stored[tensor] for tensor in nodes[name].input)
            assert not zero_points.any()
            assert len(scales) == len(weight)
            assert weight.dtype == np.int8
            assert abs(weight.astype(int)).max() <= 64, "7 bits"

    def test_a_channel_without_a_weight_has_the_largest_scale(self):
        model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1)).eval()
        model[0].weight.data = torch.tensor([0.64, 0.0, 1.28]).view(3, 1, 1, 1)
        quantised = quantised_from(model, [torch.rand(4, 1, 8, 8)])
        stored = module.tensors(quantised)
        (scales,) = (stored[node.input[1]] for node in quantised.graph.node if node.input[0] == "0.weight")
        assert scales.tolist() == pytest.approx([0.01, 0.02, 0.02])

    def test_every_layer_of_a_small_network_is_quantised(self, trained, quantised):
        layers = {name for name, m in trained.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
        assert set(int8_weights(quantised)) == {f"{name}.weight" for name in layers}

    def test_pruned_weights_stay_zero(self, trained, quantised):
        zeros = 0
        for name, weight in int8_weights(quantised).items():
            is_zero = (trained.get_parameter(name) == 0).numpy()
            assert not weight[is_zero].any()
            zeros += int(is_zero.sum())
        assert zeros > 10_000


class TestReport:
    @pytest.fixture(scope="class")
    @staticmethod
    def report(trained, splits, tmp_path_factory):
        path = tmp_path_factory.mktemp("int8") / "model.int8.onnx"
        return int8_report(trained, splits, path, {"mean": "[0.5]"}), path

    def test_accuracy_is_near_the_float_network(self, report, trained, splits):
        metrics, path = report
        val, test = (evaluate(trained, part, splits.info.task, CPU) for part in (splits.val, splits.test))
        assert test > 0.5, "a network that has learned nothing loses nothing"
        assert metrics["val_top1"] == pytest.approx(val, abs=0.04)
        assert metrics["test_top1"] == pytest.approx(test, abs=0.02)
        assert metrics["engine"] == "onnxruntime"
        assert "MinMax, weights of 7 bits" in metrics["method"]
        assert "reason" not in metrics
        assert evaluate(Int8Network(path), splits.test, splits.info.task, CPU) == metrics["test_top1"]

    def test_size_is_the_files(self, report, trained, tmp_path):
        metrics, path = report
        save_file(trained.state_dict(), tmp_path / "float.safetensors")
        assert metrics["size_bytes"] == path.stat().st_size < (tmp_path / "float.safetensors").stat().st_size

    def test_no_source_file_is_named_and_names_are_short(self, report):
        content = report[1].read_bytes()
        assert b"site-packages" not in content
        assert b"harness" not in content
        program = onnx.load_from_string(content)
        assert [entry.value for entry in program.metadata_props if entry.key == "mean"] == ["[0.5]"]
        assert [part.name for part in (*program.graph.input, *program.graph.output)] == ["images", "logits"]
        assert sum(node.ByteSize() for node in program.graph.node) < 0.25 * len(content)
        onnx.checker.check_model(program, full_check=True)

    def test_again_gives_the_same_and_disturbs_nothing(self, report, trained, splits, tmp_path):
        before = {n: v.clone() for n, v in trained.state_dict().items()}
        again = int8_report(trained, splits, tmp_path / "again.onnx", {"mean": "[0.5]"})
        assert again == report[0]
        assert (tmp_path / "again.onnx").read_bytes() == report[1].read_bytes()
        assert all(torch.equal(before[name], value) for name, value in trained.state_dict().items())
        assert not trained.training

    def test_runs_with_onnxruntime_alone_at_any_batch_size(self, report, tmp_path):
        images = np.random.default_rng(0).normal(size=(5, 1, 28, 28)).astype(np.float32)
        np.savez(tmp_path / "expected.npz", images=images, logits=Int8Network(report[1])(torch.from_numpy(images)))
        code = (
            "import sys, numpy, onnxruntime\n"
            f"session = onnxruntime.InferenceSession({str(report[1])!r}, providers=['CPUExecutionProvider'])\n"
            "given = numpy.load('expected.npz')\n"
            "for n in (5, 1):\n"
            "    (logits,) = session.run(None, {'images': given['images'][:n]})\n"
            "    print(numpy.allclose(logits, given['logits'][:n], atol=1e-5))\n"
            "print([m for m in sys.modules if m in ('torch', 'timm', 'harness', 'pruning')])\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout.split("\n")[:3] == ["True", "True", "[]"]


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
        images = torch.randn(4, 3, 45, 45)
        quantised = quantised_from(model, [images])
        made, weights = {node.output[0]: node for node in quantised.graph.node}, int8_weights(quantised)
        layers = [node for node in quantised.graph.node if node.op_type in module.LAYERS]
        assert len(layers) == sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules())
        assert all(made[node.input[1]].input[0] in weights for node in layers), "equal weights may be stored once"
        outputs = outputs_of(quantised, images[:3], tmp_path)
        with torch.no_grad():
            expected = model(images[:3])
        assert float((outputs - expected).abs().max()) < 0.3 * float(expected.abs().max())


class Branching(nn.Module):
    """A network that no symbolic tracer can follow."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 28)

    def forward(self, x):
        return self.conv(x).flatten(1) if x.sum() > 0 else self.conv(-x).flatten(1)


class TestCannot:
    def report(self, model, splits, tmp_path):
        report = int8_report(model.eval(), splits, tmp_path / "m.onnx")
        assert [report[key] for key in ("val_top1", "test_top1", "size_bytes", "engine")] == [None] * 4
        assert list(tmp_path.iterdir()) == []
        assert "\n" not in report["reason"]
        return report["reason"]

    def test_follow_the_network(self, splits, tmp_path):
        assert "torch.fx cannot trace" in self.report(Branching(), splits, tmp_path)

    def test_find_a_layer(self, splits, tmp_path):
        assert "no layer" in self.report(nn.Sequential(nn.Flatten(), nn.Identity()), splits, tmp_path)

    def test_export_the_network(self, splits, tmp_path, monkeypatch):
        def refuse(*args):
            raise ValueError("export.onnx: torch cannot export the network: no")

        monkeypatch.setattr(module, "onnx_program", refuse)
        reason = self.report(nn.Sequential(nn.Conv2d(1, 10, 28), nn.Flatten()), splits, tmp_path)
        assert reason == "torch cannot export the network: no"

    def test_get_through_the_quantiser(self, splits, tmp_path, monkeypatch):
        def fail(*args, **kwargs):
            raise AssertionError("two\nlines")

        monkeypatch.setattr("onnxruntime.quantization.quantize_static", fail)
        reason = self.report(nn.Sequential(nn.Conv2d(1, 10, 28), nn.Flatten()), splits, tmp_path)
        assert reason.startswith("ONNX Runtime cannot quantise the network (AssertionError: two")

    def test_do_without_the_extra(self, splits, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(InputError, match=r"export\.int8: .*pip install .*\[onnx\]"):
            int8_report(nn.Sequential(nn.Conv2d(1, 10, 28), nn.Flatten()).eval(), splits, tmp_path / "m.onnx")

    def test_keep_zeros(self, monkeypatch):
        model = nn.Sequential(nn.Conv2d(1, 2, 1)).eval()
        model[0].weight.data[0] = 0
        monkeypatch.setattr(module, "int8_weights", lambda q: {"0.weight": np.ones((2, 1, 1, 1), np.int8)})
        with pytest.raises(CannotQuantise, match=r"pruned weights of 0\.weight would not stay zero"):
            quantised_from(model, [torch.randn(2, 1, 8, 8)])


def test_a_transformer_without_one_of_its_blocks_is_quantised():
    """A trace calls the place of the block with the keywords of a block, which ``nn.Identity`` does not take."""
    torch.manual_seed(0)
    model = timm.models.VisionTransformer(
        img_size=16, patch_size=8, in_chans=1, num_classes=3, embed_dim=16, depth=3, num_heads=2
    ).eval()
    model.blocks[1] = nn.Identity()
    images = torch.randn(8, 1, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(
            fold_batch_norms(plain_layers(copy.deepcopy(model), images[:1]))(images), model(images)
        )
    assert int8_weights(quantise(exported(model, [images]), [images]))


def test_a_trace_that_does_not_run_is_said_and_no_file_is_made(monkeypatch):
    def fail(*_):
        raise TypeError("an unexpected keyword")

    monkeypatch.setattr(module, "fix_constant_channels", fail)
    with pytest.raises(CannotQuantise, match=r"the traced network does not run \(TypeError: an unexpected keyword\)"):
        exported(build_network(MINI).eval(), [torch.zeros(2, 1, 28, 28)])
