"""Odd timm networks on small images: three MAC counts agree, and channels are removed or refused.

The counts are the one reported, a new count, and the benchmark's own method.
All 116 networks are in ``benchmarks/odd_networks.py``; these are small ones, one of each kind.
"""

import importlib.util
import sys
from pathlib import Path

import pytest
import timm
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
NETWORKS = (
    "mobilenetv3_small_050", "lcnet_035", "tinynet_e", "ghostnet_050", "repghostnet_050", "regnety_002", "dla46_c",
    "mobilenetv4_conv_small_035", "convnext_atto", "mobilevit_xxs", "edgenext_xx_small", "efficientvit_b0", "pvt_v2_b0",
    "tf_mixnet_s", "nf_regnet_b0", "tf_efficientnet_cc_b0_4e", "poolformer_s12", "fastvit_t8", "shvit_s1",
)  # fmt: skip
WORK = {
    "mobilenetv3_small_050",
    "lcnet_035",
    "tinynet_e",
    "ghostnet_050",
    "regnety_002",
    "mobilevit_xxs",
    "convnext_atto",
}


@pytest.fixture(scope="module")
def grid():
    sys.path.insert(0, str(FOLDER))
    try:
        found = importlib.util.spec_from_file_location("odd_networks", FOLDER / "odd_networks.py")
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


@pytest.mark.parametrize("name", NETWORKS)
def test_macs_keyword_and_channels(name, grid):
    size = 224 if name == "shvit_s1" else 64
    torch.manual_seed(0)
    model, shape = timm.create_model(name, num_classes=10).eval(), (3, size, size)
    row = grid.check_macs(model, shape)
    assert row["dense_macs"] == row["independent_dense_macs"]
    assert row["masks"] == "right" or (name == "nf_regnet_b0" and "left alone" in row["masks"])
    assert grid.check_keyword(name, shape, row["dense_macs"]) in ("taken", "refused")
    channels = grid.check_channels(model, shape, row["dense_macs"])
    assert channels == "works" or (name not in WORK and channels.startswith("refused: "))
