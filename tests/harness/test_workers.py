"""Training on two workers equals training on one: data, gradients, norms, masks, EMA, mixup, evaluation, resuming."""

import copy
import random

import pytest
import torch
from crews import in_crew
from timm.data.random_erasing import RandomErasing
from torch import nn
from torch.nn import functional

from harness.config.recipe import Recipe
from harness.data.base import DataInfo, Splits, TensorSplit
from harness.data.loader_split import LoaderSplit
from harness.training.course import Course
from harness.training.loop import Hooks, evaluate, recalibrate_batch_norm, train
from harness.training.resume import StateFiles
from harness.training.synced_norm import synced_norm
from harness.training.workers import (
    Crew,
    average_gradients,
    draws_apart,
    scored_batches,
    share_of,
    training_batches,
)
from pruning.gradual import GradualPruner
from pruning.masks import masks_from_model

CPU = torch.device("cpu")
INFO = DataInfo((1, 8, 8), 3, (0.4,), (0.3,), 60)

TOLERANCE = 2e-4
"""The largest difference of a weight between one worker and two, relative to the largest weight of its tensor.

Sums of float32 in another order differ by about 1e-7 relative; a dozen updates at a learning rate of 0.1 through batch
norm multiply that by well under 1000, while any fault in the division of a batch (a wrong mean, another image) changes
weights by above 1e-2.
"""


def tensors(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 80, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    images += (labels * 60).to(torch.uint8)[:, None, None, None]
    return TensorSplit(images, labels, INFO)


SPLITS = Splits(INFO, tensors(60, 1), tensors(31, 2), tensors(30, 3))


def network(norm=True, dropout=0.0):
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=not norm), nn.BatchNorm2d(6) if norm else nn.Identity(), nn.ReLU(),
        nn.Dropout(dropout), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3),
    )  # fmt: skip


class Killed(Exception):
    pass


def fit(crew, folder, recipe, *, norm=True, dropout=0.0, sparse=False, course=None, splits=SPLITS, killed_after=None):
    """(weights, val_top1 after each epoch, training losses) of a training, as plain values."""
    model = network(norm, dropout)
    if sparse:
        with torch.no_grad():
            model[0].weight[:3] = 0
    losses = []

    def note(epoch):
        losses.append(epoch.train_loss)
        if epoch.epoch == killed_after:
            raise Killed

    try:
        trained = train(
            model, splits, recipe, seed=5, device=CPU, masks=masks_from_model(model) if sparse else {},
            files=StateFiles(folder / "resume.pt"), hooks=Hooks(lambda epoch: None, note), course=course or Course(),
            crew=crew,
        )  # fmt: skip
    except Killed:
        return None
    return {k: v.clone() for k, v in trained.model.state_dict().items()}, trained.val_curve, losses


def difference(a, b):
    """The largest difference between two state dicts with the same keys, relative to the tensor's largest value."""
    assert a.keys() == b.keys()
    return max(
        float((a[k] - b[k]).abs().max()) / max(1e-6, float(a[k].abs().max())) for k in a if a[k].is_floating_point()
    )


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


SGD = Recipe(epochs=3, batch_size=20, lr=0.1)
CASES = {
    "no batch norm": (SGD, {"norm": False}),
    "synchronised batch norm": (SGD, {}),
    "exponential moving average": (SGD.model_copy(update={"ema_decay": 0.9}), {}),
    "mixup": (SGD.model_copy(update={"mixup_alpha": 0.3}), {}),
    "adamw": (Recipe(epochs=3, batch_size=20, lr=0.01, optimizer="adamw", weight_decay=0.05), {"norm": False}),
    "masks": (SGD, {"sparse": True}),
    "shares of different sizes": (SGD.model_copy(update={"batch_size": 14}), {}),
    "two passes without batch norm": (SGD.model_copy(update={"accumulate": 2}), {"norm": False}),
}


@pytest.mark.parametrize(("recipe", "options"), CASES.values(), ids=CASES)
def test_two_workers_train_the_network_that_one_does(recipe, options, tmp_path):
    alone, curve, losses = fit(Crew(), tmp_path / "one", recipe, **options)
    first, second = in_crew(2, tmp_path, lambda crew: fit(crew, tmp_path / f"two{crew.rank}", recipe, **options))
    assert same(first[0], second[0])
    assert difference(alone, first[0]) < TOLERANCE
    assert first[1] == second[1] == pytest.approx(curve, abs=1.01 / len(SPLITS.val))  # at most one borderline image
    assert first[2] == second[2] == pytest.approx(losses, rel=1e-3)
    if options.get("sparse"):
        assert not first[0]["0.weight"][:3].any()


