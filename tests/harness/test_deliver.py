"""Delivered folders: dense, masked and physically smaller networks, exports, cards whose code is run, and failures."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from accounting.records import Phase
from harness import deliver as module
from harness.config import DatasetConfig, ExportConfig
from harness.data import fashion_mnist_mini
from harness.data.base import DataInfo, Splits, TensorSplit
from harness.data.registry import open_dataset
from harness.deliver import deliver
from harness.errors import InputError
from harness.jobs import Job
from harness.models import build_network, save_tensors
from harness.paths import StudyPaths
from harness.quantise import CannotQuantise
from nas_baseline.families import network_spec
from pruning.blocks import remove_blocks, residual_blocks
from pruning.masks import apply_masks
from pruning.solve import prune_to_macs
from pruning.structured import prune_channels_to_macs

CPU = torch.device("cpu")
SHAPE = (1, 28, 28)
SPEC = network_spec("fbnetv3_mini", "l", 1, 10)
SMALL = network_spec("fbnetv3_mini", "s", 1, 10)
DATASET = DatasetConfig(name="fashion_mnist_mini")
PLAIN = {"model.safetensors", "architecture.json", "metrics.json", "README.md"}


def split(count, info, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    return TensorSplit(images, torch.randint(0, 10, (count,), generator=generator), info)


@pytest.fixture(scope="module")
def splits():
    """Noise: what is delivered is at stake here, not how well it does."""
    info = DataInfo(SHAPE, 10, (0.5,), (0.25,), 130)
    return Splits(info, split(130, info, 1), split(40, info, 2), split(60, info, 3))


@pytest.fixture
def paths(tmp_path):
    return StudyPaths(tmp_path / "study")


def network(spec=SPEC):
    """A network whose batch norms have seen something."""
    torch.manual_seed(0)
    model = build_network(spec).train()
    with torch.no_grad():
        model(torch.randn(64, *SHAPE))
    return model.eval()


def masked(target=600_000):
    model = network()
    apply_masks(model, prune_to_macs(model, SHAPE, target, floor=0.01).masks)
    return model


def job(model, paths, spec=SPEC, target=2_000_000, **changes):
    """The job that delivers ``model``, as the weights of job ``trained``."""
    save_tensors(model.state_dict(), paths.weights("trained"))
    facts = {"label": "prune", "description": "a network of a test", "parent": "fbnetv3_mini l, from nowhere"}
    plain = Job("e", "prune", Phase.EVALUATE, target, 0, 1, spec, 1, init_from="trained", deliver=facts)
    return dataclasses.replace(plain, **changes)


def names(folder):
    return {path.name for path in folder.iterdir()}


def card_code(folder, heading=None):
    """The first Python of the card, or that below a heading."""
    text = (folder / "README.md").read_text()
    text = text.split(f"\n## `{heading}`\n")[1] if heading else text
    return text.split("```python\n")[1].split("```")[0]


def alone(code, folder, forbidden=("harness", "pruning", "nas_baseline", "accounting")):
    """Run code in a fresh process in ``folder``; what it prints. Fails if it imported what it should do without."""
    check = f"\nimport sys\nassert not [m for m in sys.modules if m.split('.')[0] in {forbidden!r}]\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code + check], cwd=folder, capture_output=True, text=True, timeout=120,
        env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


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
            parameter.data[parameter == 0] = 0.01  # fresh biases
        model.conv_stem.weight.data[0, 0, 0, 0] = 0
        metrics = deliver(job(model, paths), paths, splits, DATASET, CPU)
        assert names(paths.root / metrics["model_dir"]) == PLAIN
        assert metrics["sparsity"] > 0

    def test_again_replaces_it_by_the_same(self, paths, splits, snapshot):
        model = prune_channels_to_macs(network(), SHAPE, 600_000).model
        export = ExportConfig(onnx=True, int8=True)
        first = deliver(job(model, paths), paths, splits, DATASET, CPU, export)
        before = snapshot(paths.root)
        (paths.root / first["model_dir"] / "stray").write_text("of an earlier version")
        assert deliver(job(model, paths), paths, splits, DATASET, CPU, export) == first
        after = snapshot(paths.root)
        # What torch.export and the ONNX exporter write has ids of its own.
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
    """Networks that timm cannot build: their whole program is delivered, and torch alone loads it."""

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
        code = card_code(folder) + (
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

    def test_without_a_program_it_is_delivered_for_this_package(self, smaller, paths, splits, monkeypatch):
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


class TestDead:
    """The network without what its zeros have made dead, where the study asks for it."""

    def network(self):
        model = masked()
        block = model.get_submodule("blocks.1.0")
        with torch.no_grad():
            block.conv_pw.weight[:3] = 0  # nothing makes these three channels, and nothing reads them
            block.conv_dw.weight[:3] = 0
            block.conv_pwl.weight[:, :3] = 0
        return model

    def test_is_delivered_beside_the_zeros(self, paths, splits):
        model = self.network()
        metrics = deliver(job(model, paths), paths, splits, DATASET, CPU, ExportConfig(compact=True))
        folder = paths.root / metrics["model_dir"]
        assert metrics["dead_channels"] >= 3
        assert metrics["dense_macs_without_dead"] < metrics["dense_macs"]
        images = torch.randn(7, *SHAPE)
        with torch.no_grad():
            torch.save((images, model(images)), paths.root / "expected.pt")
        code = card_code(folder, "model.pt2") + (
            f"images, expected = torch.load({str(paths.root / 'expected.pt')!r})\n"
            "with torch.no_grad(): print(torch.allclose(model(images), expected, atol=1e-4))\n"
        )
        assert alone(code, folder, ("harness", "pruning", "timm", "torch_pruning")) == "True\n"
        assert "channels that its zeros made dead" in (folder / "README.md").read_text()

    def test_a_network_without_any_says_so(self, paths, splits):
        metrics = deliver(job(network(), paths), paths, splits, DATASET, CPU, ExportConfig(compact=True))
        assert (metrics["dead_channels"], metrics["size_bytes"]["program"]) == (0, None)
        assert (
            "| channels that its zeros made dead | none |"
            in (paths.root / metrics["model_dir"] / "README.md").read_text()
        )


class TestExports:
    @pytest.fixture(scope="class")
    @staticmethod
    def all_of_them(splits, tmp_path_factory):
        paths = StudyPaths(tmp_path_factory.mktemp("exports") / "study")
        export = ExportConfig(onnx=True, int8=True, latency=True)
        cost = {"unit": "gpu_hours", "own_h": 1.5, "parent_h": 20.25}
        model = masked()
        metrics = deliver(job(model, paths), paths, splits, DATASET, CPU, export, cost)
        folder = paths.root / metrics["model_dir"]
        images = torch.randn(5, *SHAPE)
        with torch.no_grad():
            torch.save((images, model(images)), paths.root / "expected.pt")
        return metrics, folder, f"images, expected = torch.load({str(paths.root / 'expected.pt')!r})\n"

    def test_files_and_their_sizes(self, all_of_them):
        metrics, folder, _ = all_of_them
        files = {
            "float": "model.safetensors", "sparse": "model.sparse.safetensors", "int8": "model.int8.pt",
            "onnx": "model.onnx",
        }  # fmt: skip
        assert names(folder) == PLAIN | set(files.values())
        sizes = {key: (folder / file).stat().st_size for key, file in files.items()}
        assert metrics["size_bytes"] == sizes | {"program": None}
        assert metrics["size_bytes"]["int8"] < 0.6 * metrics["size_bytes"]["float"]

    def test_metrics(self, all_of_them):
        metrics, folder, _ = all_of_them
        assert json.loads((folder / "metrics.json").read_text()) == metrics
        assert 0 <= metrics["onnx_max_abs_error"] < 1e-3
        assert set(metrics["int8"]) == {"val_top1", "test_top1", "size_bytes", "method", "engine"}
        assert metrics["int8"]["size_bytes"] == metrics["size_bytes"]["int8"]
        assert 0 <= metrics["int8"]["test_top1"] <= 1
        assert metrics["latency"]["median_ms"] > 0
        assert metrics["latency"]["batch_size"] == 1

    def test_the_sparse_file_by_the_lines_of_the_card(self, all_of_them):
        _, folder, _ = all_of_them
        code = card_code(folder, "model.sparse.safetensors") + (
            "from safetensors.torch import load_file\n"
            'whole = load_file("model.safetensors")\n'
            "print(set(whole) == set(state), all(torch.equal(whole[n], state[n]) for n in whole), len(shapes) > 10)\n"
            "print(all(whole[n].dtype == state[n].dtype for n in whole))\n"
        )
        assert alone(code, folder, ("harness", "pruning", "timm")) == "True True True\nTrue\n"

    def test_the_onnx_file_by_the_lines_of_the_card(self, all_of_them):
        _, folder, expected = all_of_them
        code = "import torch\n" + expected + card_code(folder, "model.onnx")
        code += "print(torch.allclose(torch.from_numpy(logits), expected, rtol=1e-3, atol=1e-4), logits.shape)\n"
        assert alone(code, folder, ("harness", "pruning", "timm")) == "True (5, 10)\n"

    def test_the_int8_file_by_the_lines_of_the_card(self, all_of_them):
        _, folder, expected = all_of_them
        code = card_code(folder, "model.int8.pt") + expected
        code += (
            "print(model(images).shape, float((model(images) - expected).abs().max() / expected.abs().max()) < 0.2)\n"
        )
        assert alone(code, folder, ("harness", "pruning", "timm")) == "torch.Size([5, 10]) True\n"

    def test_the_network_by_the_lines_of_the_card(self, all_of_them):
        _, folder, expected = all_of_them
        code = card_code(folder) + "import torch\n" + expected
        code += "with torch.no_grad(): print(torch.equal(model(images), expected))\n"
        assert alone(code, folder) == "True\n"

    def test_the_card_has_a_row_for_each(self, all_of_them):
        metrics, folder, _ = all_of_them
        rows = dict(
            line.strip("| ").split(" | ", 1)
            for line in (folder / "README.md").read_text().splitlines()
            if line.startswith("| ") and line != "| | |"
        )
        assert rows["test_top1"] == f"{metrics['test_top1']:.4f} (n = 60 images)"
        assert rows["test_top1 of the int8 network"].startswith(f"{metrics['int8']['test_top1']:.4f} (n = 60 images")
        assert rows["MACs of one image, zeros left out"] == f"{metrics['macs']:,} (target 2,000,000)"
        assert (
            rows["sparsity: zeros among the weights of convolution and linear layers"] == f"{metrics['sparsity']:.4f}"
        )
        assert rows["size"] == f"{metrics['size_bytes']['float']:,} bytes"
        assert rows["size as int8"] == f"{metrics['size_bytes']['int8']:,} bytes"
        assert rows["size of the sparse file"] == f"{metrics['size_bytes']['sparse']:,} bytes"
        assert rows["size as ONNX"].startswith(f"{metrics['size_bytes']['onnx']:,} bytes")
        assert rows["latency"].endswith("channels_last)")
        assert rows["parent"] == "fbnetv3_mini l, from nowhere"
        assert rows["cost"] == "1.5 GPU hours for the jobs that led to it, and 20.25 for its parent"

    def test_a_network_without_int8_is_delivered_all_the_same(self, paths, splits, monkeypatch):
        def refuse(*args):
            raise CannotQuantise("no kernels here")

        monkeypatch.setattr("harness.quantise.quantise", refuse)
        metrics = deliver(job(network(), paths), paths, splits, DATASET, CPU, ExportConfig(int8=True))
        assert metrics["int8"]["test_top1"] is None
        assert metrics["int8"]["reason"] == "no kernels here"
        assert metrics["size_bytes"]["int8"] is None
        folder = paths.root / metrics["model_dir"]
        assert names(folder) == PLAIN
        card = (folder / "README.md").read_text()
        assert "| int8 | none: no kernels here |" in card
        assert "model.int8" not in card

    def test_a_network_that_onnx_cannot_express_is_delivered_all_the_same(self, paths, splits, monkeypatch):
        def refuse(*args):
            raise ValueError("export.onnx: torch cannot export the network: no")

        monkeypatch.setattr(module, "export_onnx", refuse)
        metrics = deliver(job(network(), paths), paths, splits, DATASET, CPU, ExportConfig(onnx=True))
        assert metrics["left_out"] == {"onnx": "export.onnx: torch cannot export the network: no"}
        assert names(paths.root / metrics["model_dir"]) == PLAIN

    def test_a_target_in_milliseconds_is_held_against_a_measurement(self, paths, splits):
        facts = {"label": "prune", "description": "a network of a test", "parent": None, "target_latency_ms": 3.5}
        metrics = deliver(job(network(), paths, deliver=facts), paths, splits, DATASET, CPU)
        assert metrics["latency"]["runtime"] == "eager"
        card = (paths.root / metrics["model_dir"] / "README.md").read_text()
        assert "| latency asked for | at most 3.5 ms" in card


def test_a_card_without_parent_and_cost(paths, splits):
    plain = job(network(), paths, deliver={"label": "search", "description": "found"}, target=None)
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
        with pytest.raises(ValueError, match=r"trained has \d+,\d+ MACs, above its target of 1,000"):
            deliver(job(network(), paths, target=1000), paths, splits, DATASET, CPU)
        assert self.nothing_is_there(paths)

    def test_weights_of_another_network(self, paths, splits):
        wrong = {"builder": "timm", "name": "resnet10t", "kwargs": {"in_chans": 1, "num_classes": 10}}
        with pytest.raises(ValueError, match="no place in the model for"):
            deliver(job(network(), paths, wrong), paths, splits, DATASET, CPU)
        assert self.nothing_is_there(paths)

    @pytest.mark.parametrize("part", ["model_card", "_exports", "save_sparse"])
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

    def test_a_missing_extra_is_found_before_the_test_split_is_read(self, paths, splits, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        monkeypatch.setattr(module, "evaluate", None)
        with pytest.raises(InputError, match=r"pip install 'prune-or-search\[onnx\]'"):
            deliver(job(network(), paths), paths, splits, DATASET, CPU, ExportConfig(onnx=True))
        assert self.nothing_is_there(paths)


def test_ten_lines_elsewhere_give_the_same_test_top1(paths):
    """The script of benchmarks/, on the real images."""
    splits = open_dataset(DatasetConfig(name="fashion_mnist_mini", num_train=100)).splits()
    metrics = deliver(job(network(SMALL), paths, SMALL), paths, splits, DATASET, CPU)
    script = Path(__file__).parents[2] / "benchmarks" / "reproduce_test_top1.py"
    done = subprocess.run(
        [sys.executable, script, paths.root / metrics["model_dir"], fashion_mnist_mini.FILE],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(metrics["test_top1"])] * 2
