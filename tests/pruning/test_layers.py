import pytest
import timm
import torch

from pruning.layers import any_of, by_kind, by_name, by_role, find_layers, parse_filter


def roles(name, size, **options):
    return {layer.name: str(layer.role) for layer in find_layers(timm.create_model(name, **options), size)}


def test_roles_of_an_fbnetv3():
    found = roles("fbnetv3_b", (3, 224, 224))
    assert found["conv_stem"] == "stem" and found["conv_head"] == "head" and found["classifier"] == "classifier"
    assert found["blocks.0.0.conv_dw"] == "depthwise" and found["blocks.0.0.conv_pw"] == "project"
    assert found["blocks.1.0.conv_pw"] == "expand" and found["blocks.1.0.conv_dw"] == "depthwise"
    assert found["blocks.1.0.conv_pwl"] == "project"
    assert found["blocks.2.0.se.conv_reduce"] == found["blocks.2.0.se.conv_expand"] == "se"
    assert found["blocks.6.0.conv"] == "head"
    assert "other" not in found.values()


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("resnet18", 64, {"conv1": "stem", "fc": "classifier", "layer1.0.conv1": "other"}),
        ("convnext_atto", 64, {"stem.0": "stem", "head.fc": "classifier", "stages.0.blocks.0.conv_dw": "depthwise",
                               "stages.0.blocks.0.mlp.fc1": "expand", "stages.0.blocks.0.mlp.fc2": "project"}),
        ("mobilenetv3_large_100", 64, {"conv_stem": "stem", "conv_head": "head", "blocks.6.0.conv": "head"}),
    ],
)  # fmt: skip
def test_roles_of_others(name, size, expected):
    found = roles(name, (3, size, size))
    assert {key: found[key] for key in expected} == expected


def test_costs_and_parameters():
    model = timm.create_model("mobilenetv3_small_050", num_classes=7)
    layers = find_layers(model, (3, 32, 32))
    parameters = dict(model.named_parameters())
    assert all(parameters[layer.param_name] is layer.weight for layer in layers)
    by_layer = {layer.name: layer for layer in layers}
    assert by_layer["conv_stem"].macs_per_weight == 16 * 16
    assert by_layer["classifier"].macs_per_weight == 1 and by_layer["classifier"].num_weights == 7 * 1024
    assert by_layer["conv_stem"].kind == "Conv2d"


def test_filters():
    layers = find_layers(timm.create_model("mobilenetv3_small_050"), (3, 32, 32))

    def names(keep):
        return {layer.name for layer in layers if keep(layer)}

    assert names(by_name("conv_*")) == {"conv_stem", "conv_head"}
    assert names(by_kind("Linear")) == {"classifier"}
    assert names(any_of([by_role("stem"), by_kind("Linear")])) == {"conv_stem", "classifier"}
    assert names(parse_filter(["role:stem", "type:Linear", "name:conv_he*"])) == {
        "conv_stem",
        "conv_head",
        "classifier",
    }
    assert names(parse_filter([])) == set()
    with pytest.raises(ValueError, match="allowed: stem, expand"):
        by_role("steam")
    for term in ("stem", "rule:stem", "role:"):
        with pytest.raises(ValueError, match="cannot read layer filter"):
            parse_filter([term])


def test_a_parameter_used_outside_a_module_is_found():
    class Functional(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = torch.nn.Parameter(torch.ones(3, 4))

        def forward(self, x):
            return torch.nn.functional.linear(x.flatten(1), self.kernel)

    (layer,) = find_layers(Functional(), (4, 1, 1))
    assert layer.param_name == "kernel" and layer.macs_per_weight == 1 and layer.weight is not None