def test_without_synchronised_batch_norm_workers_normalise_apart_and_still_agree(tmp_path):
    recipe = SGD.model_copy(update={"sync_batch_norm": False})
    alone, *_ = fit(Crew(), tmp_path / "one", recipe)
    first, second = in_crew(2, tmp_path, lambda crew: fit(crew, tmp_path / f"two{crew.rank}", recipe))
    assert same(first[0], second[0])
    assert first[1:] == second[1:]
    assert difference(alone, first[0]) > TOLERANCE


def test_passes_over_a_batch_give_its_gradient_on_one_worker(tmp_path):
    whole, *_ = fit(Crew(), tmp_path / "a", SGD, norm=False)
    parts, *_ = fit(Crew(), tmp_path / "b", SGD.model_copy(update={"accumulate": 3}), norm=False)
    assert 0 < difference(whole, parts) < TOLERANCE


@pytest.mark.parametrize("sync", [True, False])
def test_a_training_on_two_workers_taken_up_again_gives_the_same_bits(sync, tmp_path):
    recipe = Recipe(epochs=3, batch_size=20, lr=0.1, ema_decay=0.9, mixup_alpha=0.2, sync_batch_norm=sync)

    def work(crew):
        whole = fit(crew, tmp_path / "whole", recipe, dropout=0.2)
        assert fit(crew, tmp_path / "cut", recipe, dropout=0.2, killed_after=2) is None
        torch.manual_seed(123 + crew.rank)
        return whole, fit(crew, tmp_path / "cut", recipe, dropout=0.2)

    (whole, resumed), (other, other_resumed) = in_crew(2, tmp_path, work)
    assert same(whole[0], resumed[0])
    assert same(whole[0], other[0])
    assert same(resumed[0], other_resumed[0])
    assert whole[1] == resumed[1]
    assert len(resumed[2]) == 1


