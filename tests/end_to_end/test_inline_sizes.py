"""Networks with different image sizes in one study are trained, counted, delivered and reported at their own size."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest
import torch
import yaml
from inline_runs import NUM_TEST, metrics, models, records, run
from PIL import Image

from accounting.audit.audit import audit
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from accounting.macs.count import count_macs
from harness.config.study import DatasetConfig
from harness.data import fashion_mnist_mini
from harness.training.loop import EVAL_BATCH_SIZE

PARENT, SEARCHED = 24, (16, 20)
CONFIG = {
    "name": "sizes",
    "dataset": {"name": "fashion_mnist_mini", "num_train": 200},
    "parent": {"family": "fbnetv3_mini", "variant": "l", "pretrain": {"epochs": 1}, "image_size": PARENT},
    "targets": ["0.3M"],
    "replicates": 1,
    "recipe": {"batch_size": 50, "lr": 0.05, "epochs": 1},
    "routes": {
        "search": {"strategy": {"name": "random", "num_trials": 2}, "candidate": {"epochs": 1}, "num_predicted": 0,
                   "image_size": list(SEARCHED)},
        "prune": {"criterion": "channels_magnitude"},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sizes") / "study"
    run(CONFIG, folder)
    return folder


def loaded(model):
    spec = spec_from_file_location(f"delivered_{model.parent.name}", model / "model.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_each_network_is_delivered_at_its_own_size_and_below_the_target(study):
    sides = {}
    for model in models(study):
        about, found = json.loads((model / "architecture.json").read_text()), metrics(model)
        _, side, _ = about["image_shape"]
        sides[model.parent.name] = side
        assert about["decoded_px"] == [28, 28]
        assert f"both sides, to {side} x {side}, the network's own size" in (model / "README.md").read_text()
        assert found["image_size"] == side
        assert found["macs"] == count_macs(loaded(model).build(), about["image_shape"]).macs <= 300_000
    assert sides["prune"] == PARENT
    assert sides["search"] in SEARCHED


def test_a_delivered_network_scores_as_it_was_scored_with_its_own_preprocessing(study):
    test = fashion_mnist_mini.Dataset(DatasetConfig(name="fashion_mnist_mini", num_train=200)).splits().test
    for model in models(study):
        module = loaded(model)
        network, prepare = module.build(), module.preprocess()
        images = torch.stack([prepare(Image.fromarray(image[0].numpy())) for image in test.images[:NUM_TEST]])
        assert list(images.shape[1:]) == module.ABOUT["image_shape"]
        with torch.inference_mode():
            outputs = torch.cat([network(batch) for batch in images.split(EVAL_BATCH_SIZE)])
        right = int((outputs.argmax(1) == test.labels[:NUM_TEST]).sum())
        assert right == round(metrics(model)["test_top1"] * NUM_TEST)


def test_the_page_shows_the_size_of_each_and_the_ledger_adds_up(study):
    page = (study / "report" / "index.html").read_text()
    assert "image size" in page
    assert f"{PARENT} px" in page
    ledger = read_ledger(study / "ledger")
    assert audit(ledger.records, ledger.findings).ok


def test_run_again_it_does_nothing(study):
    before = len(records(study, Kind.ATTEMPT_STARTED))
    run(CONFIG, study)
    assert len(records(study, Kind.ATTEMPT_STARTED)) == before
    assert yaml.safe_load((study / "study.yaml").read_text())["parent"]["image_size"] == PARENT
