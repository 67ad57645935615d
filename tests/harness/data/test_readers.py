"""Loader processes that stay from epoch to epoch read and draw what new processes would."""

import gc
import multiprocessing
import os
import random
import signal
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from harness.config.study import DatasetConfig
from harness.data import cache
from harness.data.base import Splits, closed_after
from harness.data.loader_split import LoaderSplit
from harness.data.readers import Readers
from harness.data.registry import open_dataset
from harness.data.sized import splits_at

CPU = torch.device("cpu")
NUM = 26


class Noisy(Dataset):
    """Items that show which numbers are drawn for them by torch, numpy and random, and in which process."""

    def __init__(self, augment):
        self.augment = augment

    def __len__(self):
        return NUM

    def __getitem__(self, index):
        worker = torch.utils.data.get_worker_info()
        process = -1 if worker is None else worker.id
        drawn = [index, float(torch.rand(())), np.random.rand(), random.random(), process]
        return torch.tensor(drawn, dtype=torch.float64), index


class Failing(Noisy):
    def __getitem__(self, index):
        if index == 13 and self.augment == "timm":
            raise ZeroDivisionError("13")
        return super().__getitem__(index)


def drawn(split, augment, seed):
    torch.manual_seed(seed)
    items = [images for images, _ in split.batches(4, CPU, augment=augment)]
    return torch.cat(items), torch.rand(())


def by_new_processes(augment, seed, num_workers):
    """A loader of torch's own, with processes of its own, as each pass had before processes stayed."""
    torch.manual_seed(seed)
    train = augment is not None
    loader = DataLoader(Noisy(augment), 4, shuffle=train, drop_last=train, num_workers=num_workers)
    return torch.cat([images for images, _ in loader]), torch.rand(())


def own_children():
    return {child.pid for child in multiprocessing.active_children()}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_pass_draws_what_a_new_loader_would(num_workers):
    split = LoaderSplit(Noisy, tuple(range(NUM)), num_workers)
    if num_workers == 0:  # numpy and random are this process's own, so they are seeded alike
        seeds = [(augment, seed) for augment, seed in (("light", 1), (None, 2), ("none", 3))]
    else:
        seeds = [("light", 1), ("light", 2), (None, 3), ("none", 4), ("light", 1)]
    for augment, seed in seeds:
        np.random.seed(seed)
        random.seed(seed)
        mine = drawn(split, augment, seed)
        np.random.seed(seed)
        random.seed(seed)
        theirs = by_new_processes(augment, seed, num_workers)
        assert torch.equal(mine[0], theirs[0])
        assert torch.equal(mine[1], theirs[1])  # as much of the global generator is used
    split.close()


def test_the_same_processes_serve_all_passes_until_the_split_is_closed():
    before = own_children()
    train = LoaderSplit(Noisy, tuple(range(20)), 2)
    val = LoaderSplit(Noisy, tuple(range(20, NUM)), 2, readers=train.readers)
    drawn(train, "light", 0)
    first = own_children() - before
    drawn(val, None, 1)
    drawn(train, "light", 2)
    assert own_children() - before == first and len(first) == 2
    with closed_after(Splits(None, train, val, val)):
        pass
    assert own_children() == before
    assert len(drawn(train, None, 3)[0]) == 20  # a closed split can still be read
    train.close()


def test_a_pass_that_is_left_early_changes_nothing_of_the_next():
    split = LoaderSplit(Noisy, tuple(range(NUM)), 2)
    torch.manual_seed(5)
    next(split.batches(2, CPU, augment="light"))
    first = own_children()
    mine, _ = drawn(split, "light", 1)
    assert torch.equal(mine, by_new_processes("light", 1, 2)[0])
    assert own_children() == first
    split.close()


def test_a_pass_within_a_pass_has_processes_of_its_own():
    split = LoaderSplit(Noisy, tuple(range(NUM)), 2)
    torch.manual_seed(1)
    outer = split.batches(4, CPU, augment="light")
    read = [next(outer)[0]]
    within, _ = drawn(split, "light", 1)
    read += [images for images, _ in outer]
    assert torch.equal(torch.cat(read), within)
    split.close()
    assert not own_children()


def test_an_error_in_a_process_is_raised_and_the_next_pass_is_whole():
    split = LoaderSplit(Failing, tuple(range(NUM)), 2)
    with pytest.raises(ZeroDivisionError):
        drawn(split, "timm", 1)
    assert torch.equal(drawn(split, "light", 1)[0], by_new_processes("light", 1, 2)[0])
    split.close()


@pytest.fixture
def photos(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path / "cache"))
    pixels = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(8):
                picture = pixels.integers(0, 256, (40, 37, 3), dtype=np.uint8)
                Image.fromarray(picture).save(tmp_path / part / name / f"{i}.png")
    return tmp_path


def as_an_image_at_a_time(split, info, augment):
    """Every image as timm's transform normalises it by itself, with the numbers that the split draws."""
    from torchvision.transforms import Compose, Normalize, ToTensor

    data = split.open_dataset(augment)
    steps = data.transform.transforms
    data.transform = Compose([*steps[:-1], ToTensor(), Normalize(torch.tensor(info.mean), torch.tensor(info.std))])
    order = torch.utils.data.RandomSampler(split.indices) if augment else range(len(split.indices))
    torch.empty((), dtype=torch.int64).random_()
    return torch.stack([data[split.indices[place]][0] for place in order])


