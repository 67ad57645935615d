"""A split divided into two interleaved halves: one to score candidates on, one to choose among the best of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from accounting.ledger.specs import HalfName
from harness.data.base import Batches, Split


@dataclass(frozen=True)
class HalfSplit:
    """One half of a split, in its order: the ``first``, third, fifth image and so on, or the ``second``, fourth, ….

    Both halves have every class of a split that is sorted by class. Images that cannot be read are not counted.
    """

    whole: Split
    half: HalfName

    def __len__(self) -> int:
        return (len(self.whole) + (self.half == "first")) // 2

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """See :class:`harness.data.base.Split`.

        Raises:
            ValueError: ``augment`` is given, and so the images have no order.

        """
        if augment is not None:
            raise ValueError("a half of a split is for evaluation, without augmentation")
        place = 0 if self.half == "first" else 1
        for images, labels in self.whole.batches(batch_size, device, augment=None):
            if place < len(labels):
                yield images[place::2], labels[place::2]
            place = (place - len(labels)) % 2
