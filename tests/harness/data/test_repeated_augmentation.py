"""Repeated augmentation puts each image into a batch several times, varied each time; the batch count is the same."""

import pytest
import torch
from torch.utils.data import Dataset

from harness.config.recipe import Recipe
from harness.data.base import DataInfo, TensorSplit, how_often, repeated
from harness.data.loader_split import LoaderSplit
from harness.training.workers import Crew, share_of, training_batches

CPU = torch.device("cpu")
NUM = 50


def in_memory():
    """Every pixel of image n is n, except the first column, which is 255; a flip moves that column."""
    images = torch.arange(NUM, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).clone()
    images[..., 0] = 255
    return TensorSplit(images, torch.arange(NUM), DataInfo((1, 8, 8), NUM, (0.0,), (1.0,), NUM))


class Pictures(Dataset):
    def __init__(self, augment):
        assert augment in (None, "none", "light", "timm-m5")
        self.augment = augment

    def __getitem__(self, index):
        return index + (torch.rand(1) / 2 if self.augment != "none" else torch.zeros(1)).view(1, 1, 1), index


def from_files(num_workers=0):
    return LoaderSplit(Pictures, tuple(range(NUM)), num_workers)


def labels_of(split, augment, batch_size=12, seed=1):
    torch.manual_seed(seed)
    return [labels.tolist() for _, labels in split.batches(batch_size, CPU, augment=augment)]


def test_batches_by_hand():
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    assert list(repeated(order, 4, 2, drop_last=True)) == [[3, 1, 3, 1], [4, 0, 4, 0]]
    assert list(repeated(order, 4, 1, drop_last=True)) == [[3, 1, 4, 0], [5, 9, 2, 6]]
    assert list(repeated(order, 4, 1, drop_last=False)) == [[3, 1, 4, 0], [5, 9, 2, 6], [8, 7]]
    assert list(repeated(order[:4], 8, 2, drop_last=False)) == [[3, 1, 3, 1]]  # fewer images than a batch holds


@pytest.mark.parametrize("split", [in_memory(), from_files(), from_files(2)], ids=["memory", "files", "workers"])
def test_each_image_is_so_often_in_its_batch_and_in_no_other(split):
    plain, often = labels_of(split, "light"), labels_of(split, "light*3")
    assert len(often) == len(plain) == 4 and all(len(batch) == 12 for batch in often)
    assert all(batch[:4] * 3 == batch for batch in often)
    seen = [label for batch in often for label in batch[:4]]
    assert len(set(seen)) == len(seen) == 16
    assert labels_of(split, "light*3") == often != labels_of(split, "light*3", seed=2)


def test_each_time_it_is_varied_by_itself():
    torch.manual_seed(0)
    for split in (in_memory(), from_files()):
        images, _ = next(split.batches(48, CPU, augment="light*12"))
        assert len({tuple(image.flatten().tolist()) for image in images[::4]}) > 2  # the first image, twelve times


def test_once_is_what_it_was():
    assert (
        how_often("light") == ("light", 1) and how_often(None) == (None, 1) and how_often("timm-m5*3") == ("timm-m5", 3)
    )
    for split in (in_memory(), from_files()):
        torch.manual_seed(3)
        one = torch.cat([images for images, _ in split.batches(12, CPU, augment="light*1")])
        torch.manual_seed(3)
        assert torch.equal(one, torch.cat([images for images, _ in split.batches(12, CPU, augment="light")]))


@pytest.mark.parametrize("split", [in_memory(), from_files()], ids=["memory", "files"])
def test_workers_share_the_batches_of_one(split):
    torch.manual_seed(1)
    whole = [labels.tolist() for _, labels in training_batches(split, 12, CPU, "light*3", Crew())]
    for rank in (0, 1):
        torch.manual_seed(1)
        mine = [labels.tolist() for _, labels in training_batches(split, 12, CPU, "light*3", Crew(rank, 2))]
        assert mine == [[batch[place] for place in share_of(12, Crew(rank, 2))] for batch in whole]


def test_a_recipe_asks_for_it():
    assert Recipe(repeated_augmentation=3).augmentation == "light*3"
    assert Recipe(augment="timm", randaugment_magnitude=5, repeated_augmentation=2).augmentation == "timm-m5*2"
    assert Recipe().augmentation == "light"
