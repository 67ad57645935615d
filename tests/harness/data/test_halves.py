"""Together, the two halves of a split have every image once, whatever the batch size."""

import pytest
import torch

from harness.data.base import DataInfo, TensorSplit
from harness.data.halves import HalfSplit

CPU = torch.device("cpu")


def split(count):
    info = DataInfo((1, 2, 2), 10, (0.0,), (1.0,), count)
    return TensorSplit(torch.zeros(count, 1, 2, 2, dtype=torch.uint8), torch.arange(count), info)


@pytest.mark.parametrize("count", [1, 2, 7, 10])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_images_in_turn(count, batch_size):
    whole = split(count)
    seen = {}
    for half in ("first", "second"):
        part = HalfSplit(whole, half)
        batches = [labels.tolist() for _, labels in part.batches(batch_size, CPU, augment=None)]
        seen[half] = [label for batch in batches for label in batch]
        assert len(seen[half]) == len(part)
        assert all(batches)
    assert seen["first"] == list(range(0, count, 2))
    assert seen["second"] == list(range(1, count, 2))


def test_a_half_has_no_order_under_augmentation():
    with pytest.raises(ValueError, match="for evaluation"):
        next(HalfSplit(split(4), "first").batches(2, CPU, augment="light"))
