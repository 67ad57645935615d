"""The one trainer, on a tiny network and a few images: resuming, determinism, masks, batch norm, divergence."""

import copy

import pytest
import torch
from torch import nn

from harness.config.recipe import Recipe
from harness.data.base import DataInfo, Splits, TensorSplit
from harness.training.loop import Hooks, evaluate, recalibrate_batch_norm, seed_everything, train
from harness.training.resume import StateFiles
from harness.training.state import State
from harness.training.updates import Diverged
from pruning.masks import masks_from_model

CPU = torch.device("cpu")
INFO = DataInfo((1, 8, 8), 3, (0.4,), (0.3,), 60)


def split(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 80, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    images += (labels * 60).to(torch.uint8)[:, None, None, None]
    return TensorSplit(images, labels, INFO)


@pytest.fixture
def splits():
    return Splits(INFO, split(60, 1), split(30, 2), split(30, 3))


def network():
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3),
    )  # fmt: skip


class Seen:
    def __init__(self, stop_after=None):
        self.begun, self.epochs, self.stop_after = [], [], stop_after
        self.hooks = Hooks(self.begun.append, self.note)

    def note(self, epoch):
        self.epochs.append(epoch)
        if epoch.epoch == self.stop_after:
            raise InterruptedError("killed")


def fit(splits, folder, recipe, *, model=None, masks=None, seed=5, seen=None):
    seen = seen or Seen()
    trained = train(
        model or network(), splits, recipe, seed=seed, device=CPU, masks=masks or {},
        files=StateFiles(folder / "resume.pt"), hooks=seen.hooks,
    )  # fmt: skip
    return trained.model, trained.val_top1


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


RECIPES = {
    "sgd": Recipe(epochs=3, batch_size=20, lr=0.1),
    "ema": Recipe(epochs=3, batch_size=20, lr=0.1, ema_decay=0.9),
    "cutmix and mixup": Recipe(epochs=3, batch_size=20, lr=0.1, cutmix_alpha=1.0, mixup_alpha=0.3),
    "repeated": Recipe(epochs=3, batch_size=20, lr=0.1, repeated_augmentation=4),
    "erasing, linear": Recipe(epochs=3, batch_size=20, lr=0.1, erase_prob=0.7, schedule="linear"),
    "mixup": Recipe(epochs=3, batch_size=20, lr=0.1, mixup_alpha=0.3),
    "rmsprop": Recipe(epochs=3, batch_size=20, optimizer="rmsprop", lr=0.002),
    "adamw": Recipe(epochs=3, batch_size=20, optimizer="adamw", lr=0.01, weight_decay=0.05, augment="none"),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("killed_after", [1, 2])
def test_resuming_at_an_epoch_boundary_gives_the_undisturbed_weights(recipe, killed_after, splits, tmp_path):
    whole, val_top1 = fit(splits, tmp_path / "a", recipe)
    with pytest.raises(InterruptedError):
        fit(splits, tmp_path / "b", recipe, seen=Seen(stop_after=killed_after))
    seen = Seen()
    torch.manual_seed(123456)
    resumed, again = fit(splits, tmp_path / "b", recipe, model=network().apply(nn.Module.train), seen=seen)
    assert seen.begun == [killed_after]
    assert [epoch.epoch for epoch in seen.epochs] == list(range(killed_after + 1, 4))
    assert same(whole.state_dict(), resumed.state_dict())
    assert val_top1 == again


def test_a_run_cut_short_within_its_first_epoch_begins_anew(splits, tmp_path):
    seen = Seen()
    fit(splits, tmp_path, RECIPES["sgd"], seen=seen)
    assert seen.begun == [0]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_seed_alone_decides(recipe, splits, tmp_path):
    torch.manual_seed(1)
    one, _ = fit(splits, tmp_path / "a", recipe)
    torch.rand(100)
    two, _ = fit(splits, tmp_path / "b", recipe)
    other, _ = fit(splits, tmp_path / "c", recipe, seed=6)
    assert same(one.state_dict(), two.state_dict())
    assert not same(one.state_dict(), other.state_dict())


def test_it_learns(splits, tmp_path):
    untrained = evaluate(network().to(memory_format=torch.channels_last), splits.val, splits.info.task, CPU)
    _, val_top1 = fit(splits, tmp_path, Recipe(epochs=15, batch_size=10, lr=0.1, augment="none"))
    assert val_top1 > max(0.8, untrained)


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.2), ("rmsprop", 0.01)])
def test_without_momentum_it_learns_too(optimizer, lr, splits, tmp_path):
    untrained = evaluate(network().to(memory_format=torch.channels_last), splits.val, splits.info.task, CPU)
    recipe = Recipe(epochs=15, batch_size=10, optimizer=optimizer, lr=lr, momentum=0, augment="none")
    assert fit(splits, tmp_path, recipe)[1] > max(0.6, untrained)