def test_gradual_pruning_has_the_same_masks_on_both_workers(tmp_path):
    start = 1 * 6 * 9 * 64 + 24 * 3

    def work(crew):
        pruner = GradualPruner((1, 8, 8), start, start // 2, "magnitude", "global")
        return fit(crew, tmp_path / f"two{crew.rank}", SGD, course=Course(masks=pruner.masks))

    first, second = in_crew(2, tmp_path, work)
    assert same(first[0], second[0])
    assert (first[0]["0.weight"] == 0).sum() > 10


def test_dropout_is_each_workers_own(tmp_path):
    def work(crew):
        from harness.training.workers import own_draws

        model = nn.Dropout(0.5).train()
        torch.manual_seed(3)
        with own_draws(model, 1, 1, CPU, crew):
            dropped = model(torch.ones(64))
            common = torch.rand(4)
        return dropped, common

    (dropped, common), (other_dropped, other_common) = in_crew(2, tmp_path, work)
    assert not torch.equal(dropped, other_dropped)
    assert torch.equal(common, other_common)


@pytest.mark.parametrize("count", [2, 3, 7, 20, 21, 64])
@pytest.mark.parametrize("size", [2, 3])
def test_shares_divide_a_batch_and_mirror_themselves(count, size):
    shares = [share_of(count, Crew(rank, size)) for rank in range(size)]
    assert sorted(place for share in shares for place in share) == list(range(count))
    for share in shares:
        assert share == [count - 1 - place for place in reversed(share)]
    if count >= 2 * size:
        assert max(map(len, shares)) - min(map(len, shares)) <= 3


@pytest.mark.parametrize("size", [2, 3])
def test_every_image_is_scored_by_one_worker_in_the_batch_it_always_has(size):
    whole = [labels.tolist() for _, labels in SPLITS.val.batches(7, CPU, augment=None)]
    parts = [
        [labels.tolist() for _, labels in scored_batches(SPLITS.val, 7, CPU, Crew(rank, size))] for rank in range(size)
    ]
    assert [parts[number % size][number // size] for number in range(len(whole))] == whole
    assert sum(len(part) for part in parts) == len(whole)


class Pictures(torch.utils.data.Dataset):
    """Images that are filled with their own number, plus noise from torch's generator when augmented."""

    def __init__(self, augment):
        self.augment = augment

    def __getitem__(self, index):
        noise = torch.rand(1) / 2 if self.augment == "timm" else torch.zeros(1)
        return (index + noise).view(1, 1, 1), index % 3


@pytest.mark.parametrize("num_workers", [0, 2])
def test_of_a_loader_workers_read_their_shares_alone_in_the_order_of_one(num_workers):
    split = LoaderSplit(Pictures, tuple(range(40)), num_workers)
    torch.manual_seed(1)
    whole = [images.flatten().tolist() for images, _ in split.batches(8, CPU, augment="none")]
    after = torch.rand(1)
    for rank in (0, 1):
        torch.manual_seed(1)
        crew = Crew(rank, 2)
        mine = [images.flatten().tolist() for images, _ in training_batches(split, 8, CPU, "none", crew)]
        assert mine == [[batch[place] for place in share_of(8, crew)] for batch in whole]
        assert torch.equal(torch.rand(1), after)


def test_augmentations_that_a_loader_draws_are_each_workers_own():
    split = LoaderSplit(Pictures, tuple(range(8)), 0)
    noise = []
    for rank in (0, 1):
        torch.manual_seed(1)
        read = [images.flatten() for images, _ in training_batches(split, 8, CPU, "timm", Crew(rank, 2))]
        noise.append(torch.cat(read) % 1)
    assert not torch.equal(*noise)


def test_synchronised_batch_norm_is_that_of_all_images(tmp_path):
    torch.manual_seed(0)
    x, upstream = torch.randn(6, 4, 3, 3) * 5 + 100, torch.randn(6, 4, 3, 3)
    shares = [slice(0, 4), slice(4, 6)]

    def run(mine, crew):
        norm = nn.BatchNorm2d(4)
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
        images = x[mine].clone().requires_grad_()
        with synced_norm(crew):
            out = norm(images)
        out.backward(upstream[mine])
        return out.detach(), images.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var

    whole = run(slice(None), Crew())
    parts = in_crew(2, tmp_path, lambda crew: run(shares[crew.rank], crew))
    for number, joined in enumerate([torch.cat, torch.cat, sum, sum]):
        torch.testing.assert_close(joined([part[number] for part in parts]), whole[number], rtol=1e-4, atol=1e-4)
    for number in (4, 5):
        torch.testing.assert_close(parts[0][number], whole[number], rtol=1e-5, atol=1e-5)
        assert torch.equal(parts[0][number], parts[1][number])


def test_gradients_are_averaged_over_images_not_over_workers(tmp_path):
    def work(crew):
        model = nn.Linear(1, 1, bias=False)
        model.weight.grad = torch.tensor([[2.0 if crew.rank else 8.0]]) * (1 if crew.rank else 3)
        average_gradients(model, 1 if crew.rank else 3, crew)
        return float(model.weight.grad)

    assert in_crew(2, tmp_path, work) == [pytest.approx((3 * 8 + 1 * 2) / 4)] * 2


def test_batch_norm_is_taken_anew_and_evaluated_on_two_workers_as_on_one(tmp_path):
    def work(crew):
        model = copy.deepcopy(network())
        torch.manual_seed(4)
        recalibrate_batch_norm(model, SPLITS.train, 16, CPU, crew)
        return model.state_dict(), evaluate(model, SPLITS.val, SPLITS.info.task, CPU, crew)

    alone, top1 = work(Crew())
    (first, first_top1), (second, second_top1) = in_crew(2, tmp_path, work)
    assert same(first, second)
    assert difference(alone, first) < 1e-5
    assert first_top1 == second_top1 == pytest.approx(top1, abs=1.01 / 31)


def test_workers_that_go_on_from_different_epochs_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match=r"do not have the same epoch to continue from: \[0, 1\]"):
        in_crew(2, tmp_path, lambda crew: crew.check_alike(crew.rank, "epoch to continue from"))


def test_a_batch_smaller_than_the_crew_is_refused():
    split = tensors(1, 1)
    with pytest.raises(RuntimeError, match="1 images cannot be divided between 2 workers"):
        list(training_batches(split, 8, CPU, "none", Crew(0, 2)))


def test_torch_batch_norm_is_as_before_outside_of_the_block():
    x = torch.randn(4, 3, 2, 2)
    with synced_norm(Crew()):
        assert torch.equal(functional.batch_norm(x, None, None, training=True), nn.BatchNorm2d(3)(x))


def test_what_workers_erase_does_not_part_what_they_draw_alike(tmp_path):
    """Shares of 6 and 8 images draw other amounts of noise; a supernet's members must be the same on both workers."""
    recipe = SGD.model_copy(update={"batch_size": 14, "erase_prob": 0.5})

    def drawn(crew):
        numbers = []

        def losses(net, images, targets, loss_fn):
            numbers.append(int(torch.randint(2**62, (1,))))
            yield loss_fn(net(images), targets)

        weights, _, _ = fit(crew, tmp_path / f"two{crew.rank}", recipe, course=Course(losses=losses))
        return numbers, weights

    first, second = in_crew(2, tmp_path, drawn)
    assert first[0] == second[0]
    assert len(set(first[0])) == 3 * (60 // 14)
    assert same(first[1], second[1])


def test_what_is_erased_is_each_workers_own():
    images = torch.zeros(4, 1, 8, 8)
    before, found = torch.get_rng_state(), []
    for rank in range(2):
        torch.set_rng_state(before)
        random.seed(1)
        with draws_apart(Crew(rank, 2)):
            found.append(RandomErasing(1.0, mode="pixel", device=CPU)(images.clone()))
        found.append(torch.rand(1) + random.random())
    assert not torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])
