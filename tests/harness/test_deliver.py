"""Delivered folders: dense, masked and physically smaller networks, cards whose code is run, and failures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from deliveries import (
    CPU,
    DATASET,
    PLAIN,
    SHAPE,
    SMALL,
    SPEC,
    alone,
    card_code,
    deliver,
    delivered,
    job,
    masked,
    names,
    network,
    noise,
)
from safetensors.torch import load_file

from accounting.study.folder import StudyFolder
from harness.config.study import DatasetConfig, ExportConfig
from harness.data import fashion_mnist_mini
from harness.data.registry import open_dataset
from harness.delivery import deliver as module
from harness.jobs.work import Deliver
from pruning.blocks import remove_blocks, residual_blocks
from pruning.structured import prune_channels_to_macs


@pytest.fixture(scope="module")
def splits():
    return noise()


@pytest.fixture
def paths(tmp_path):
    return StudyFolder(tmp_path / "study")


class TestFolder:
    def test_of_a_dense_network(self, paths, splits):
        metrics = deliver(job(network(), paths), paths, splits, DATASET, CPU)
        folder = paths.root / metrics["model_dir"]
        assert names(folder) == PLAIN
        assert json.loads((folder / "metrics.json").read_text()) == metrics
        size = (folder / "model.safetensors").stat().st_size
        assert metrics["size_bytes"] == {"float": size, "sparse": None, "int8": None, "onnx": None, "program": None}
        assert metrics["sparsity"] == 0
        assert not {"int8", "latency", "onnx_max_abs_error"} & set(metrics)
        spec = json.loads((folder / "architecture.json").read_text())
        assert spec["network"] == SPEC
        assert spec["eval_batch_size"] == 250
        assert (spec["class_names"], spec["crop_pct"], spec["interpolation"]) == ([], 1.0, "bilinear")
        assert spec["data"] == {
            "name": "fashion_mnist_mini",
            "path": None,
            "fingerprint": open_dataset(DATASET).fingerprint(),
        }

    def test_of_a_masked_network(self, paths, splits):
        model = masked()
        metrics = deliver(job(model, paths, target=600_000), paths, splits, DATASET, CPU)
        folder = paths.root / metrics["model_dir"]
        assert names(folder) == PLAIN | {"model.sparse.safetensors"}
        weights = load_file(folder / "model.safetensors")
        assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
        layers = [
            weights[f"{name}.weight"]
            for name, m in model.named_modules()
            if isinstance(m, module.nn.Conv2d | module.nn.Linear)
        ]
        by_hand = sum(int((w == 0).sum()) for w in layers) / sum(w.numel() for w in layers)
        assert metrics["sparsity"] == pytest.approx(by_hand)
        assert by_hand > 0.2
        assert 0.99 * 600_000 < metrics["macs"] <= 600_000 < metrics["dense_macs"]
        assert metrics["size_bytes"]["sparse"] < metrics["size_bytes"]["float"]
        assert "masks" not in " ".join(names(folder))

    def test_too_few_zeros_for_a_sparse_file(self, paths, splits):
        model = network()
        for parameter in model.parameters():
            parameter.data[parameter == 0] = 0.01  # the biases are new and still zero
        model.conv_stem.weight.data[0, 0, 0, 0] = 0
        metrics = deliver(job(model, paths), paths, splits, DATASET, CPU)
        assert names(paths.root / metrics["model_dir"]) == PLAIN
        assert metrics["sparsity"] > 0

    @pytest.mark.slow
    def test_again_replaces_it_by_the_same(self, paths, splits, snapshot):
        model = prune_channels_to_macs(network(), SHAPE, 600_000).model
        export = ExportConfig(onnx=True, int8=True)
        first = delivered(job(model, paths), paths, splits, DATASET, CPU, export)
        before = snapshot(paths.root)
        (paths.root / first["model_dir"] / "stray").write_text("of an earlier version")
        assert delivered(job(model, paths), paths, splits, DATASET, CPU, export) == first
        after = snapshot(paths.root)
        # Files from torch.export and the ONNX exporter contain ids that differ each time.
        assert {p for p in before if before[p] != after.get(p)} <= {
            str(Path(first["model_dir"]) / file) for file in ("model.pt2", "model.onnx")
        }
        assert set(before) == set(after)

    def test_published_weights_are_not_fetched_for_it(self, paths, splits, monkeypatch):
        asked, create = [], timm.create_model

        def watched(name, **kwargs):
            asked.append(kwargs)
            return create(name, **kwargs)

        monkeypatch.setattr(timm, "create_model", watched)
        spec = {"builder": "timm", "name": "mobilenetv3_small_050", "kwargs": {"in_chans": 1, "num_classes": 10}}
        model = network(spec)
        asked.clear()
        given = {**spec, "kwargs": {**spec["kwargs"], "pretrained": True}}
        metrics = deliver(job(model, paths, given, target=None), paths, splits, DATASET, CPU)
        assert asked == [spec["kwargs"]]
        info = json.loads((paths.root / metrics["model_dir"] / "architecture.json").read_text())
        assert info["network"] == spec


class TestSmaller:
    """Networks that timm cannot build are delivered as whole programs, which torch alone can load."""

    @pytest.fixture(params=["channels", "blocks"])
    def smaller(self, request):
        model = network()
        if request.param == "channels":
            return prune_channels_to_macs(model, SHAPE, 600_000).model.eval()
        return remove_blocks(model, residual_blocks(model, SHAPE)[:2]).eval()

    def test_is_delivered_and_loads_with_torch_alone(self, smaller, paths, splits):
        metrics = deliver(job(smaller, paths), paths, splits, DATASET, CPU)
        folder = paths.root / metrics["model_dir"]
        assert names(folder) == PLAIN | {"model.pt2"}
        assert metrics["params"] == sum(p.numel() for p in smaller.parameters())
        assert metrics["macs"] == metrics["dense_macs"] < 1_000_000
        images = torch.randn(7, *SHAPE)
        with torch.no_grad():
            torch.save((images, smaller(images)), paths.root / "expected.pt")
        code = card_code(folder, "model.pt2") + (
            f"images, expected = torch.load({str(paths.root / 'expected.pt')!r})\n"
            "with torch.no_grad():\n"
            "    print(torch.equal(model(images), expected), torch.allclose(model(images[:1]), expected[:1], atol=1e-6))\n"
        )
        assert alone(code, folder, ("harness", "pruning", "nas_baseline", "timm", "torch_pruning")) == "True True\n"
        assert b"site-packages" not in (folder / "model.pt2").read_bytes()

    def test_the_card_says_so(self, smaller, paths, splits):
        metrics = deliver(job(smaller, paths), paths, splits, DATASET, CPU)
        card = (paths.root / metrics["model_dir"] / "README.md").read_text()
        assert "physically smaller than the one that `architecture.json` names" in card
        assert 'torch.export.load("model.pt2").module()' in card
        assert "create_model" not in card
        assert "MobileNetV3(" not in card

    def test_without_a_program_it_is_delivered_as_a_module(self, smaller, paths, splits, monkeypatch):
        def refuse(*args):
            raise ValueError("torch.export cannot export the smaller network: no")

        monkeypatch.setattr(module, "save_program", refuse)
        metrics = deliver(job(smaller, paths), paths, splits, DATASET, CPU)
        folder = paths.root / metrics["model_dir"]
        assert names(folder) == PLAIN
        assert metrics["left_out"] == {"program": "torch.export cannot export the smaller network: no"}
        assert "| no file program | torch.export cannot" in (folder / "README.md").read_text()
        code = card_code(folder) + "print(sum(p.numel() for p in model.parameters()))\n"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], cwd=folder, capture_output=True, text=True, check=True
        )
        assert int(done.stdout) == metrics["params"]


def test_a_card_shows_control_characters_as_escapes(paths, splits):
    work = Deliver("prune", "found\x1b[31m", "a\x07 b")
    metrics = deliver(job(network(), paths, work=work), paths, splits, DATASET, CPU)
    card = (paths.root / metrics["model_dir"] / "README.md").read_text()
    assert "\x1b" not in card and "\x07" not in card
    assert "# found\\x1b[31m" in card


def test_a_card_holds_no_markup_of_names(paths, splits):
    work = Deliver("prune", "a <script> & b", "one | two\nthree")
    metrics = deliver(job(network(), paths, work=work), paths, splits, DATASET, CPU)
    lines = (paths.root / metrics["model_dir"] / "README.md").read_text().splitlines()
    assert "# a &lt;script> &amp; b" in lines
    assert "| parent | one \\| two\\x0athree |" in lines


def test_a_card_without_parent_and_cost(paths, splits):
    plain = job(network(), paths, work=Deliver("search", "found"), target=None)
    metrics = deliver(plain, paths, splits, DATASET, CPU)
    card = (paths.root / metrics["model_dir"] / "README.md").read_text()
    assert "| cost | see the report |" in card
    assert "| parent |" not in card
    assert "no target" in card
    assert "None" not in card


class TestFailure:
    def nothing_is_there(self, paths):
        return [path for path in (paths.root / "models").rglob("*") if path.is_file()] == []

    def test_a_network_above_its_target(self, paths, splits):
        with pytest.raises(ValueError, match=r"trained has 0\.\d+M MACs, above its target of 1k"):
            deliver(job(network(), paths, target=1000), paths, splits, DATASET, CPU)
        assert self.nothing_is_there(paths)

    def test_weights_of_another_network(self, paths, splits):
        wrong = {"builder": "timm", "name": "resnet10t", "kwargs": {"in_chans": 1, "num_classes": 10}}
        with pytest.raises(ValueError, match="no place in the model for"):
            deliver(job(network(), paths, wrong), paths, splits, DATASET, CPU)
        assert self.nothing_is_there(paths)

    @pytest.mark.parametrize("part", ["model_card", "sizes", "save_sparse"])
    def test_half_way_leaves_what_there_was(self, part, paths, splits, monkeypatch, snapshot):
        def fail(*args, **kwargs):
            raise OSError("the disk is full")

        with monkeypatch.context() as broken:
            broken.setattr(module, part, fail)
            with pytest.raises(OSError, match="the disk is full"):
                deliver(job(masked(), paths), paths, splits, DATASET, CPU)
            assert self.nothing_is_there(paths)
        deliver(job(masked(), paths), paths, splits, DATASET, CPU)
        before = snapshot(paths.root)
        monkeypatch.setattr(module, part, fail)
        with pytest.raises(OSError, match="the disk is full"):
            deliver(job(masked(), paths), paths, splits, DATASET, CPU)
        assert snapshot(paths.root) == before


def test_ten_lines_elsewhere_give_the_same_test_top1(paths):
    """The script in benchmarks/, run on the real images."""
    splits = open_dataset(DatasetConfig(name="fashion_mnist_mini", num_train=100)).splits()
    metrics = deliver(job(network(SMALL), paths, SMALL), paths, splits, DATASET, CPU)
    script = Path(__file__).parents[2] / "benchmarks" / "reproduce_test_top1.py"
    done = subprocess.run(
        [sys.executable, script, paths.root / metrics["model_dir"], fashion_mnist_mini.FILE],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(metrics["test_top1"])] * 2