def test_each_epoch_is_told_and_only_the_last_has_no_checkpoint(splits, tmp_path):
    seen = Seen()
    _, val_top1 = fit(splits, tmp_path, RECIPES["sgd"], seen=seen)
    assert [(e.epoch, e.num_epochs, e.checkpointed) for e in seen.epochs] == [(1, 3, True), (2, 3, True), (3, 3, False)]
    assert seen.epochs[-1].val_top1 == val_top1
    assert all(0 <= e.val_top1 <= 1 and e.train_loss > 0 for e in seen.epochs)


def test_no_epochs_leave_the_network_as_it_was(splits, tmp_path):
    model = network()
    before = copy.deepcopy(model.state_dict())
    kept, val_top1 = fit(splits, tmp_path, Recipe(epochs=0), model=model)
    assert same(before, kept.state_dict())
    assert val_top1 == evaluate(kept, splits.val, splits.info.task, CPU)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_masked_weights_are_exact_zeros_afterwards(recipe, splits, tmp_path):
    model = network()
    masks = {
        "0.weight": torch.rand(model[0].weight.shape) < 0.5,
        "6.weight": torch.rand(model[6].weight.shape) < 0.3,
    }
    heavy = recipe.model_copy(update={"weight_decay": 0.1, "momentum": 0.9})
    kept, _ = fit(splits, tmp_path, heavy, model=model, masks=masks)
    for name, mask in masks.items():
        weight = dict(kept.named_parameters())[name]
        assert not weight[~mask].any()
        assert weight[mask].all()
        assert torch.equal(masks_from_model(kept)[name], mask)


def test_masks_hold_over_a_resume(splits, tmp_path):
    recipe = RECIPES["ema"]
    masks = {"0.weight": torch.rand(6, 1, 3, 3, generator=torch.Generator().manual_seed(3)) < 0.5}
    whole, _ = fit(splits, tmp_path / "a", recipe, masks=masks)
    with pytest.raises(InterruptedError):
        fit(splits, tmp_path / "b", recipe, masks=masks, seen=Seen(stop_after=2))
    resumed, _ = fit(splits, tmp_path / "b", recipe, masks=masks)
    assert same(whole.state_dict(), resumed.state_dict())
    assert not resumed[0].weight[~masks["0.weight"]].any()


@pytest.mark.parametrize("lr", [1e30, 1e38])
def test_a_loss_that_is_no_number_is_divergence(lr, splits, tmp_path):
    with pytest.raises(Diverged, match="loss became"):
        fit(splits, tmp_path, Recipe.model_construct(epochs=3, batch_size=20, lr=lr, warmup_epochs=0))


def test_recalibration_changes_statistics_alone(splits):
    model = network()
    before = copy.deepcopy(model.state_dict())
    recalibrate_batch_norm(model, splits.train, 20, CPU)
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert model[1].momentum == 0.1
    assert not model.training


