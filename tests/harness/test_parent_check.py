"""What a parent refuses (keywords, images, a training step) is found before anything is paid for."""

import pytest
import timm
import torch
from torch import nn

from harness.config.study import parse_config
from harness.data.base import DataInfo
from harness.errors import InputError
from harness.latency.target import resolve_targets
from harness.models.build import build_network, parent_spec, with_regularisation
from harness.models.parent_check import built_parent, check_trainable
from harness.validation import check_study

INFO = DataInfo((3, 32, 32), 4, (0.5,) * 3, (0.5,) * 3, 100)
CONFIG = {
    "name": "x",
    "dataset": {"name": "fashion_mnist_mini"},
    "targets": ["1M"],
    "recipe": {},
    "routes": {"prune": {"finetune": {"epochs": 1}}},
}


def check(timm_name, info=INFO, recipe=None, **sections):
    given = {**CONFIG, "parent": {"timm": timm_name}, "recipe": recipe or {}}
    for section, fields in sections.items():
        if section == "pretrain":
            given["parent"] = {**given["parent"], "pretrain": fields}
        elif section == "finetune":
            given["routes"] = {**given["routes"], "prune": {"finetune": fields}}
        else:
            given["routes"] = {**given["routes"], "scratch": {"train": fields}}
    config = parse_config(given, "x")
    spec, _, macs = built_parent(config.parent, info)
    check_trainable(config, info, spec, macs)


REFUSED = {
    "the study's recipe": ({"recipe": {"drop_path_rate": 0.1}}, "recipe.drop_path_rate"),
    "pretraining": ({"pretrain": {"drop_path_rate": 0.1}}, "parent.pretrain.drop_path_rate"),
    "fine-tuning": ({"finetune": {"epochs": 1, "drop_path_rate": 0.1}}, "routes.prune.finetune.drop_path_rate"),
    "the control": ({"scratch": {"drop_path_rate": 0.1}}, "routes.scratch.train.drop_path_rate"),
}


@pytest.mark.parametrize("place", REFUSED)
def test_a_rate_that_the_network_does_not_take_is_named_with_its_place(place):
    sections, key = REFUSED[place]
    with pytest.raises(InputError, match=f"^{key}: dla46_c does not take it; remove it or set it to 0$"):
        check("dla46_c", **sections)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050"])
def test_a_rate_that_it_takes_is_no_error(name):
    check(name, recipe={"drop_path_rate": 0.1, "drop_rate": 0.2})


def test_a_rate_that_is_switched_off_for_every_phase_is_no_error():
    off = {"drop_path_rate": 0.0}
    check("dla46_c", recipe={"drop_path_rate": 0.1}, pretrain=off, finetune={"epochs": 1, **off})


def register(monkeypatch, forward, **taken):
    """Register a network called ``resnet18`` with the given forward pass, which takes further keywords."""

    class Net(nn.Module):
        def __init__(self, in_chans=3, num_classes=4, **kwargs):
            super().__init__()
            if unknown := set(kwargs) - set(taken):
                raise TypeError(f"unexpected {unknown}")
            self.conv, self.fc = nn.Conv2d(in_chans, 8, 3), nn.Linear(8, num_classes)

        def forward(self, x):
            return forward(self, x)

    monkeypatch.setattr(timm, "create_model", lambda name, **kwargs: Net(**kwargs))


def plain(net, x):
    return net.fc(net.conv(x).mean((2, 3)))


def test_a_rate_that_does_nothing_is_refused(monkeypatch):
    register(monkeypatch, plain, drop_path_rate=None)
    with pytest.raises(InputError, match=r"recipe\.drop_path_rate: resnet18 takes it and does nothing with it"):
        check("resnet18", recipe={"drop_path_rate": 0.1})


def test_a_rate_that_is_the_networks_own_default_is_no_error():
    check(
        "swin_tiny_patch4_window7_224",
        DataInfo((3, 224, 224), 4, (), (), 1),
        recipe={"drop_path_rate": 0.1},
        pretrain={"epochs": 0},
        finetune={"epochs": 0},
    )


