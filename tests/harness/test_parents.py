"""Parents with weights from elsewhere: timm's for the FBNetV3 family, and files inside installed packages."""

import pytest
import timm
import torch

from harness.config.study import DatasetConfig, ParentConfig
from harness.data import fashion_mnist_mini
from harness.data.base import DataInfo
from harness.errors import InputError
from harness.models import build as models
from harness.models.build import (
    build_network,
    checkpoint_path,
    fit_checkpoint,
    load_checkpoint,
    parent_spec,
    pretrained_spec,
)
from harness.training.loop import evaluate

INFO = DataInfo((3, 64, 64), 7, (0.5,) * 3, (0.5,) * 3, 100)


@pytest.mark.parametrize("variant", ["b", "d", "g"])
def test_the_family_takes_timms_weights(variant, monkeypatch):
    asked = {}

    def create_model(name, pretrained, **sizes):
        asked.update(name=name, pretrained=pretrained)
        torch.manual_seed(3)
        return timm.create_model(name, **sizes)

    parent = ParentConfig(family="fbnetv3", variant=variant, pretrained=True)
    spec = pretrained_spec(parent, parent_spec(parent, INFO))
    monkeypatch.setattr(models, "timm", type("Timm", (), {"create_model": staticmethod(create_model)}))
    built = build_network(spec).state_dict()
    assert asked == {"name": f"fbnetv3_{variant}", "pretrained": True}
    torch.manual_seed(3)
    expected = timm.create_model(f"fbnetv3_{variant}", in_chans=3, num_classes=7).state_dict()
    assert built.keys() == expected.keys()
    assert all(torch.equal(built[name], expected[name]) for name in built)


def test_variants_without_weights_say_which_have_some():
    with pytest.raises(InputError, match="fbnetv3 b, fbnetv3 d, fbnetv3 g"):
        parent_spec(ParentConfig(family="fbnetv3", variant="a", pretrained=True), INFO)


def test_loaded_weights_are_not_trained_unless_asked():
    parent = ParentConfig.model_validate({"family": "fbnetv3", "variant": "g", "pretrained": True})
    assert parent.pretrain.epochs == 0


def test_a_checkpoint_inside_a_package():
    path = checkpoint_path("package:harness/data/fashion_mnist_mini.npz")
    assert path.is_file()


def test_the_packages_trained_parent_is_as_accurate_as_when_it_was_made():
    splits = fashion_mnist_mini.Dataset(DatasetConfig(name="fashion_mnist_mini")).splits()
    path = checkpoint_path("package:harness/data/fbnetv3_mini_l.safetensors")
    model = build_network(parent_spec(ParentConfig(family="fbnetv3_mini", variant="l"), splits.info))
    assert fit_checkpoint(model, load_checkpoint(path), path) == [], "its classifier is for this data"
    assert evaluate(model, splits.val, splits.info.task, torch.device("cpu")) == pytest.approx(0.877, abs=0.002)


def test_a_package_that_is_not_there():
    with pytest.raises(InputError, match="no package 'no_such_package' is installed"):
        checkpoint_path("package:no_such_package/weights.pt")
