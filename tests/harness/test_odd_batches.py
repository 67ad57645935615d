"""Batches with an odd number of images are mixed as even ones are, but for the image in the middle."""

import numpy as np
import pytest
import torch

from harness.config.recipe import Recipe
from harness.task.classification import Classification
from harness.training.workers import Crew, share_of

MIXES = {"mixup": {"mixup_alpha": 1.0}, "cutmix": {"cutmix_alpha": 1.0}}


def mixed(recipe, count, places=None):
    """A batch of flat images, mixed; each has its number as its only grey level."""
    objective = Classification(5).objective(recipe)
    images = torch.arange(float(count)).view(-1, 1, 1, 1).expand(count, 1, 8, 8).clone()
    labels = torch.arange(count) % 5
    if places is not None:
        images, labels = images[places], labels[places]
    np.random.seed(3)
    return objective.mix(images.contiguous(memory_format=torch.channels_last), labels)


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_pairs_are_mixed_and_the_middle_one_stays(mix, smoothing):
    """Image 0 is mixed with 4 and 1 with 3; their labels alike, in the shares of their pixels."""
    recipe = Recipe(**mix, label_smoothing=smoothing)
    images, targets = mixed(recipe, 5)
    assert (images.shape, targets.shape) == ((5, 1, 8, 8), (5, 5))
    assert torch.equal(images[2], torch.full((1, 8, 8), 2.0))
    assert targets[2].tolist() == pytest.approx([smoothing / 5 + (1 - smoothing) * (i == 2) for i in range(5)])
    for first, last in ((0, 4), (1, 3)):
        share = float((images[first].mean() - last) / (first - last))
        assert 0 <= share <= 1
        wanted = [
            smoothing / 5 + (1 - smoothing) * (share * (i == first) + (1 - share) * (i == last)) for i in range(5)
        ]
        assert targets[first].tolist() == pytest.approx(wanted, abs=1e-5)
        assert float(images[first].mean() + images[last].mean()) == pytest.approx(first + last, abs=1e-4)


def test_one_image_alone_has_its_smoothed_label():
    images, targets = mixed(Recipe(mixup_alpha=1.0, label_smoothing=0.5), 1)
    assert torch.equal(images, torch.zeros(1, 1, 8, 8))
    assert targets.tolist() == [pytest.approx([0.6, 0.1, 0.1, 0.1, 0.1])]


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
@pytest.mark.parametrize("count", [5, 7, 8])
def test_workers_that_share_an_odd_batch_mix_it_as_one_does(mix, count):
    whole = mixed(Recipe(**mix), count)
    for rank in range(2):
        places = share_of(count, Crew(rank, 2))
        for all_of_them, mine in zip(whole, mixed(Recipe(**mix), count, places), strict=True):
            torch.testing.assert_close(mine, all_of_them[places])