TRAINING = {
    "two outputs": (lambda net, x: (plain(net, x),) * 2 if net.training else plain(net, x), "gives a tuple"),
    "a view of channels last": (lambda net, x: plain(net, x.view(len(x), -1, 1).view(x.shape)), "view"),
    "no gradient": (lambda net, x: plain(net, x).detach(), "grad"),
    "an assertion": (lambda net, x: plain(net, x) if not net.training else [][1], "IndexError"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TRAINING)
def test_what_fails_in_training_alone_is_known_before(kind, monkeypatch):
    forward, says = TRAINING[kind]
    register(monkeypatch, forward)
    with pytest.raises(InputError, match=rf"parent: resnet18 cannot be trained .*{says}"):
        check("resnet18")


IMAGES = {
    "too small": ("inception_v4", (3, 32, 32)),
    "of another size than its positions": ("vit_tiny_patch16_224", (3, 64, 64)),
    "a wrong multiple": ("levit_128s", (3, 100, 100)),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_images_that_a_network_cannot_take(kind):
    name, shape = IMAGES[kind]
    with pytest.raises(InputError, match=f"parent: {name} cannot take images of") as caught:
        check(name, DataInfo(shape, 4, (), (), 1))
    assert "\n" not in str(caught.value)


def test_outputs_that_are_no_scores_of_classes(monkeypatch):
    register(monkeypatch, lambda net, x: net.conv(x))
    with pytest.raises(InputError, match="not scores of 4 classes"):
        check("resnet18")


def test_channels_that_it_cannot_be_built_for(monkeypatch):
    def create_model(name, **kwargs):
        assert kwargs.get("in_chans", 3) == 3, "only colour images"
        return nn.Linear(1, 1)

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(InputError, match="cannot be built for images of 1 channels: only colour images"):
        check("resnet18", DataInfo((1, 32, 32), 4, (), (), 1))


def test_families_take_both_rates():
    config = parse_config({**CONFIG, "parent": {"family": "fbnetv3_mini", "variant": "s"},
                           "recipe": {"drop_rate": 0.1, "drop_path_rate": 0.1}, "targets": ["0.1M"]}, "x")  # fmt: skip
    info = DataInfo((1, 28, 28), 10, (), (), 1)
    spec, _, macs = built_parent(config.parent, info)
    check_trainable(config, info, spec, macs)
    assert build_network(with_regularisation(parent_spec(config.parent, info), config.recipe.model_dump()))
    assert macs > 0
    assert torch.is_grad_enabled()


def test_a_rate_of_the_search_on_inherited_weights_is_named_with_its_place():
    pytest.importorskip("torch_pruning")
    given = {**CONFIG, "parent": {"timm": "dla46_c"}}
    given["routes"] = {**CONFIG["routes"], "subnet_search": {"finetune": {"epochs": 1, "drop_path_rate": 0.1}}}
    config = parse_config(given, "x")
    spec, _, macs = built_parent(config.parent, INFO)
    with pytest.raises(InputError, match=r"^routes\.subnet_search\.finetune\.drop_path_rate: dla46_c does not take it"):
        check_trainable(config, INFO, spec, macs)


def test_a_transformer_for_images_of_another_size_says_which_it_takes():
    config = parse_config({**CONFIG, "parent": {"timm": "vit_tiny_patch16_224"}}, "x")
    with pytest.raises(
        InputError, match=r"cannot take images of \(3, 32, 32\): .*; it takes images of 224 pixels: set"
    ):
        built_parent(config.parent, INFO)


@pytest.mark.parametrize("parent", [{"timm": "resnet18"}, {"timm": "efficientnet_b0"}])
@pytest.mark.parametrize("pretrain", [{}, {"pretrain": {"epochs": 0}}], ids=["by default", "by wish"])
def test_published_weights_for_other_classes_must_be_trained(tiny, parent, pretrain):
    """Its new last layer would be pruned, and could be removed whole, before it has learned anything."""
    tiny |= {"parent": {**parent, **pretrain, "pretrained": True}, "targets": ["50%"]}
    with pytest.raises(
        InputError, match=r"^parent.pretrained: .* have no classifier for 10 classes; add parent.pretrain"
    ):
        check_study(resolve_targets(parse_config(tiny, "c"), None), need_data=False)
    tiny["parent"]["pretrain"] = {"epochs": 1}
    assert check_study(resolve_targets(parse_config(tiny, "c"), None), need_data=False)
