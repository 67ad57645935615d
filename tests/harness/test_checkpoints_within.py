"""A training that is killed within an epoch continues from its last checkpoint there, to the same bits."""

from dataclasses import replace

import pytest
import torch
from crews import in_crew
from ledger_records import alloc, by_id, closed, failed, free, ok, opened, progress, start, work
from test_training import RECIPES as TRAININGS
from test_training import same
from torch import nn
from torch.utils.data import Dataset

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from harness.config.recipe import Recipe
from harness.config.resources import ResourcesConfig
from harness.console.events import Narrator
from harness.data.base import DataInfo, Splits, TensorSplit
from harness.data.loader_split import LoaderSplit
from harness.errors import InputError
from harness.training import within
from harness.training.course import Course
from harness.training.loop import Hooks, Stopped, train
from harness.training.resume import StateFiles, load_state
from harness.training.workers import ALONE

CPU = torch.device("cpu")
INFO = DataInfo((1, 8, 8), 3, (0.4,), (0.3,), 60)
PER_EPOCH = 3
"""Updates of an epoch of 60 images in batches of 20."""


def tensors(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 80, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return TensorSplit(images + (labels * 60).to(torch.uint8)[:, None, None, None], labels, INFO)


class Noisy(Dataset):
    """Images with noise that is drawn as they are read, as augmentations are."""

    def __init__(self, augment):
        self.augment, self.data = augment, tensors(60, 1)

    def __getitem__(self, index):
        image = self.data.images[index].float() / 255
        return (image if self.augment is None else image + 0.1 * torch.rand_like(image)), int(self.data.labels[index])

    def __len__(self):
        return 60


def splits_of(num_readers=None):
    part = tensors(60, 1) if num_readers is None else LoaderSplit(Noisy, tuple(range(60)), num_readers)
    return Splits(INFO, part, tensors(30, 2), tensors(30, 3))


def network():
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3),
    )  # fmt: skip


class Killed(Exception):
    pass


def fit(folder, recipe, *, dies_at=None, splits=None, crew=ALONE, stop=lambda: None, every_s=0.0):
    """(weights, accuracy, epochs that were begun from, checkpoints within epochs); killed after a checkpoint there."""
    begun, saved, losses = [], [], []

    def note(epochs):
        saved.append(epochs)
        if dies_at is not None and epochs == pytest.approx(dies_at):
            raise Killed

    folder.mkdir(parents=True, exist_ok=True)
    model = network()
    hooks = Hooks(begun.append, lambda epoch: losses.append(epoch.train_loss), stop=stop, saved=note)
    if not crew.is_first:
        hooks = replace(hooks, saved=note if dies_at is not None else lambda epochs: None)
    trained = train(
        model, splits or splits_of(), recipe, seed=5, device=CPU, masks={}, files=StateFiles(folder / "resume.pt"),
        hooks=hooks, course=Course(), crew=crew, every_s=every_s,
    )  # fmt: skip
    return trained.model.state_dict(), (trained.val_top1, tuple(losses)), begun, saved


