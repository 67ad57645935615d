"""ONNX exports: one file, any batch size, the same outputs as torch, or one clear line where that is impossible."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from harness.delivery import onnx_file as module
from harness.delivery.onnx_file import export_onnx, require_onnx
from harness.errors import InputError
from harness.models.build import build_network
from nas_baseline.spaces.families import network_spec
from pruning.masks import apply_masks, masks_from_model
from pruning.resize import fit_to_state
from pruning.solve import prune_to_macs
from pruning.structured import prune_channels_to_macs

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SPEC = network_spec("fbnetv3_mini", "s", 1, 10)
SHAPE = (1, 28, 28)


@pytest.fixture
def model():
    return network()


def network():
    torch.manual_seed(0)
    return build_network(SPEC).eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def exported(images, tmp_path_factory):
    """The file of ``model``, alone in its folder, and the error that was reported for it."""
    path = tmp_path_factory.mktemp("exported") / "m.onnx"
    return path, export_onnx(network(), images, path)


def run(path, images):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def test_one_file_for_any_batch_size(exported, model, images):
    path, error = exported
    assert [file.name for file in path.parent.iterdir()] == ["m.onnx"]
    onnx.checker.check_model(path, full_check=True)
    with torch.no_grad():
        expected = model(images)
    difference = float((run(path, images) - expected).abs().max())
    assert error == difference < 1e-4
    for size in (1, 3):
        torch.testing.assert_close(run(path, images[:size]), expected[:size], rtol=1e-4, atol=1e-5)


def test_of_a_single_image_and_nothing_is_printed(model, images, tmp_path, capfd):
    export_onnx(model, images[:1], tmp_path / "m.onnx")
    assert capfd.readouterr() == ("", "")
    assert run(tmp_path / "m.onnx", images).shape == (6, 10)


def test_of_a_physically_smaller_network(model, images, tmp_path):
    smaller = prune_channels_to_macs(model, SHAPE, 300_000).model
    model = fit_to_state(build_network(SPEC), smaller.state_dict()).eval()
    assert export_onnx(model, images, tmp_path / "m.onnx") < 1e-4


def test_zeros_stay_zeros(model, images, tmp_path):
    apply_masks(model, prune_to_macs(model, SHAPE, 200_000).masks)
    export_onnx(model, images, tmp_path / "m.onnx")
    stored = [onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "m.onnx").graph.initializer]
    zeros = sum(int((~mask).sum()) for mask in masks_from_model(model).values())
    assert sum(int(np.count_nonzero(t == 0)) for t in stored if t.ndim > 1) >= zeros > 10_000


def test_no_source_file_is_named(exported):
    content = exported[0].read_bytes()
    assert b"site-packages" not in content
    assert b"File " not in content


def test_other_outputs_are_an_error_and_no_file(exported, model, images, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_export", lambda model, image_shape, head: onnx.load(exported[0]))
    with torch.no_grad():
        model.classifier.bias += 1
    with pytest.raises(ValueError, match=r"outputs differ from torch's by [0-9.]+; allowed: 0.00"):
        export_onnx(model, images, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_exported(images, tmp_path):
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match=r"export.onnx: torch cannot export the network: \S") as caught:
        export_onnx(Branching().eval(), images, tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_names_the_extra(name, model, images, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{name} is not installed; pip install .*\[onnx\]"):
        require_onnx()
    with pytest.raises(InputError):
        export_onnx(model, images, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
