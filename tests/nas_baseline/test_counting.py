"""Analytic counts match small networks counted by hand, and built networks for specs and random members of spaces."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.macs.count import count_macs
from nas_baseline.spaces import list_spaces, load_space
from nas_baseline.spaces.counting import parse_block, round_width, spec_counts, spec_macs, spec_params
from nas_baseline.spaces.families import family_macs, family_params, image_size, network_spec, published, variants
from nas_baseline.spaces.networks import build

# Millions of MACs of convolution and linear layers, and of weights, counted by others from the published definitions.
PUBLISHED = {
    "a": (355.514, 8.542), "b": (460.150, 8.542), "c": (555.578, 9.907), "d": (642.629, 10.238),
    "e": (759.952, 10.699), "f": (1178.861, 13.803), "g": (2125.187, 16.514),
}  # fmt: skip


def small_spec(**changes):
    return {
        "builder": "mobilenetv3", "arch_def": [["ds_r1_k3_s1_e1_c8"], ["ir_r1_k5_s2_e3_c16_se0.25"], ["cn_r1_k1_s1_c64"]],
        "stem_size": 8, "num_features": 32, "head_bias": True, "drop_rate": 0.0, "drop_path_rate": 0.0, "in_chans": 1,
        "num_classes": 10,
    } | changes  # fmt: skip


def built_counts(spec, size):
    network = build(spec).eval()
    weights = sum(m.weight.numel() for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear))
    return count_macs(network, (spec["in_chans"], size, size)).macs, weights


def test_counts_by_hand():
    # 16x16 image: stem to 8x8; ds stays; ir expands 8 to 24 at 8x8, strides to 4x4; SE 24 -> 8 -> 24 once.
    stem = 8 * 8 * 9 * 8
    separable = 8 * 8 * (9 * 8 + 8 * 8)
    inverted = 8 * 8 * 8 * 24 + 4 * 4 * (25 * 24 + 24 * 16) + 2 * 24 * 8
    head = 4 * 4 * 16 * 64 + 64 * 32 + 32 * 10
    assert spec_macs(small_spec(), 16) == stem + separable + inverted + head
    weights = 72 + (72 + 64) + (192 + 600 + 384 + 384) + (1024 + 2048 + 320)
    assert spec_params(small_spec()) == weights
    assert built_counts(small_spec(), 16) == (stem + separable + inverted + head, weights)


def test_reduced_depthwise_padding_counts_and_builds():
    spec = small_spec(dw_padding={"1.0": 0})
    # 8x8 with kernel 5, stride 2 and no padding: (8 - 5) // 2 + 1 = 2 instead of 4.
    saved = (4 * 4 - 2 * 2) * (25 * 24 + 24 * 16 + 16 * 64)
    assert spec_macs(small_spec(), 16) - spec_macs(spec, 16) == saved
    assert built_counts(spec, 16)[0] == spec_macs(spec, 16)


def test_rounding_is_timms():
    from timm.layers.helpers import make_divisible

    for limit in (0.9, 0.95):
        for width in np.arange(1.0, 300.0, 0.37):
            assert int(round_width(width, 8, limit)) == make_divisible(width, 8, round_limit=limit)


@pytest.mark.parametrize(
    "block", ["xx_r1_k3_s1_c8", "ir_r1_k3_s1_e3_c8_zz", "ir_r1_k3_s1_e3", "ir_r1_k3_s1_e3_c8_noskip"]
)
def test_unknown_blocks_are_refused(block):
    with pytest.raises(ValueError, match=f"block '{block}'"):
        parse_block(block)


@pytest.mark.parametrize("variant", sorted(PUBLISHED))
def test_family_matches_the_published_counts(variant):
    macs, weights = PUBLISHED[variant]
    assert round(family_macs("fbnetv3", variant) / 1e6, 3) == macs
    assert round(family_params("fbnetv3", variant) / 1e6, 3) == weights
    assert family_params("fbnetv3", variant) == round(published("fbnetv3", variant)["params_m"] * 1e6)
    # The published figure adds one operation per input of each average pooling, and 1984.
    assert pooled_macs(variant) == round(published("fbnetv3", variant)["macs_m"] * 1e6)


def pooled_macs(variant):
    """MACs as the authors of FBNetV3 count them."""
    spec, size = network_spec("fbnetv3", variant), image_size("fbnetv3", variant)
    pooled = 0
    with torch.device("meta"):
        network = build(spec).eval()

    def add(module, inputs):
        nonlocal pooled
        pooled += inputs[0].numel()

    from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
    from timm.models._efficientnet_blocks import SqueezeExcite

    for module in network.modules():
        if isinstance(module, SelectAdaptivePool2d | SqueezeExcite):
            module.register_forward_pre_hook(add)
    network(torch.zeros(1, 3, size, size, device="meta"))
    return family_macs("fbnetv3", variant) + pooled + 1984


@pytest.mark.parametrize("variant", ["a0", "f", "g"])
def test_family_builds_to_its_analytic_count(variant):
    spec, size = network_spec("fbnetv3", variant), image_size("fbnetv3", variant)
    assert built_counts(spec, size) == (family_macs("fbnetv3", variant), family_params("fbnetv3", variant))
    if variant == "a0":
        assert spec_macs(spec, size) == 217_917_744


@pytest.mark.parametrize("variant", ["b", "d", "g"])
def test_family_takes_timms_weights(variant):
    import timm

    ours, theirs = build(network_spec("fbnetv3", variant)), timm.create_model(f"fbnetv3_{variant}")
    ours.load_state_dict(theirs.state_dict())
    assert family_params("fbnetv3", variant) == built_counts(network_spec("fbnetv3", variant), 64)[1]


def test_mini_variants_sit_just_below_their_share_of_the_largest():
    assert variants("fbnetv3_mini") == ["s", "m", "l"]
    s, m, large = (family_macs("fbnetv3_mini", v) for v in "sml")
    assert 0.57 < m / large <= 0.6
    assert 0.38 < s / large <= 0.4
    for v, macs in zip("sml", (s, m, large), strict=True):
        assert built_counts(network_spec("fbnetv3_mini", v), 28)[0] == macs


def test_mini_variants_are_members_of_the_space():
    space = load_space("fbnetv3_mini")
    large = space.find(
        {
            "1.expansion": 4, "1.depth": 2, "1.width": 16, "2.kernel": 5, "2.expansion": 4, "2.expansion_rest": 3,
            "2.depth": 3, "2.width": 24, "2.se": 0.25, "3.kernel": 5, "3.expansion": 4, "3.expansion_rest": 3, "3.depth": 2,
            "3.width": 40, "3.se": 0.25, "head.features": 192,
        }
    )  # fmt: skip
    assert space.network_spec(large) == network_spec("fbnetv3_mini", "l")
    assert space.macs(large) == family_macs("fbnetv3_mini", "l")


def test_family_errors_name_what_is_allowed():
    with pytest.raises(ValueError, match=r"family 'x' is not known; allowed: fbnetv3, fbnetv3_mini"):
        network_spec("x", "l")
    with pytest.raises(ValueError, match=r"no variant 'z'; allowed: s, m, l"):
        network_spec("fbnetv3_mini", "z")


def test_build_refuses_unknown_builders_and_keys():
    with pytest.raises(ValueError, match="allowed: mobilenetv3, timm"):
        build({"builder": "x"})
    with pytest.raises(ValueError, match="unknown keys widht"):
        build(small_spec(widht=8))
    assert isinstance(build({"builder": "timm", "name": "resnet18", "kwargs": {"num_classes": 3}}), torch.nn.Module)


@pytest.mark.parametrize("name", list_spaces())
def test_vectorised_counts_equal_those_of_the_spec(name):
    space = load_space(name)
    archs = space.sample_batch(np.random.default_rng(1), 1500)
    macs, params = space.macs_batch(archs), space.params_batch(archs)
    for arch, m, p in zip(archs, macs, params, strict=True):
        assert spec_counts(space.network_spec(arch), space.image_size(arch)) == (m, p)


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(list_spaces()), st.integers(0, 2**32 - 1))
def test_analytic_counts_equal_the_built_network(name, seed):
    space = load_space(name)
    arch = space.sample(np.random.default_rng(seed))
    spec = space.network_spec(arch)
    assert built_counts(spec, space.image_size(arch)) == (space.macs(arch), space.params(arch))
    other = space.network_spec(arch, in_chans=2, num_classes=7)
    assert built_counts(other, 32) == spec_counts(other, 32)
