"""Every operation of timm's random augmentations runs on the installed Pillow, at every magnitude and in every mode."""

import random

import numpy as np
import pytest
from PIL import Image
from timm.data import auto_augment
from torchvision.transforms import Compose

from harness.data.augment import made_safe
from harness.data.base import DataInfo
from harness.data.pixels import to_rgb
from harness.data.transforms import _transform

MODES = ("RGB", "L", "P", "RGBA", "1", "LA", "CMYK", "I;16")
SIZE = (24, 20)
POLICIES = ("original", "originalr", "v0", "v0r", "3a")
RAND_AUGMENT = ("rand", "rand-inc1", "rand-inc1-tweights", "rand-t3a", "rand-t3aw", "rand-inc1-mstd101", "rand-mstd0.5")
BEYOND = ("rand-m30-mmax30", "rand-m30-mmax30-inc1", "rand-m15-mmax20-inc1-mstd3")
"""Magnitudes above 10, which timm accepts where ``mmax`` allows them."""


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(0)
    np.random.seed(0)


def hparams():
    return {"translate_const": 10, "img_mean": (124, 116, 104)}  # timm's parsers modify their argument


def picture(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert("L").convert(mode) if mode == "LA" else image.convert(mode)


def safely(transform):
    """The transform as a dataset applies it, after the image is converted to RGB."""
    return made_safe(Compose([to_rgb, transform]))


def assert_pictures(transform, times=1):
    for mode in MODES:
        for _ in range(times):
            made = transform(picture(mode))
            assert (made.mode, made.size) == ("RGB", SIZE)


def certain(transform):
    """The same transform with every operation certain, so that none is left out by chance."""
    for op in operations(transform):
        op.prob = 1.0
    return transform


def operations(transform):
    groups = transform.policy if isinstance(transform, auto_augment.AutoAugment) else [transform.ops]
    return [op for group in groups for op in group]


@pytest.mark.parametrize("magnitude", range(11))
@pytest.mark.parametrize("name", sorted(auto_augment.NAME_TO_OP))
def test_each_operation_gives_a_picture_at_each_magnitude(name, magnitude):
    op = auto_augment.AugmentOp(name, prob=1.0, magnitude=magnitude, hparams=hparams())
    assert_pictures(safely(op), times=2)  # operations with a direction draw it at random


@pytest.mark.parametrize("policy", POLICIES)
def test_each_pair_of_each_autoaugment_policy_gives_a_picture(policy):
    transform = certain(auto_augment.auto_augment_transform(policy, hparams()))
    safely(transform)
    for pair in transform.policy:
        assert_pictures(Compose([to_rgb, *pair]))


@pytest.mark.parametrize("config", [*(f"{c}-m{m}" for c in RAND_AUGMENT for m in range(11)), *BEYOND])
def test_each_operation_of_randaugment_gives_a_picture(config):
    transform = certain(auto_augment.rand_augment_transform(config, hparams()))
    safely(transform)
    for op in transform.ops:
        assert_pictures(Compose([to_rgb, op]))
    assert_pictures(Compose([to_rgb, transform]))


@pytest.mark.parametrize("magnitude", range(11))
@pytest.mark.parametrize("config", ["augmix-w3-d2-mstd0", "augmix-w2-b1-mstd0", "augmix-w1"])
def test_each_operation_and_mixture_of_augmix_gives_a_picture(config, magnitude):
    transform = certain(auto_augment.augment_and_mix_transform(f"{config}-m{magnitude}", hparams()))
    safely(transform)
    for op in transform.ops:
        assert_pictures(Compose([to_rgb, op]))
    assert_pictures(Compose([to_rgb, transform]))


def test_a_posterize_that_keeps_all_bits_leaves_the_picture_and_one_that_keeps_none_keeps_the_highest():
    whole = safely(auto_augment.AugmentOp("PosterizeOriginal", prob=1.0, magnitude=10, hparams=hparams()))
    assert np.array_equal(np.asarray(whole(picture("RGB"))), np.asarray(picture("RGB")))
    none = safely(auto_augment.AugmentOp("Posterize", prob=1.0, magnitude=0, hparams=hparams()))
    assert np.array_equal(np.asarray(none(picture("RGB"))), np.asarray(picture("RGB")) & 128)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [16, 32, 160])
def test_the_whole_transform_gives_tensors_of_the_wanted_size(size, mode):
    transform = _transform(DataInfo((3, size, size), 4, (0.5,) * 3, (0.5,) * 3, 1), "timm")
    for _ in range(30):
        made = transform(picture(mode))
        assert tuple(made.shape) == (3, size, size)
        assert made.isfinite().all()
