"""A new classifier starts at zero on trained layers, as timm draws it on fresh ones, or as ``head_init_scale`` says."""

import pytest
import timm
import torch
from some_jobs import job

from accounting.ledger.records import Phase
from accounting.study.folder import StudyFolder
from harness.config.recipe import Recipe
from harness.jobs.start import FRESH, Checkpoint, InheritedFrom, StructureOf, WeightsOf
from harness.jobs.work import Train
from harness.models.build import build_network, save_tensors
from harness.models.classifier import classifier_tensors, untrained_classifier
from harness.work import bench as benches
from harness.work.bench import Bench
from nas_baseline.spaces import load_space
from nas_baseline.spaces.families import network_spec

SPEC = {"builder": "timm", "name": "mobilenetv3_small_050", "kwargs": {"in_chans": 3, "num_classes": 5}}


def network(folder, start=FRESH, spec=SPEC, **recipe):
    """The network with which a training of this start and recipe begins; torch's generator is seeded as a job does."""
    training = Recipe(epochs=1, **recipe)
    bench = Bench(job("prune", Phase.PRETRAIN, network=spec, start=start, seed=0, work=Train(training)),
                  StudyFolder(folder), None, torch.device("cpu"), print, print)  # fmt: skip
    torch.manual_seed(0)
    return bench.network(training)


def drawn(spec=SPEC):
    torch.manual_seed(0)
    return build_network(spec)


def saved(model, path):
    torch.save(model.state_dict(), path)
    return Checkpoint(str(path))


def of_other_classes():
    torch.manual_seed(1)
    return timm.create_model(SPEC["name"], in_chans=3, num_classes=9)


class TestAboveTrainedLayers:
    def test_every_class_is_equally_likely_at_first(self, tmp_path):
        model = network(tmp_path, saved(of_other_classes(), tmp_path / "x.pt")).eval()
        assert torch.equal(model(torch.rand(2, 3, 32, 32)), torch.zeros(2, 5))
        assert torch.equal(model.conv_stem.weight, of_other_classes().conv_stem.weight)

    @pytest.mark.parametrize("scale", [1.0, 0.5])
    def test_a_recipe_says_otherwise(self, tmp_path, scale):
        model = network(tmp_path, saved(of_other_classes(), tmp_path / "x.pt"), head_init_scale=scale)
        assert torch.equal(model.classifier.weight, drawn().classifier.weight * scale)
        assert model.classifier.weight.std() > 0.1 * scale

    def test_a_file_without_a_classifier_has_a_new_one(self, tmp_path):
        rest = {name: value for name, value in of_other_classes().state_dict().items() if "classifier" not in name}
        torch.save(rest, tmp_path / "x.pt")
        assert not network(tmp_path, Checkpoint(str(tmp_path / "x.pt"))).classifier.weight.any()

    @pytest.mark.parametrize("scale", [None, 0.0, 3.0])
    def test_a_classifier_for_these_classes_is_kept(self, tmp_path, scale):
        whole = drawn()
        model = network(tmp_path, saved(whole, tmp_path / "x.pt"), head_init_scale=scale)
        assert torch.equal(model.classifier.weight, whole.classifier.weight)

    @pytest.mark.parametrize("scale", [None, 0.0, 3.0])
    def test_a_network_that_was_trained_in_the_study_keeps_its_own(self, tmp_path, scale):
        paths, whole = StudyFolder(tmp_path), drawn()
        paths.weights("before").parent.mkdir(parents=True, exist_ok=True)
        save_tensors(whole.state_dict(), paths.weights("before"))
        model = network(tmp_path, WeightsOf("before"), head_init_scale=scale)
        assert torch.equal(model.classifier.weight, whole.classifier.weight)


OF_TIMM = {**SPEC, "kwargs": {**SPEC["kwargs"], "pretrained": True}}
OF_A_FAMILY = {**network_spec("fbnetv3", "b", 3, 5), "pretrained": "fbnetv3_b"}


class TestPublishedWeights:
    @pytest.mark.parametrize("spec", [OF_TIMM, OF_A_FAMILY], ids=["timm", "family"])
    @pytest.mark.parametrize(("classes", "zero"), [(5, True), (1000, False)])
    def test_the_classifier_is_new_unless_they_are_for_as_many_classes(
        self, tmp_path, monkeypatch, spec, classes, zero
    ):
        if "kwargs" in spec:
            spec = {**spec, "kwargs": {**spec["kwargs"], "num_classes": classes}}
            plain = {**spec, "kwargs": {**spec["kwargs"], "pretrained": False}}
        else:
            spec = {**spec, "num_classes": classes}
            plain = {key: value for key, value in spec.items() if key != "pretrained"}
        monkeypatch.setattr(benches, "build_network", lambda _: build_network(plain))  # they are not on this machine
        assert network(tmp_path, spec=spec).classifier.weight.any() != zero
        assert network(tmp_path, spec=spec, head_init_scale=1.0).classifier.weight.any()


class TestFreshNetworks:
    def test_start_as_timm_draws_them(self, tmp_path):
        model, expected = network(tmp_path), drawn()
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))

    def test_a_recipe_scales_the_classifier_and_nothing_else(self, tmp_path):
        model, expected = network(tmp_path, head_init_scale=0.25), dict(drawn().named_parameters())
        for name, parameter in model.named_parameters():
            scale = 0.25 if name.startswith("classifier.") else 1
            assert torch.equal(parameter, expected[name] * scale), name

    def test_so_does_that_of_a_structure_on_fresh_weights(self, tmp_path):
        paths = StudyFolder(tmp_path)
        paths.weights("before").parent.mkdir(parents=True, exist_ok=True)
        save_tensors(drawn().state_dict(), paths.weights("before"))
        assert network(tmp_path, StructureOf("before")).classifier.weight.any()
        assert not network(tmp_path, StructureOf("before"), head_init_scale=0.0).classifier.weight.any()

    def test_a_supernet_too(self, tmp_path, little_supernet):
        scaled = network(tmp_path, spec=little_supernet, head_init_scale=0.0)
        assert not scaled.network.classifier.weight.any()
        assert network(tmp_path, spec=little_supernet).network.classifier.weight.any()

    def test_members_inherit_the_supernets(self, tmp_path, little_supernet):
        paths, supernet = StudyFolder(tmp_path), drawn(little_supernet)
        paths.weights("shared").parent.mkdir(parents=True, exist_ok=True)
        save_tensors(supernet.state_dict(), paths.weights("shared"))
        arch = supernet.largest()
        start = InheritedFrom("shared", little_supernet, arch)
        model = network(tmp_path, start, supernet.space.network_spec(arch), head_init_scale=0.0)
        assert torch.equal(model.classifier.weight, supernet.extract(arch)["classifier.weight"])


@pytest.fixture
def little_supernet():
    return {"builder": "supernet", "space": load_space("fbnetv3_mini", in_chans=1, num_classes=5).data}


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("resnet18", {"fc.weight", "fc.bias"}),
        ("vit_tiny_patch16_224", {"head.weight", "head.bias"}),
        ("convnext_atto", {"head.fc.weight", "head.fc.bias"}),
        ("deit_tiny_distilled_patch16_224", {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}),
        ("tf_efficientnet_lite0", {"classifier.weight", "classifier.bias"}),
    ],
)
def test_timm_names_the_tensors(name, tensors):
    model = timm.create_model(name, num_classes=3)
    assert classifier_tensors(model) == tensors
    spec = {"builder": "timm", "name": name, "kwargs": {"num_classes": 3}}
    assert untrained_classifier(model, spec) == (sorted(tensors), 1.0)