def test_recalibrated_statistics_are_the_averages_of_the_images(splits):
    """One batch of all 60 images, whose mean and variance per channel are computed here."""
    model = network()
    recalibrate_batch_norm(model, splits.train, 60, CPU)
    images = (splits.train.images.float() / 255 - 0.4) / 0.3
    with torch.no_grad():
        out = model[0](images)
    assert torch.allclose(model[1].running_mean, out.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(model[1].running_var, out.var((0, 2, 3)), atol=1e-4)


def test_a_network_without_batch_norm_is_left_alone(splits):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    before = copy.deepcopy(model.state_dict())
    recalibrate_batch_norm(model, splits.train, 20, CPU)
    assert same(before, model.state_dict())


def test_evaluate_counts_by_hand(splits):
    class First(nn.Module):
        def forward(self, x):
            return torch.tensor([[1.0, 0.0, 0.0]]).expand(len(x), 3)

    assert evaluate(First(), splits.val, splits.info.task, CPU) == 10 / 30


def test_seeding_is_by_seed_and_epoch():
    def draw(seed, epoch):
        import random

        import numpy as np

        seed_everything(seed, epoch)
        return float(torch.rand(1)), float(np.random.rand()), random.random()

    assert draw(1, 2) == draw(1, 2)
    assert len({draw(1, 2), draw(2, 1), draw(1, 3), draw(0, 2)}) == 4


def test_a_foreign_resume_file_is_dropped_and_that_is_said(splits, tmp_path, caplog):
    torch.save({"epoch": 1, "model": {}, "ema": None, "optimizer": {}}, tmp_path / "resume.pt")
    trained, _ = fit(splits, tmp_path, RECIPES["sgd"])
    assert "is dropped (it was not written by this version)" in caplog.text
    (tmp_path / "fresh").mkdir()
    fresh, _ = fit(splits, tmp_path / "fresh", RECIPES["sgd"])
    assert same(trained.state_dict(), fresh.state_dict())


def test_the_moving_average_leaves_its_random_start_in_a_short_training(splits, tmp_path):
    """With decay 0.9998 and no warm-up, 20 updates would move the average only 0.4 % of the way."""
    model = network()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    recipe = Recipe(epochs=2, batch_size=6, lr=0.1, ema_decay=0.9998, augment="none")
    hooks = Hooks(lambda done: None, lambda epoch: None)
    kept = train(
        model, splits, recipe, seed=0, device=CPU, masks={}, files=StateFiles(tmp_path / "r.pt"), hooks=hooks
    ).model
    moved = sum(float((p - start[name]).norm()) for name, p in kept.named_parameters())
    whole = sum(float((p - start[name]).norm()) for name, p in model.named_parameters())
    assert moved > 0.3 * whole


def test_the_scale_of_losses_is_kept_over_a_kill(tmp_path):
    model = network()
    before = State(
        model, None, torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu", init_scale=64.0)
    )
    before.scaler.scale(torch.ones(()))  # a scaler has a state once it has scaled
    before.save(tmp_path / "resume.pt", 3, [0.1, 0.2, 0.3], {})
    after = State(network(), None, torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu"))
    assert after.scaler.get_scale() != 64.0
    assert after.restore(tmp_path / "resume.pt", CPU, {}) == (3, [0.1, 0.2, 0.3], {}, None)
    assert after.scaler.get_scale() == 64.0


@pytest.mark.parametrize("changed", [
    {"cutmix_alpha": 1.0}, {"erase_prob": 1.0}, {"schedule": "linear"}, {"repeated_augmentation": 2},
], ids=str)  # fmt: skip
def test_each_changes_what_is_learned(changed, splits, tmp_path):
    plain, _ = fit(splits, tmp_path / "a", RECIPES["sgd"])
    other, _ = fit(splits, tmp_path / "b", RECIPES["sgd"].model_copy(update=changed))
    assert not same(plain.state_dict(), other.state_dict())


def test_a_linear_schedule_falls_by_the_same_step_at_each_update(splits, tmp_path, monkeypatch):
    """2 epochs of 3 updates without warm-up, from 0.6 towards 0: each update lowers the rate by a sixth of 0.6."""
    rates = []
    step = torch.optim.SGD.step

    def noted(optimizer, *args, **kwargs):
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    fit(splits, tmp_path, Recipe(epochs=2, batch_size=20, lr=0.6, warmup_epochs=0, schedule="linear"))
    assert rates == pytest.approx([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_fields_that_came_later_are_written_only_where_they_say_something():
    later = {"cutmix_alpha", "erase_prob", "randaugment_magnitude", "repeated_augmentation", "schedule"}
    assert not later & set(Recipe().as_spec())
    given = Recipe(cutmix_alpha=1, erase_prob=0.1, randaugment_magnitude=5, schedule="linear", repeated_augmentation=2)
    assert later <= set(given.as_spec())
    assert Recipe.model_validate(given.as_spec()) == given


def test_a_new_field_is_one_that_came_later():
    """A new field needs no note of its age: jobs that do not use it keep the spec that they had."""

    class WithMore(Recipe):
        clip_norm: float = 0.0

    assert WithMore().as_spec() == Recipe().as_spec()
    assert WithMore(clip_norm=1.0).as_spec() == Recipe().as_spec() | {"clip_norm": 1.0}


def test_the_strength_of_randaugment_reaches_every_operation():
    from harness.data.augment import _operations
    from harness.data.transforms import _transform

    info = DataInfo((3, 32, 32), 3, (0.5,) * 3, (0.5,) * 3, 60)
    for recipe, magnitude in ((Recipe(augment="timm"), 9), (Recipe(augment="timm", randaugment_magnitude=4), 4)):
        assert {op.magnitude for op in _operations(_transform(info, recipe.augmentation))} == {magnitude}
    assert Recipe(augment="light", randaugment_magnitude=4).augmentation == "light"


def test_every_pass_over_a_few_images_has_two_for_batch_norm(tmp_path):
    """Seven images and 64 passes give three, of 3, 2 and 2: at one pixel, a single image has no variance."""
    few = Splits(INFO, split(7, 1), split(30, 2), split(30, 3))
    model = nn.Sequential(nn.Conv2d(1, 6, 8), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(6, 3))
    recipe = Recipe(epochs=2, batch_size=128, accumulate=64, warmup_epochs=0)
    trained, _ = fit(few, tmp_path, recipe, model=model)
    assert all(bool(torch.isfinite(value).all()) for value in trained.state_dict().values())


@pytest.mark.parametrize("recipe", [
    Recipe(lr=0.1, weight_decay=0.01), Recipe(lr=0.1, momentum=0.0), Recipe(optimizer="adamw", lr=0.01, weight_decay=0.05),
], ids=["sgd", "momentum 0", "adamw"])  # fmt: skip
def test_a_fused_optimizer_steps_as_the_plain_one_does(recipe):
    """To 1e-6: sums are in another order. AdamW's first steps are signs of gradients, so none of them is near 0."""
    models = network(), network()
    fused = State.of(models[0], recipe, CPU).optimizer
    assert all(group["fused"] for group in fused.param_groups)
    plain = type(fused)(
        [{**{k: v for k, v in group.items() if k not in ("params", "fused")}, "params": [
            dict(models[1].named_parameters())[name] for name, p in models[0].named_parameters()
            if any(p is q for q in group["params"])
        ]} for group in fused.param_groups], fused=False, lr=recipe.lr,
    )  # fmt: skip
    for number in range(5):
        for model, optimizer in zip(models, (fused, plain), strict=True):
            generator = torch.Generator().manual_seed(number)
            for p in model.parameters():
                p.grad = 1 + torch.rand(p.shape, generator=generator)
            optimizer.step()
    for p, q in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-6)


def test_a_weight_that_gets_its_first_gradient_late_begins_as_without_a_momentum():
    """As in a network that skips a block at random; torch's fused SGD fails if only some weights have a momentum."""
    recipe = Recipe(epochs=1, batch_size=4, optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=0.0)
    start = nn.ModuleList([nn.Linear(3, 1), nn.Linear(3, 1)])
    models = [copy.deepcopy(start) for _ in range(2)]
    fused = State.of(models[0], recipe, CPU).optimizer
    plain = torch.optim.SGD(models[1].parameters(), lr=0.1, momentum=0.9, nesterov=fused.param_groups[0]["nesterov"])
    for used in (1, 2, 2):
        for model, optimizer in zip(models, (fused, plain), strict=True):
            optimizer.zero_grad(set_to_none=True)
            sum(part(torch.ones(2, 3)).sum() for part in list(model)[:used]).backward()
            optimizer.step()
    for mine, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-6)
