"""The exports in a delivered folder: ONNX, int8, the sparse file, the network without dead channels."""

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import onnx
import pytest
import torch
from deliveries import (
    CPU,
    DATASET,
    PLAIN,
    SHAPE,
    alone,
    card_code,
    deliver,
    delivered,
    export,
    exports_after,
    job,
    masked,
    names,
    network,
    noise,
)
from some_jobs import job as some_job

from accounting.ledger.records import Phase
from accounting.study.folder import StudyFolder
from harness.config.study import ExportConfig
from harness.delivery import exports as module
from harness.delivery.folding import CannotQuantise
from harness.errors import InputError
from harness.jobs.start import WeightsOf
from harness.jobs.work import Deliver


@pytest.fixture(scope="module")
def splits():
    return noise()


@pytest.fixture
def paths(tmp_path):
    return StudyFolder(tmp_path / "study")


class TestDead:
    """If the study asks for it, the network is also exported without the parts that its zeros made dead."""

    def network(self):
        model = masked()
        block = model.get_submodule("blocks.1.0")
        with torch.no_grad():
            block.conv_pw.weight[:3] = 0  # nothing produces or reads these three channels
            block.conv_dw.weight[:3] = 0
            block.conv_pwl.weight[:, :3] = 0
        return model

    def test_is_delivered_beside_the_zeros(self, paths, splits):
        model = self.network()
        metrics = delivered(job(model, paths), paths, splits, DATASET, CPU, ExportConfig(compact=True))
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
        metrics = delivered(job(network(), paths), paths, splits, DATASET, CPU, ExportConfig(compact=True))
        assert (metrics["dead_channels"], metrics["size_bytes"]["program"]) == (0, None)
        assert (
            "| channels that its zeros made dead | none |"
            in (paths.root / metrics["model_dir"] / "README.md").read_text()
        )