@pytest.mark.parametrize("augment", [None, "none", "light", "timm"])
def test_a_batch_normalised_on_its_device_has_the_bits_of_images_normalised_one_at_a_time(augment, photos):
    dataset = open_dataset(DatasetConfig(name="image_folder", path=str(photos), image_size=32, num_workers=0))
    splits = dataset.splits()

    def seeded():
        torch.manual_seed(3)
        np.random.seed(3)
        random.seed(3)

    seeded()
    mine = torch.cat([images for images, _ in splits.train.batches(len(splits.train), CPU, augment=augment)])
    seeded()
    assert torch.equal(mine, as_an_image_at_a_time(splits.train, splits.info, augment))
    assert mine.is_contiguous(memory_format=torch.channels_last)


def test_splits_of_another_size_are_closed_with_the_whole_ones(photos):
    splits = open_dataset(DatasetConfig(name="image_folder", path=str(photos), image_size=32, num_workers=1)).splits()
    smaller = splits_at(splits, 16)
    for split in (smaller.train, smaller.val):
        assert {tuple(images.shape[1:]) for images, _ in split.batches(4, CPU, augment=None)} == {(3, 16, 16)}
    assert len(own_children()) == 1  # training and validation images are read by the same
    with closed_after(smaller):
        pass
    assert not own_children()


def test_a_failure_of_who_reads_leaves_no_process_in_the_middle_of_a_pass(monkeypatch):
    def full(images, scale):
        raise MemoryError("full")

    split = LoaderSplit(Noisy, tuple(range(NUM)), num_workers=2)
    with monkeypatch.context() as patched:
        patched.setattr("harness.data.loader_split._normalised", full)
        with pytest.raises(MemoryError) as kept:  # kept, with its traceback, as by a caller that tells of it later
            next(iter(split.batches(4, CPU, augment="light")))
    assert kept.value.args == ("full",)
    assert torch.equal(drawn(split, "light", 5)[0], by_new_processes("light", 5, 2)[0])
    split.close()
    assert not own_children()


class Counted(Noisy):
    """Counts in the file ``opened`` how often it is opened, over all processes."""

    opened = None

    def __init__(self, augment):
        super().__init__(augment)
        with self.opened.open("a") as file:
            file.write(".")


def test_a_process_opens_a_dataset_once_for_each_augmentation(tmp_path, monkeypatch):
    monkeypatch.setattr(Counted, "opened", tmp_path / "opened")
    split = LoaderSplit(Counted, tuple(range(NUM)), num_workers=2)
    for _ in range(3):
        for augment in ("light", None):
            drawn(split, augment, 1)
    split.close()
    assert len(Counted.opened.read_text()) == 2 * 2


class Hanging(Noisy):
    """Never gives the image 13 of an augmented pass."""

    def __getitem__(self, index):
        while index == 13 and self.augment == "timm":
            time.sleep(60)
        return super().__getitem__(index)


def in_thread(work):
    """What kind of error the work raises in a thread, where Ray runs attempts; torch tells the main thread of dead ones.

    Nothing of the work is left when the main thread is told of dead processes again.
    """
    kinds, told = [], signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def run():
        try:
            work()
        except Exception as error:
            kinds.append(type(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    gc.collect()
    signal.signal(signal.SIGCHLD, told)
    return kinds[0]


@pytest.mark.parametrize("where", ["main", "thread"])
def test_processes_from_which_nothing_comes_are_killed_and_the_next_pass_is_whole(where):
    split = LoaderSplit(Hanging, tuple(range(NUM)), 2, readers=Readers(limit_s=0.5))
    said = r"no batch of images was read for 0\.00833 minutes: a process that reads them hangs"
    if where == "main":
        with pytest.raises(TimeoutError, match=said):
            drawn(split, "timm", 1)
    else:
        assert in_thread(lambda: drawn(split, "timm", 1)) is TimeoutError
    assert torch.equal(drawn(split, "light", 1)[0], by_new_processes("light", 1, 2)[0])
    split.close()
    assert not own_children()


def test_a_reader_that_is_slower_than_the_limit_with_each_batch_is_not_killed():
    """The clock runs only while a batch is waited for: not while the trainer works."""
    split = LoaderSplit(Noisy, tuple(range(NUM)), 2, readers=Readers(limit_s=2.0))
    torch.manual_seed(1)
    read = 0
    for images, _ in split.batches(4, CPU, augment=None):
        read += len(images)
        if read == 8:
            time.sleep(3.0)
    assert read == NUM
    split.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_killed_or_stopped_leaves_nobody_waiting(number):
    split = LoaderSplit(Hanging, tuple(range(NUM)), 2, readers=Readers(limit_s=2.0))
    before = own_children()

    def work():
        torch.manual_seed(1)
        batches = split.batches(2, CPU, augment="timm")
        next(batches)
        for pid in own_children() - before:
            os.kill(pid, number)
        for _ in batches:
            pass

    assert in_thread(work) in (RuntimeError, TimeoutError)
    split.close()
    for process in multiprocessing.active_children():
        if process.pid not in before:
            process.join(10)  # the kernel may take a moment to end what was killed
    assert not own_children() - before
