"""``model.py`` in a delivered folder gives a network to train on and its preprocessing, without this package."""

import json
import subprocess
import sys

import pytest
import torch
from deliveries import CPU, DATASET, SHAPE, SPEC, card_code, deliver, job, masked, network, noise

from accounting.study.folder import StudyFolder
from harness.delivery import deliver as module
from pruning.blocks import remove_blocks, residual_blocks, se_blocks
from pruning.structured import prune_channels_to_macs

OURS = ("harness", "pruning", "nas_baseline", "accounting", "reports", "torch_pruning", "ray")
WITHOUT_US = f"""
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OURS!r}: raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
for name in {OURS!r}:
    try: importlib.import_module(name)
    except ModuleNotFoundError: continue
    raise SystemExit(f"{{name}} can be imported")
"""
USE = """
import torch
from torch import nn
images, expected = torch.load(sys.argv[1])
assert not model.training
with torch.no_grad():
    print(float((model(images) - expected).abs().max()))
model.train()
before = {name: value.detach().clone() for name, value in model.named_parameters()}
optimiser = torch.optim.SGD(model.parameters(), 0.1)
nn.functional.cross_entropy(model(images), torch.arange(len(images)) % 10).backward()
print([name for name, value in model.named_parameters() if value.grad is None])
optimiser.step()
print(sum(not torch.equal(value, before[name]) for name, value in model.named_parameters()) > len(before) / 2)
print(sum(value.numel() for value in model.parameters()))
"""

TIMM = {"builder": "timm", "name": "resnet10t", "kwargs": {"in_chans": 1, "num_classes": 10}}
VIT = {"builder": "timm", "name": "vit_tiny_patch16_224",
       "kwargs": {"in_chans": 1, "num_classes": 10, "img_size": 28, "patch_size": 7, "depth": 2}}  # fmt: skip
ODD = {**SPEC, "dw_padding": {"2.0": 1}, "width_divisor": 4, "act": "relu6", "drop_rate": 0.1, "drop_path_rate": 0.1}


def fewer_channels(spec, target):
    return prune_channels_to_macs(network(spec), SHAPE, target).model.eval()


def fewer_blocks(spec, blocks):
    model = network(spec)
    names = se_blocks(model) if blocks == "se" else residual_blocks(model, SHAPE)
    assert len(names) >= 2
    return remove_blocks(model, names[:2]).eval()


NETWORKS = {
    "channels of a timm network": (TIMM, lambda: fewer_channels(TIMM, 8_000_000)),
    "channels of a family's network": (SPEC, lambda: fewer_channels(SPEC, 600_000)),
    "channels and heads of a transformer": (VIT, lambda: fewer_channels(VIT, 6_000_000)),
    "channels of a network with every key of a spec": (ODD, lambda: fewer_channels(ODD, 500_000)),
    "residual blocks": (SPEC, lambda: fewer_blocks(SPEC, "residual")),
    "squeeze-excite blocks": (SPEC, lambda: fewer_blocks(SPEC, "se")),
    "zeros": (SPEC, masked),
}


@pytest.fixture(scope="module")
def splits():
    return noise()


@pytest.fixture
def paths(tmp_path):
    return StudyFolder(tmp_path / "study")


def without_us(code, folder, *arguments):
    """Run code in ``folder``, in a process that cannot import this package; returns its output."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_US + code, *map(str, arguments)], cwd=folder,
        capture_output=True, text=True, timeout=250, env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", NETWORKS)
def test_it_builds_the_network_and_trains_it_without_this_package(kind, paths, splits):
    spec, make = NETWORKS[kind]
    model = make()
    metrics = deliver(job(model, paths, spec, target=None), paths, splits, DATASET, CPU)
    folder = paths.root / metrics["model_dir"]
    images = torch.randn(6, *SHAPE)
    with torch.no_grad():
        torch.save((images, model(images)), paths.root / "expected.pt")
    code = "from model import build\nmodel = build()\n" + USE
    difference, no_gradient, trained, params = without_us(code, folder, paths.root / "expected.pt")
    assert float(difference) == 0
    assert (no_gradient, trained, int(params)) == ("[]", "True", metrics["params"])


@pytest.mark.parametrize("program", [True, False])
def test_the_card_of_a_smaller_network_loads_it_so(program, paths, splits, monkeypatch):
    def refuse(*args):
        raise ValueError("torch.export cannot export the smaller network: no")

    if not program:
        monkeypatch.setattr(module, "save_program", refuse)
    model = fewer_channels(SPEC, 600_000)
    folder = paths.root / deliver(job(model, paths), paths, splits, DATASET, CPU)["model_dir"]
    images = torch.randn(6, *SHAPE)
    with torch.no_grad():
        torch.save((images, model(images)), paths.root / "expected.pt")
    assert without_us(card_code(folder) + USE, folder, paths.root / "expected.pt")[0] == "0.0"


def test_it_is_found_from_anywhere_and_says_what_is_missing(paths, splits, tmp_path):
    folder = paths.root / deliver(job(network(), paths), paths, splits, DATASET, CPU)["model_dir"]
    code = (
        "import importlib.util\n"
        "spec = importlib.util.spec_from_file_location('mine', sys.argv[1])\n"
        "mine = importlib.util.module_from_spec(spec); spec.loader.exec_module(mine)\n"
        "print(sum(p.numel() for p in mine.build().parameters()))\n"
    )
    count = json.loads((folder / "metrics.json").read_text())["params"]
    assert without_us(code, tmp_path, folder / "model.py") == [str(count)]


def test_it_is_clean_python(paths, splits):
    folder = paths.root / deliver(job(network(), paths), paths, splits, DATASET, CPU)["model_dir"]
    text = (folder / "model.py").read_text()
    assert not {f"{name}." for name in OURS if f"import {name}" in text or f"from {name}" in text}
    options = ("--isolated", "--no-cache", "--select", "E,F,W,I,B", "--line-length", "120")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *options, folder / "model.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
