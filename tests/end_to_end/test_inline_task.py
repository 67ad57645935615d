"""A second task uses the same interface: two attributes of each image are trained, pruned, scored and delivered.

The task and its dataset are one file outside the package. Its labels are not classes, its loss is not a cross-entropy
over classes, and its quality is the share of attributes that are right.
"""

import html
import json
import re
import time

import pytest
import yaml
from inline_runs import quick
from typer.testing import CliRunner

from accounting.study import plugins
from accounting.study.folder import StudyFolder
from accounting.words.task import CLASSIFICATION, learn_task
from benchmarks.follow_target import golden
from harness.config.study import load_configs
from harness.console.events import Narrator
from harness.console.progress import Silent
from harness.study import Launch, run_study
from reports.data.frames import load_frames
from reports.errors import NotAStudy
from reports.page.build import build_report
from reports.side_by_side.build import side_by_side

DATASET = '''
import hashlib
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from accounting.words.task import TaskWords
from harness.data.base import DataInfo, Splits, TensorSplit
from harness.task.base import Objective

NAMES = ("bright above", "bright below")


@dataclass(frozen=True)
class Attributes:
    """Targets (N, 2) of 0 or 1, outputs (N, 2) logits."""

    num_outputs: int = 2
    output_names: tuple = NAMES
    words = TaskWords("attributes", "hits", "hit rate", "hit rates", "better", "attribute", "attributes")
    outputs_text = "scores of 2 attributes"
    unnamed_text = ""
    reading = "print(dict(zip(ATTRIBUTES, outputs[0].tolist())))"

    def objective(self, recipe):
        return Objective(torch.nn.BCEWithLogitsLoss(), lambda images, targets: (images, targets))

    def taught(self, loss, teacher, distill, images, device):
        raise NotImplementedError

    def loss_sum(self, outputs, targets):
        return F.binary_cross_entropy_with_logits(outputs, targets, reduction="sum")

    def imitation(self, outputs, shown):
        return F.binary_cross_entropy_with_logits(outputs, shown.sigmoid())

    def empty_tally(self, device):
        return torch.zeros(2, dtype=torch.int64, device=device)

    def tally(self, outputs, targets):
        right = ((outputs > 0) == (targets > 0.5)).sum()
        return torch.stack([right, torch.full_like(right, targets.numel())])

    def quality(self, tally):
        right, count = tally.tolist()
        return right / count

    def some_targets(self, num_images, device):
        return torch.zeros(num_images, 2, device=device)

    def fault_of_targets(self, targets, num_images):
        return None if targets.shape == (num_images, 2) and targets.is_floating_point() else "gives no attributes"

    def fits(self, outputs, num_images):
        return outputs.shape == (num_images, 2)


class Dataset:
    KEYS = ()

    def __init__(self, config):
        pass

    def info(self):
        return DataInfo((1, 28, 28), 2, (0.5,), (0.25,), 160, num_val=40, num_test=40, other_task=Attributes())

    def check(self):
        pass

    def fingerprint(self):
        return hashlib.sha256(b"attributes").hexdigest()

    def splits(self):
        info, parts = self.info(), {}
        for seed, (name, n) in enumerate({"train": 160, "val": 40, "test": 40}.items()):
            draws = torch.Generator().manual_seed(seed)
            targets = torch.randint(0, 2, (n, 2), generator=draws).float()
            images = torch.randint(0, 60, (n, 1, 28, 28), generator=draws)
            images[:, :, :14] += (150 * targets[:, 0]).long()[:, None, None, None]
            images[:, :, 14:] += (150 * targets[:, 1]).long()[:, None, None, None]
            parts[name] = TensorSplit(images.to(torch.uint8), targets, info)
        return Splits(info, **parts)
'''
STUDY = {
    "name": "attributes",
    "plugins": ["attributes.py"],
    "dataset": {"name": "attributes"},
    "parent": {"family": "fbnetv3_mini", "variant": "s", "pretrain": {"epochs": 6}},
    "targets": ["50%"],
    "replicates": 1,
    "recipe": {"batch_size": 20, "lr": 0.02, "warmup_epochs": 0, "ema_decay": 0.0, "label_smoothing": 0.0},
    "routes": {"prune": {"criterion": "global_taylor", "finetune": {"epochs": 1}}},
    "budget": {"prune": "1h"},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The finished study of the other task. Do not change it."""
    root = tmp_path_factory.mktemp("task")
    (root / "attributes.py").write_text(DATASET)
    (root / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (config,) = load_configs(root / "study.yaml")
    with quick():
        run_study(config, root / "study", Launch("inline", begin_t=time.time()), Silent())
    plugins.use([])
    return StudyFolder(root / "study")


@pytest.fixture(autouse=True)
def _other_tests_are_of_classification():
    yield
    learn_task(CLASSIFICATION)


def test_it_learns_what_it_was_taught(study):
    """Guessing is right for half of the attributes."""
    (network,) = load_frames(study.root).delivered
    assert network.test_top1 is not None and network.test_top1 > 0.8


def test_what_is_delivered_names_its_outputs(study):
    (card,) = study.root.glob("models/*/prune/*/README.md")
    assert "## Attributes" in card.read_text() and "| 0 | bright above |" in card.read_text()
    assert json.loads((card.parent / "architecture.json").read_text())["class_names"] == [
        "bright above",
        "bright below",
    ]


FOREIGN = re.compile(r"\btop-?1\b|accura|\bclass(?:es)?\b|classification|\blogits?\b", re.IGNORECASE)
"""Words of classification, searched for in text that people read."""


def foreign(text):
    return [text[max(0, m.start() - 60) : m.end() + 20] for m in FOREIGN.finditer(text)]


def test_its_page_tells_it_in_its_own_words(study):
    page = build_report(study.root).read_text()
    said = html.unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL))
    assert not foreign(said)
    assert "test hits" in said and "Hit rate against MACs" in said and "2 attributes" in said
    assert any("test hit rate (%)" in figure.read_text() for figure in study.report.glob("figures/*.svg"))


def test_the_terminal_tells_it_in_its_own_words(study, capsys):
    from harness.cli import app

    for command in ("answer", "status", "audit"):
        CliRunner().invoke(app, [command, str(study.root)])
    said = CliRunner().invoke(app, ["answer", str(study.root)]).output
    assert "test hits by pruning" in said
    frames = load_frames(study.root)
    lines = [event.text for event in Narrator([]).tell(frames.ledger.records)]
    assert any("hits" in line for line in lines) and not foreign(" ".join(lines) + said)


def test_a_plan_of_two_studies_tells_each_in_its_own_words(tmp_path):
    from harness.cli import app

    (tmp_path / "attributes.py").write_text(DATASET)
    data = {"name": "fashion_mnist_mini", "num_train": 300}
    other = {key: value for key, value in STUDY.items() if key != "plugins"} | {"name": "clothes", "dataset": data}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump_all([STUDY, other]))
    first, second = CliRunner().invoke(app, ["plan", str(tmp_path / "study.yaml")]).output.split("clothes: ")
    assert "images of 2 attributes" in first and "images of 10 classes" in second


def test_what_is_delivered_is_told_in_its_own_words(study):
    (card,) = study.root.glob("models/*/prune/*/README.md")
    module = (card.parent / "model.py").read_text()
    assert "from model import ATTRIBUTES, build, preprocess" in module
    assert "print(dict(zip(ATTRIBUTES, outputs[0].tolist())))" in module
    assert not foreign(module.replace("class_names", "").replace("class NotAnImage", "")) and not foreign(
        card.read_text()
    )


def test_studies_of_two_tasks_are_not_compared(study, tmp_path):
    with pytest.raises(NotAStudy, match=r"is of attributes, .* is of classification: .*compare studies of one task"):
        side_by_side([study.root, golden(tmp_path)])


def test_targets_of_another_form_are_refused_before_anything_is_paid_for(tmp_path):
    from harness.errors import InputError

    (tmp_path / "attributes.py").write_text(DATASET.replace("(n, 2), generator=draws)", "(n, 3), generator=draws)"))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (config,) = load_configs(tmp_path / "study.yaml")
    with pytest.raises(InputError, match="gives no attributes"):
        run_study(config, tmp_path / "study", Launch("inline", begin_t=time.time()), Silent())
    plugins.use([])
    assert not (tmp_path / "study").exists()
