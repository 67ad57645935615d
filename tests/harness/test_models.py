"""Networks and files: specs, tensors, and users' checkpoints read by name and in order."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from accounting.study.folder import StudyFolder
from harness.config.study import ParentConfig
from harness.data.base import DataInfo
from harness.errors import InputError
from harness.models.build import (
    build_network,
    fit_checkpoint,
    load_checkpoint,
    load_tensors,
    parent_spec,
    save_tensors,
    with_regularisation,
)
from harness.paths import replacing

INFO = DataInfo((1, 28, 28), 10, (0.0,), (1.0,), 1)


def mini(variant="s"):
    return build_network(parent_spec(ParentConfig(family="fbnetv3_mini", variant=variant), INFO))


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


class TestFitCheckpoint:
    def test_by_name_whatever_the_order(self, tmp_path):
        source, model = mini(), mini()
        fit_checkpoint(model, dict(reversed(state(source).items())), tmp_path)
        assert all(torch.equal(a, b) for a, b in zip(state(model).values(), state(source).values(), strict=True))

    def test_in_order_where_names_are_others(self, tmp_path):
        source, model = mini(), mini()
        given = {f"net.{i}": value for i, value in enumerate(state(source).values()) if value.ndim}
        fit_checkpoint(model, given, tmp_path)
        for name, value in model.named_parameters():
            assert torch.equal(value, dict(source.named_parameters())[name])

    def test_a_classifier_of_another_size_stays_fresh(self, tmp_path):
        source, model = mini(), mini()
        before = model.classifier.weight.clone()
        given = state(source) | {"classifier.weight": torch.zeros(1000, 5), "classifier.bias": torch.zeros(1000)}
        fit_checkpoint(model, given, tmp_path)
        assert torch.equal(model.classifier.weight, before)
        assert torch.equal(model.conv_stem.weight, source.conv_stem.weight)

    @pytest.mark.parametrize("change", ["missing", "shape", "variant"])
    def test_what_does_not_fit_is_refused_and_counted(self, change, tmp_path):
        given = state(mini("m" if change == "variant" else "s"))
        if change == "missing":
            del given["conv_stem.weight"]
        elif change == "shape":
            given["conv_stem.weight"] = torch.zeros(1, 1, 3, 3)
        with pytest.raises(InputError, match="tensors are missing or of another shape") as caught:
            fit_checkpoint(mini(), given, tmp_path)
        assert change == "variant" or "1 of" in str(caught.value)

    def test_a_refused_checkpoint_changes_nothing(self, tmp_path):
        model = mini()
        before = state(model)
        with pytest.raises(InputError):
            fit_checkpoint(model, state(mini("m")), tmp_path)
        assert all(torch.equal(before[name], value) for name, value in state(model).items())


class TestLoadCheckpoint:
    @pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3}])
    def test_the_usual_wrappings(self, wrap, tmp_path):
        torch.save(wrap({"module.a": torch.ones(2)}), tmp_path / "c.pt")
        assert torch.equal(load_checkpoint(tmp_path / "c.pt")["a"], torch.ones(2))

    def test_safetensors(self, tmp_path):
        save_file({"a": torch.ones(2)}, tmp_path / "c.safetensors")
        assert torch.equal(load_checkpoint(tmp_path / "c.safetensors")["a"], torch.ones(2))


class TestSpecs:
    def test_timm(self):
        spec = parent_spec(ParentConfig(timm="resnet18"), INFO)
        assert build_network(spec).eval()(torch.zeros(1, 1, 28, 28)).shape == (1, 10)

    def test_channels_and_classes_are_those_of_the_data(self):
        spec = parent_spec(ParentConfig(family="fbnetv3_mini", variant="s"), DataInfo((3, 28, 28), 7, (), (), 1))
        assert build_network(spec).eval()(torch.zeros(2, 3, 28, 28)).shape == (2, 7)

    def test_regularisation_is_part_of_the_spec(self):
        recipe = {"drop_rate": 0.3, "drop_path_rate": 0.0}
        assert with_regularisation({"builder": "mobilenetv3"}, recipe)["drop_rate"] == 0.3
        timm = with_regularisation({"builder": "timm", "name": "x", "kwargs": {"in_chans": 1}}, recipe)
        assert timm["kwargs"] == {"in_chans": 1, "drop_rate": 0.3}

    def test_variants_are_of_growing_size(self):
        sizes = [sum(p.numel() for p in mini(variant).parameters()) for variant in "sml"]
        assert sizes == sorted(set(sizes))


class TestFiles:
    def test_tensors_there_and_back(self, tmp_path):
        tensors = {"a": torch.randn(3, 4).T, "b": torch.zeros(0)}
        save_tensors(tensors, tmp_path / "new" / "t.safetensors")
        assert all(torch.equal(load_tensors(tmp_path / "new" / "t.safetensors")[k], v) for k, v in tensors.items())

    def test_a_file_is_replaced_whole_or_not_at_all(self, tmp_path):
        path = tmp_path / "file"
        path.write_text("old")
        with pytest.raises(RuntimeError), replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_paths_lie_in_the_study(self, tmp_path):
        paths = StudyFolder(tmp_path)
        for path in (paths.config, paths.ledger, paths.lock, paths.tune, paths.report, paths.weights("j"),
                     paths.masks("j"), paths.resume("j"), paths.model(5, "prune", 0)):  # fmt: skip
            assert path.is_relative_to(tmp_path)


def test_linear_networks_have_no_order_to_guess(tmp_path):
    with pytest.raises(InputError):
        fit_checkpoint(nn.Linear(2, 2), {"x": torch.zeros(2, 2), "y": torch.zeros(3)}, tmp_path)


def test_a_classifier_of_another_size_is_left_and_named(tmp_path):
    model = build_network(parent_spec(ParentConfig(family="fbnetv3_mini", variant="s"), INFO))
    other = dict(mini().state_dict())
    other["classifier.weight"], other["classifier.bias"] = torch.zeros(7, 192), torch.zeros(7)
    assert fit_checkpoint(model, other, tmp_path / "x.pt") == ["classifier.weight", "classifier.bias"]
    assert torch.equal(model.conv_stem.weight, other["conv_stem.weight"])


def test_a_colour_checkpoint_for_grey_images_is_summed_as_timm_does(tmp_path):
    model, source = mini(), state(mini())
    colour = torch.randn(source["conv_stem.weight"].shape[0], 3, 3, 3)
    assert fit_checkpoint(model, source | {"conv_stem.weight": colour}, tmp_path) == []
    assert torch.allclose(model.conv_stem.weight, colour.sum(1, keepdim=True))


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema"])
def test_averaged_weights_are_preferred(key, tmp_path):
    plain, averaged = state(mini()), state(mini())
    torch.save({"state_dict": plain, key: averaged, "epoch": 3}, tmp_path / "x.pth")
    found = load_checkpoint(tmp_path / "x.pth")
    assert torch.equal(found["conv_stem.weight"], averaged["conv_stem.weight"])


def test_tied_weights_are_saved_and_come_back(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    save_tensors(model.state_dict(), tmp_path / "tied.safetensors")
    found = load_tensors(tmp_path / "tied.safetensors")
    assert torch.equal(found["0.weight"], model[0].weight)
    assert torch.equal(found["1.weight"], model[0].weight)
