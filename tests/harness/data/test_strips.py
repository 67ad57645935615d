"""Images many times longer than wide: a file of a few bytes must not take gigabytes of memory."""

import numpy as np
import pytest
import torch
from PIL import Image

from harness.config.study import DatasetConfig
from harness.data.registry import open_dataset
from harness.data.transforms import MAX_RATIO, without_far_ends

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (9_001, 3)])
def test_only_its_middle_is_resized(size):
    cut = without_far_ends(Image.new("RGB", size))
    assert cut.size == tuple(min(side, MAX_RATIO * min(size)) for side in size)


def test_what_is_seen_is_the_middle():
    row = np.zeros((1, 6_001, 3), np.uint8)
    row[0, 3_000 - 20 : 3_001 + 20] = 200
    seen = np.asarray(without_far_ends(Image.fromarray(row)))
    assert seen.shape == (1, MAX_RATIO, 3)
    assert abs(int(np.flatnonzero(seen[0, :, 0]).mean()) - MAX_RATIO // 2) <= 1


@pytest.mark.parametrize("size", [(50, 1), (640, 480), (1, 1)])
def test_others_are_left_alone(size):
    image = Image.new("RGB", size)
    assert without_far_ends(image) is image


def test_a_folder_with_one_is_read_in_little_memory(tmp_path):
    for part in ("train", "val"):
        for level, name in ((40, "ape"), (200, "bee")):
            (folder := tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (16, 16), (level, level, i)).save(folder / f"{i}.png")
    Image.new("RGB", (60_000, 1), (40, 40, 40)).save(tmp_path / "val/ape/row.png")
    config = DatasetConfig(name="image_folder", path=str(tmp_path), image_size=224, num_workers=0)
    splits = open_dataset(config).splits()
    ((images, _),) = splits.test.batches(9, CPU, augment=None)
    assert images.shape == (9, 3, 224, 224)
