"""A delivered folder's ``preprocess`` in ``model.py`` prepares images exactly as they were in the evaluation."""

import importlib.util
import io
import json
import re

import numpy as np
import pytest
import torch
from deliveries import CPU, DATASET, SPEC, deliver, export, exports_after, job, network, noise
from PIL import Image

from accounting.study.folder import StudyFolder
from harness.config.study import DatasetConfig, ExportConfig
from harness.data.registry import open_dataset
from harness.delivery.about import about
from harness.delivery.trainable import module_text
from harness.models.build import build_network
from harness.task.classification import Classification

NAMES = ("ape", "bee | *wasp*")


def picture(width, height, seed, mode="RGB"):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    smooth = Image.fromarray(values).resize((width * 3, height * 3), Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(smooth.convert("L")).astype(np.uint16) * 257)
    return smooth.convert(mode)


def folder_data(root):
    """Write images of several shapes and modes; returns those of the test split, in order."""
    modes = ["RGB", "L", "P", "I;16", "RGBA"]
    for part, count in (("train", 12), ("val", 5)):
        for label, name in enumerate(NAMES):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                image = picture(40 + 13 * i, 90 - 7 * i, 100 * label + i, modes[i % 5])
                image.save(root / part / name / f"{i:02}.png")
    return [Image.open(path) for name in NAMES for path in sorted((root / "val" / name).iterdir())]


def npz_data(path):
    """Write images of several shapes as PNG bytes in one file; returns those of the test split."""
    arrays = {"classes": np.array(NAMES)}
    found = {}
    for part in ("train", "test"):
        images = [picture(30 + 5 * i, 60 - 3 * i, i) for i in range(10)]
        found[part] = images
        blobs = []
        for image in images:
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            blobs.append(np.frombuffer(buffer.getvalue(), np.uint8))
        arrays[f"{part}_bytes"] = np.concatenate(blobs)
        arrays[f"{part}_offsets"] = np.cumsum([0, *map(len, blobs)])
        arrays[f"{part}_labels"] = np.arange(10) % 2
    np.savez(path, **arrays)
    return found["test"]


@pytest.fixture(params=["image_folder 64", "image_folder 160", "npz_jpeg", "fashion_mnist_mini"])
def data(request, tmp_path, monkeypatch):
    """A dataset's config and its first test images, as Pillow images."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name, _, size = request.param.partition(" ")
    if name == "image_folder":
        images = folder_data(tmp_path / "data")
        return DatasetConfig(name=name, path=str(tmp_path / "data"), image_size=int(size), num_workers=0), images
    if name == "npz_jpeg":
        images = npz_data(tmp_path / "data.npz")
        return DatasetConfig(name=name, path=str(tmp_path / "data.npz"), image_size=32), images
    config = DatasetConfig(name=name)
    images = next(iter(open_dataset(config).splits().test.batches(8, CPU, augment=None)))[0]
    info = open_dataset(config).info()
    pixels = (images * info.std[0] + info.mean[0]).mul(255).round().byte()
    return config, [Image.fromarray(each[0].numpy()) for each in pixels]


def loaded(config, folder):
    """The module ``model.py``, next to an ``architecture.json`` with this dataset's facts."""
    dataset = open_dataset(config)
    folder.mkdir()
    (folder / "architecture.json").write_text(json.dumps(about(SPEC, dataset.splits().info, config)))
    (folder / "model.py").write_text(module_text(Classification(2)))
    spec = importlib.util.spec_from_file_location("delivered_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_preprocess_gives_what_the_test_split_gives(data, tmp_path):
    config, pictures = data
    module = loaded(config, tmp_path / "delivered")
    seen = torch.cat([images for images, _ in open_dataset(config).splits().test.batches(4, CPU, augment=None)])
    made = torch.stack([module.preprocess()(each) for each in pictures])
    assert made.shape == seen[: len(made)].shape
    torch.testing.assert_close(made, seen[: len(made)], rtol=0, atol=1e-6)


def test_classes_are_those_of_the_data_in_the_order_of_labels(data, tmp_path):
    config, _ = data
    names = open_dataset(config).splits().info.class_names
    assert len(names) >= 2
    assert names == loaded(config, tmp_path / "delivered").CLASSES


def test_the_card_says_how_images_are_made_and_of_which_data(data, tmp_path):
    config, _ = data
    paths = StudyFolder(tmp_path / "study")
    splits = open_dataset(config).splits()
    info = splits.info
    spec = SPEC | {"in_chans": info.image_shape[0], "num_classes": len(info.class_names)}
    torch.manual_seed(0)
    mine = job(build_network(spec), paths, spec, target=None)
    folder = paths.root / deliver(mine, paths, splits, config, CPU)["model_dir"]
    card = (folder / "README.md").read_text()
    rows = re.findall(
        r"^\| (.*?) \| (.*) \|$", card.split("\n## Images and data\n")[1].split("\n## Classes\n")[0], re.M
    )
    side = info.image_shape[1]
    resize, interpolation, crop = {
        "image_folder 64": ("shorter side to 64", "bicubic", "centre, 64 x 64 (crop_pct 1)"),
        "image_folder 160": ("shorter side to 182", "bicubic", "centre, 160 x 160 (crop_pct 0.875)"),
        "npz_jpeg 32": ("both sides, to 32 x 32", "bicubic", "none"),
        "fashion_mnist_mini 28": ("none: all images have this size", "none", "none"),
    }[f"{config.name} {side}"]
    path = {} if config.path is None else {"path": config.path}
    assert dict(rows) == {
        "shape (channels, height, width)": str(info.image_shape),
        "resize": resize, "interpolation": interpolation, "crop": crop,
        "values": "float in 0-1, then (x - mean) / std",
        "mean": ", ".join(map(str, info.mean)), "std": ", ".join(map(str, info.std)),
        "data": config.name, **path, "fingerprint": open_dataset(config).fingerprint(),
    }  # fmt: skip
    classes = re.findall(r"^\| (\d+) \| (.*) \|$", card.split("\n## Classes\n")[1], re.M)
    assert classes == [(str(i), name.replace("|", "\\|")) for i, name in enumerate(info.class_names)]


def test_an_export_completes_the_folder_of_an_older_version(tmp_path):
    paths, splits = StudyFolder(tmp_path / "study"), noise()
    mine = job(network(), paths)
    metrics = deliver(mine, paths, splits, DATASET, CPU)
    folder = paths.root / metrics["model_dir"]
    files = {name: (folder / name).read_text() for name in ("model.py", "architecture.json")}
    (folder / "model.py").unlink()
    old = {key: value for key, value in json.loads(files["architecture.json"]).items() if key != "resize"}
    (folder / "architecture.json").write_text(json.dumps(old))
    (following,) = exports_after(mine, metrics, ExportConfig(latency=True))
    export(following, paths, splits, DATASET, CPU)
    assert {name: (folder / name).read_text() for name in files} == files
    assert f"| fingerprint | {old['data']['fingerprint']} |" in (folder / "README.md").read_text()