RECIPES = {**TRAININGS, "in passes": Recipe(epochs=3, batch_size=20, lr=0.1, accumulate=2)}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("updates", [1, 4, 8])
def test_it_goes_on_within_its_epoch_to_the_same_bits(recipe, updates, tmp_path):
    whole, found, _, saved = fit(tmp_path / "whole", recipe)
    assert saved == [pytest.approx(n / PER_EPOCH) for n in range(1, 9) if n % PER_EPOCH]
    with pytest.raises(Killed):
        fit(tmp_path / "parts", recipe, dies_at=updates / PER_EPOCH)
    torch.manual_seed(999)
    weights, again, begun, _ = fit(tmp_path / "parts", recipe)
    assert begun == [pytest.approx(updates / PER_EPOCH)]
    assert same(whole, weights)
    assert again[0] == found[0]
    assert again[1] == found[1][updates // PER_EPOCH :], "the loss of the epoch is that of all its updates"


def test_it_is_saved_within_an_epoch_only_after_that_long(tmp_path):
    weights, _, _, saved = fit(tmp_path / "a", RECIPES["sgd"], every_s=3600.0)
    assert saved == []
    never, _, _, saved = fit(tmp_path / "b", RECIPES["sgd"], every_s=None)
    assert saved == []
    often, _, _, _ = fit(tmp_path / "c", RECIPES["sgd"])
    assert same(weights, never)
    assert same(weights, often)


@pytest.mark.parametrize("num_readers", [0, 2])
def test_what_is_drawn_for_images_goes_on_too(num_readers, tmp_path):
    recipe = Recipe(epochs=2, batch_size=20, lr=0.1, mixup_alpha=0.3)

    def fitted(folder, **more):
        splits = splits_of(num_readers)
        try:
            return fit(folder, recipe, splits=splits, **more)
        finally:
            splits.train.close()

    whole = fitted(tmp_path / "whole")[0]
    with pytest.raises(Killed):
        fitted(tmp_path / "parts", dies_at=5 / PER_EPOCH)
    assert same(whole, fitted(tmp_path / "parts")[0])


@pytest.mark.parametrize("sync", [True, False])
def test_several_workers_go_on_together(sync, tmp_path, monkeypatch):
    """Without synchronised batch norm, each worker has running statistics of its own, and they begin at an epoch's end."""
    monkeypatch.setattr(within, "LOOK_UPDATES", 1)
    recipe = Recipe(epochs=2, batch_size=20, lr=0.1, mixup_alpha=0.3, sync_batch_norm=sync)

    def killed(crew):
        try:
            fit(tmp_path / "parts", recipe, dies_at=5 / PER_EPOCH, crew=crew)
        except Killed:
            return "killed"
        return "done"

    whole = in_crew(2, tmp_path / "meet" / "a", lambda crew: fit(tmp_path / "whole", recipe, crew=crew))
    assert in_crew(2, tmp_path / "meet" / "b", killed) == ["killed" if sync else "done"] * 2
    if not sync:
        assert whole[0][3] == []
        return
    again = in_crew(2, tmp_path / "meet" / "c", lambda crew: fit(tmp_path / "parts", recipe, crew=crew))
    assert again[0][2] == [pytest.approx(5 / PER_EPOCH)]
    assert same(whole[0][0], again[0][0])
    assert same(again[0][0], again[1][0])


def test_another_number_of_workers_goes_on_from_there_too(tmp_path, monkeypatch):
    monkeypatch.setattr(within, "LOOK_UPDATES", 1)
    recipe = RECIPES["sgd"]
    with pytest.raises(Killed):
        fit(tmp_path / "parts", recipe, dies_at=4 / PER_EPOCH)
    again = in_crew(2, tmp_path / "meet", lambda crew: fit(tmp_path / "parts", recipe, crew=crew))
    assert [each[2] for each in again] == [[pytest.approx(4 / PER_EPOCH)]] * 2
    assert same(again[0][0], again[1][0])


def test_a_budget_can_stop_it_there(tmp_path):
    whole = fit(tmp_path / "whole", RECIPES["sgd"])[0]
    asked = []

    def why():
        asked.append(1)
        return "the route's budget is spent" if len(asked) == 2 else None

    with pytest.raises(Stopped, match=r"^stopped after 0.667 of 3 epochs: the route's budget is spent$"):
        fit(tmp_path / "parts", RECIPES["sgd"], stop=why)
    weights, _, begun, _ = fit(tmp_path / "parts", RECIPES["sgd"])
    assert begun == [pytest.approx(2 / PER_EPOCH)]
    assert same(whole, weights)


def test_an_older_version_does_not_take_it_for_the_end_of_an_epoch(tmp_path):
    with pytest.raises(Killed):
        fit(tmp_path, RECIPES["sgd"], dies_at=4 / PER_EPOCH)
    assert b"prune-or-search resume 2" in (tmp_path / "resume.pt").read_bytes().split(b"\n", 1)[0]
    state = load_state(tmp_path / "resume.pt", "", CPU)
    assert (state["epoch"], state["part"]["updates"]) == (1, 1)


class TestInTheLedger:
    """An attempt of 100 s that is killed at 90 s: epochs end at 20 and 50, and within the third it was saved at 70."""

    def view(self, begun):
        checkpoint = {"kind": Kind.CHECKPOINT, "t": 70, "attempt": "a#1", "epoch": 2.5}
        first = [
            start("s", "a#1", "a", 0, allocation="A"), work("a#1", 10), progress("a#1", 20, 1), progress("a#1", 50, 2),
            checkpoint, failed("a#1", 90),
        ]  # fmt: skip
        second = [
            start("s", "a#2", "a", 92, allocation="A"), work("a#2", 95, begun), progress("a#2", 110, 3), ok("a#2", 112, 111),
        ]  # fmt: skip
        records = [opened("s", 0), alloc("s", "A", 0), *first, *second, free("s", "A", 112), closed("s", 113)]
        found = audit(records)
        assert found.ok, found.findings
        return by_id(derive(records))

    @pytest.mark.parametrize(("begun", "kept_until"), [(2.5, 70), (2, 50), (0, 10)])
    def test_what_was_done_until_the_checkpoint_is_kept_if_it_was_continued_from(self, begun, kept_until):
        attempt = self.view(begun)["a#1"]
        assert (attempt.productive_s, attempt.overhead_s, attempt.lost_s) == (kept_until - 10, 10, 90 - kept_until)


def test_it_is_told_where_every_epoch_is():
    records = [
        start("s", "a#1", "a", 0) | {"segment": "x", "line": 1},
        {"kind": Kind.CHECKPOINT, "t": 70, "attempt": "a#1", "epoch": 2.5, "segment": "x", "line": 2},
    ]
    events = list(Narrator([]).tell(records))
    assert (events[-1].text, events[-1].is_detail) == ("saved within an epoch, after 2.5 of them: a", True)


class TestConfig:
    def test_by_default_a_quarter_of_an_hour(self):
        assert ResourcesConfig().checkpoint_every_s == 900

    @pytest.mark.parametrize(("text", "seconds"), [("10 min", 600), ("1h30m", 5400), ("never", None)])
    def test_with_its_unit(self, text, seconds):
        assert ResourcesConfig(checkpoint_every=text).checkpoint_every_s == seconds

    @pytest.mark.parametrize("value", [10, "10", "0 s", "soon", None, True, [1]])
    def test_anything_else_is_refused_in_one_line(self, value, tiny):
        from harness.config.study import parse_config

        with pytest.raises(InputError, match=r"resources.checkpoint_every: .* is not a duration; .*; or never") as told:
            parse_config(tiny | {"resources": {"checkpoint_every": value}}, "tiny")
        assert "\n" not in str(told.value)