class TestExports:
    @pytest.fixture(scope="class")
    @staticmethod
    def all_of_them(splits, tmp_path_factory):
        paths = StudyFolder(tmp_path_factory.mktemp("exports") / "study")
        export = ExportConfig(onnx=True, int8=True, latency=True)
        cost = {"unit": "gpu_hours", "own_h": 1.5, "parent_h": 20.25}
        model = masked()
        metrics = delivered(job(model, paths), paths, splits, DATASET, CPU, export, cost)
        folder = paths.root / metrics["model_dir"]
        images = torch.randn(5, *SHAPE)
        with torch.no_grad():
            torch.save((images, model(images)), paths.root / "expected.pt")
        return metrics, folder, f"images, expected = torch.load({str(paths.root / 'expected.pt')!r})\n"

    def test_files_and_their_sizes(self, all_of_them):
        metrics, folder, _ = all_of_them
        files = {
            "float": "model.safetensors", "sparse": "model.sparse.safetensors", "int8": "model.int8.onnx",
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

    def test_the_onnx_file_says_what_its_images_are(self, all_of_them):
        _, folder, _ = all_of_them
        said = {entry.key: json.loads(entry.value) for entry in onnx.load(folder / "model.onnx").metadata_props}
        info = json.loads((folder / "architecture.json").read_text())
        keys = {"image_shape", "mean", "std", "class_names", "crop_pct", "interpolation", "data"}
        assert keys <= set(said)
        assert {key: said[key] for key in keys} == {key: info[key] for key in keys}

    def test_the_int8_file_by_the_lines_of_the_card(self, all_of_them):
        _, folder, expected = all_of_them
        code = "import torch\n" + expected + card_code(folder, "model.int8.onnx")
        code += "error = (torch.from_numpy(logits) - expected).abs().max() / expected.abs().max()\n"
        code += "print(logits.shape, float(error) < 0.2)\n"
        assert alone(code, folder, ("harness", "pruning", "timm")) == "(5, 10) True\n"

    def test_the_int8_file_says_what_its_images_are(self, all_of_them):
        _, folder, _ = all_of_them
        float_one, int8_one = (
            {entry.key: entry.value for entry in onnx.load(folder / file).metadata_props}
            for file in ("model.onnx", "model.int8.onnx")
        )
        assert float_one.items() <= int8_one.items()

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
        assert rows["cost"] == "1.5 GPU-hours for the jobs that led to it, and 20.25 for its parent"

    def test_a_network_without_int8_is_delivered_all_the_same(self, paths, splits, monkeypatch):
        def refuse(*args):
            raise CannotQuantise("no kernels here")

        monkeypatch.setattr("harness.delivery.int8.quantise", refuse)
        metrics = delivered(job(network(), paths), paths, splits, DATASET, CPU, ExportConfig(int8=True))
        assert metrics["int8"]["test_top1"] is None
        assert metrics["int8"]["reason"] == "no kernels here"
        assert metrics["size_bytes"]["int8"] is None
        folder = paths.root / metrics["model_dir"]
        assert names(folder) == PLAIN
        card = (folder / "README.md").read_text()
        assert "| int8 | none: no kernels here |" in card
        assert "model.int8" not in card

    def test_an_int8_file_of_an_older_version_keeps_its_lines(self, paths, splits):
        """Its card is written again when another export is added."""
        mine = job(network(), paths)
        metrics = deliver(mine, paths, splits, DATASET, CPU)
        folder = paths.root / metrics["model_dir"]
        old = {"val_top1": 0.1, "test_top1": 0.1, "size_bytes": 5, "method": "torch.ao FX graph mode", "engine": "x86"}
        (folder / "model.int8.pt").write_bytes(b"12345")
        (folder / "metrics.json").write_text(
            json.dumps(metrics | {"int8": old, "size_bytes": metrics["size_bytes"] | {"int8": 5}})
        )
        (following,) = exports_after(mine, metrics, ExportConfig(latency=True))
        export(following, paths, splits, DATASET, CPU)
        card = (folder / "README.md").read_text()
        assert "## `model.int8.pt`" in card and 'torch.backends.quantized.engine = "x86"' in card
        assert "| size as int8 | 5 bytes |" in card and "model.int8.onnx" not in card

    def test_a_network_that_onnx_cannot_express_is_delivered_all_the_same(self, paths, splits, monkeypatch):
        def refuse(*args, **kwargs):
            raise ValueError("export.onnx: torch cannot export the network: no")

        monkeypatch.setattr(module, "export_onnx", refuse)
        metrics = delivered(job(network(), paths), paths, splits, DATASET, CPU, ExportConfig(onnx=True))
        assert metrics["left_out"] == {"onnx": "export.onnx: torch cannot export the network: no"}
        assert names(paths.root / metrics["model_dir"]) == PLAIN

    def test_a_target_in_milliseconds_is_held_against_a_measurement(self, paths, splits):
        work = Deliver("prune", "a network of a test", None, 3.5)
        metrics = delivered(job(network(), paths, work=work), paths, splits, DATASET, CPU)
        assert metrics["latency"]["runtime"] == "eager"
        card = (paths.root / metrics["model_dir"] / "README.md").read_text()
        assert "| latency asked for | at most 3.5 ms" in card


class TestFailure:
    """A failed export leaves the delivered folder unchanged."""

    @pytest.fixture
    def dense(self, paths, splits):
        mine = job(network(), paths)
        metrics = deliver(mine, paths, splits, DATASET, CPU)
        return mine, paths.root / metrics["model_dir"], metrics

    @pytest.mark.parametrize(("part", "kind"), [("model_card", "latency"), ("_made", "onnx"), ("_merged", "latency")])
    def test_half_way_leaves_what_there_was(self, part, kind, dense, paths, splits, monkeypatch, snapshot):
        mine, folder, metrics = dense
        before = {
            name: (folder / name).read_bytes() for name in ("README.md", "model.safetensors", "architecture.json")
        }

        def fail(*args, **kwargs):
            raise OSError("the disk is full")

        monkeypatch.setattr(module, part, fail)
        (following,) = exports_after(mine, metrics, ExportConfig(**{kind: True}))
        with pytest.raises(OSError, match="the disk is full"):
            export(following, paths, splits, DATASET, CPU)
        assert {name: (folder / name).read_bytes() for name in before} == before
        assert names(folder) == PLAIN
        assert not list(folder.parent.glob("*.part"))

    @pytest.mark.parametrize("kind", ["onnx", "int8"])
    def test_a_missing_extra_is_named(self, kind, dense, paths, splits, monkeypatch):
        mine, folder, metrics = dense
        (following,) = exports_after(mine, metrics, ExportConfig(**{kind: True}))
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(InputError, match=rf"export\.{kind}: .*pip install .*\[onnx\]"):
            export(following, paths, splits, DATASET, CPU)
        assert names(folder) == PLAIN

    @pytest.mark.parametrize("change", ["gone", "another"])
    def test_a_folder_that_is_gone_or_anothers_is_left_alone(self, change, dense, paths, splits):
        mine, folder, metrics = dense
        (following,) = exports_after(mine, metrics, ExportConfig(onnx=True))
        if change == "gone":
            shutil.rmtree(folder)
        else:
            (folder / "metrics.json").write_text(json.dumps(metrics | {"from_job": "a better one"}))
        found = export(following, paths, splits, DATASET, CPU)
        assert found["left_out"] == {"onnx": "the delivered folder is gone or holds another network"}
        assert found["onnx_max_abs_error"] < 1e-3
        assert not folder.exists() if change == "gone" else names(folder) == PLAIN

    def test_two_at_the_same_time_are_both_kept(self, dense, paths, splits):
        mine, folder, metrics = dense
        both = exports_after(mine, metrics, ExportConfig(latency=True, compact=True))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda each: export(each, paths, splits, DATASET, CPU), both))
        merged = json.loads((folder / "metrics.json").read_text())
        assert merged["latency"]["n"] > 0 and merged["dead_channels"] == 0
        assert "| latency |" in (folder / "README.md").read_text()


class TestProposed:
    """Export jobs follow a delivery: one per kind that the evaluation has not already made."""

    ALL = ExportConfig(onnx=True, int8=True, latency=True, compact=True)

    def kinds(self, metrics, **changes):
        given = some_job(
            "e", phase=Phase.EVALUATE, target=1, start=WeightsOf("t"), work=Deliver("prune", "", **changes)
        )
        jobs = exports_after(given, metrics, self.ALL)
        assert all(each.phase == Phase.EXPORT and each.source == "t" for each in jobs)
        assert [each.name for each in jobs] == [f"{given.name}-export-{each.work.kind}" for each in jobs]
        return [each.work.kind for each in jobs]

    def test_one_of_each_kind(self):
        assert self.kinds({"size_bytes": {"program": None}, "left_out": {}}) == ["onnx", "int8", "latency", "compact"]

    def test_none_that_an_older_evaluation_has_made_or_left_out(self):
        old = {"onnx_max_abs_error": 0.1, "int8": {"test_top1": None}, "latency": None, "dead_channels": 0}
        assert self.kinds(old) == []
        assert self.kinds({"left_out": {"onnx": "no", "program": "no"}, "int8": {}}) == ["latency"]

    def test_none_that_says_nothing_new(self):
        assert "compact" not in self.kinds({"size_bytes": {"program": 100}, "left_out": {}})
        assert "latency" not in self.kinds({"latency": {"median_ms": 1.0}}, target_latency_ms=3.5)
