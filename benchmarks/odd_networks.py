"""Odd timm networks: MACs counted in two more ways, keywords that they refuse, channels removed or refused in time.

For each network (fresh weights, seed 0, 10 classes), it prunes by masks to half of the MACs and compares the stated
MACs with a recount and an independent count (of every call of a convolution, linear layer or product with a parameter,
seen as torch functions); it checks whether the check before a study refuses ``drop_path_rate`` exactly where timm does;
and it removes channels to 60 % of the MACs, and measures the seconds.

    python benchmarks/odd_networks.py [--out FILE.csv] [--networks NAME ...] [--without-channels]
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import time
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from table import append, machine
from torch import nn
from torch.overrides import TorchFunctionMode

from accounting.macs.count import count_macs
from harness.config.study import parse_config
from harness.data.base import DataInfo
from harness.errors import InputError
from harness.models.parent_check import check_trainable
from pruning.channels import NotFollowed
from pruning.masks import apply_masks
from pruning.solve import UnreachableTarget, prune_to_macs
from pruning.structured import prune_channels_to_macs

NETWORKS = {
    "resnet18": 64,
    "resnetv2_18": 64,
    "resnext26ts": 64,
    "seresnext26t_32x4d": 64,
    "densenet121": 64,
    "vgg11_bn": 64,
    "vgg11": 64,
    "cspresnet50": 64,
    "cspdarknet53": 64,
    "hgnetv2_b0": 64,
    "regnetx_002": 64,
    "regnety_002": 64,
    "regnetz_b16": 64,
    "res2net50_14w_8s": 64,
    "resnest14d": 64,
    "skresnet18": 64,
    "ecaresnet26t": 64,
    "selecsls42": 64,
    "dla46_c": 64,
    "hrnet_w18_small": 64,
    "inception_v3": 96,
    "inception_v4": 96,
    "xception41": 64,
    "legacy_xception": 72,
    "mnasnet_small": 64,
    "mobilenetv1_100": 64,
    "mobilenetv2_035": 64,
    "mobilenetv3_small_050": 64,
    "mobilenetv4_conv_small_035": 64,
    "mobilenetv4_hybrid_medium": 64,
    "tf_efficientnet_lite0": 64,
    "tf_efficientnet_cc_b0_4e": 64,
    "tf_efficientnet_cc_b0_8e": 64,
    "tf_mixnet_s": 64,
    "mixnet_s": 64,
    "tinynet_e": 64,
    "ghostnet_050": 64,
    "ghostnetv2_100": 64,
    "fbnetc_100": 64,
    "fbnetv3_b": 64,
    "spnasnet_100": 64,
    "hardcorenas_a": 64,
    "lcnet_035": 64,
    "semnasnet_050": 64,
    "rexnet_100": 64,
    "repvgg_a0": 64,
    "mobileone_s0": 64,
    "fastvit_t8": 64,
    "repvit_m0_9": 64,
    "repghostnet_050": 64,
    "starnet_s1": 64,
    "efficientvit_b0": 64,
    "efficientvit_m0": 224,
    "efficientformer_l1": 224,
    "efficientformerv2_s0": 224,
    "convnext_atto": 64,
    "convnextv2_atto": 64,
    "inception_next_atto": 64,
    "poolformer_s12": 64,
    "caformer_s18": 64,
    "convformer_s18": 64,
    "edgenext_xx_small": 64,
    "mobilevit_xxs": 64,
    "mobilevitv2_050": 64,
    "coatnet_nano_rw_224": 224,
    "levit_128s": 224,
    "xcit_nano_12_p16_224": 224,
    "vit_tiny_patch16_224": 224,
    "deit_tiny_patch16_224": 224,
    "swin_tiny_patch4_window7_224": 224,
    "cait_xxs24_224": 224,
    "pit_ti_224": 224,
    "tnt_s_legacy_patch16_224": 224,
    "convmixer_768_32": 64,
    "mixer_s32_224": 224,
    "gmixer_24_224": 224,
    "resmlp_12_224": 224,
    "gmlp_ti16_224": 224,
    "sequencer2d_s": 224,
    "visformer_tiny": 224,
    "pvt_v2_b0": 64,
    "twins_svt_small": 224,
    "nest_tiny": 224,
    "coat_tiny": 224,
    "convit_tiny": 224,
    "crossvit_tiny_240": 240,
    "volo_d1_224": 224,
    "focalnet_tiny_srf": 224,
    "davit_tiny": 224,
    "gcvit_xxtiny": 224,
    "hiera_tiny_224": 224,
    "dm_nfnet_f0": 64,
    "eca_nfnet_l0": 64,
    "nf_regnet_b0": 64,
    "botnet26t_256": 256,
    "halonet26t": 256,
    "lambda_resnet26t": 256,
    "eva02_tiny_patch14_224": 224,
    "ese_vovnet19b_dw": 64,
    "ese_vovnet39b": 64,
    "dpn48b": 64,
    "tiny_vit_5m_224": 224,
    "rdnet_tiny": 64,
    "mambaout_femto": 64,
    "swiftformer_xs": 224,
    "tresnet_m": 64,
    "darknet53": 64,
    "resnet50_gn": 64,
    "bat_resnext26ts": 64,
    "gernet_s": 64,
    "resnetblur18": 64,
    "wide_resnet50_2": 64,
    "nextvit_small": 64,
    "shvit_s1": 64,
    "mobilenet_edgetpu_v2_xs": 64,
    "vit_tiny_r_s16_p8_224": 224,
}


class Independent(TorchFunctionMode):
    """Counts non-zero multiplications with weights in the calls of a real forward pass.

    A weight is a parameter of ``model``, or a view of one.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.macs = 0
        self._storages = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def _is_weight(self, given) -> bool:
        return isinstance(given, torch.Tensor) and given.untyped_storage().data_ptr() in self._storages

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = [*args, *(kwargs or {}).values()]
        if func in (F.conv1d, F.conv2d, F.conv3d, torch.conv1d, torch.conv2d, torch.conv3d):
            self.macs += int(torch.count_nonzero(given[1])) * result.shape[0] * math.prod(result.shape[2:])
        elif func in (F.conv_transpose2d, torch.conv_transpose2d):
            self.macs += int(torch.count_nonzero(given[1])) * given[0].shape[0] * math.prod(given[0].shape[2:])
        elif func in (F.linear, torch._C._nn.linear) or (
            func in (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__) and self._is_weight(given[1])
        ):
            self.macs += int(torch.count_nonzero(given[1])) * math.prod(given[0].shape[:-1])
        elif func in (torch.lstm, torch._VF.lstm):  # given[2]: weights and biases; each weight once per step
            matrices = [weight for weight in given[2] if weight.dim() == 2]
            self.macs += sum(int(torch.count_nonzero(weight)) for weight in matrices) * math.prod(given[0].shape[:-1])
        return result


def count_independently(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Non-zero MACs of one image, without any code of ``accounting``."""
    with torch.no_grad(), Independent(model) as counter:
        model(torch.zeros(1, *shape))
    return counter.macs


def check_macs(model: nn.Module, shape: tuple[int, int, int]) -> dict:
    """Prune by masks to half of the MACs, and compare the stated MACs with a recount and an independent count."""
    dense = count_macs(model, shape).sparse_macs
    row = {"dense_macs": dense, "independent_dense_macs": count_independently(model, shape)}
    try:
        said = prune_to_macs(model, shape, dense // 2, scope="global")
    except UnreachableTarget as refusal:
        return {**row, "masks": f"refused: {refusal}"}
    masked = copy.deepcopy(model)
    apply_masks(masked, said.masks)
    again, independent = count_macs(masked, shape).sparse_macs, count_independently(masked, shape)
    right = said.macs == again == independent <= dense // 2
    return {
        **row,
        "masks": "right" if right else "WRONG",
        "said": said.macs,
        "again": again,
        "independent": independent,
    }


def check_keyword(name: str, shape: tuple[int, int, int], dense: int) -> str:
    """``taken`` or ``refused`` if timm and the check before a study agree on ``drop_path_rate``, else ``WRONG``."""
    try:
        timm.create_model(name, num_classes=10, drop_path_rate=0.1)
        takes = True
    except TypeError:
        takes = False
    given = {
        "name": "x", "dataset": {"name": "fashion_mnist_mini"}, "parent": {"timm": name}, "targets": ["1M"],
        "recipe": {"drop_path_rate": 0.1, "epochs": 0}, "routes": {"prune": {}},
    }  # fmt: skip
    spec = {"builder": "timm", "name": name, "kwargs": {"in_chans": 3, "num_classes": 10}}
    try:
        check_trainable(parse_config(given, "x"), DataInfo(shape, 10, (), (), 1), spec, dense)
        known = True
    except InputError:
        known = False
    return ("taken" if takes else "refused") if takes == known else "WRONG"


def check_channels(model: nn.Module, shape: tuple[int, int, int], dense: int) -> str:
    """Remove channels to 60 % of the MACs: ``works``, ``WRONG``, or the reason of a refusal."""
    try:
        result = prune_channels_to_macs(model, shape, int(0.6 * dense))
    except (NotFollowed, UnreachableTarget) as refusal:
        return f"refused: {type(refusal).__name__}: {refusal}"
    again = count_macs(result.model, shape)
    # The independent count leaves out weights that are zero by chance, of which a large fresh network has some.
    right = again.macs == result.macs and again.sparse_macs == count_independently(result.model, shape)
    return "works" if right else "WRONG"


def measure(name: str, size: int, *, with_channels: bool) -> dict:
    """The row of one network."""
    torch.manual_seed(0)
    shape = (3, size, size)
    row: dict = {"network": name, "size": size}
    model = timm.create_model(name, num_classes=10).eval()
    try:
        row |= check_macs(model, shape)
    except (RuntimeError, AssertionError) as error:
        return {**row, "masks": f"cannot run: {type(error).__name__}: {error}"[:160]}
    row["drop_path_rate"] = check_keyword(name, shape, row["dense_macs"])
    if with_channels:
        begin = time.perf_counter()
        row["channels"] = check_channels(model, shape, count_macs(model, shape).macs)
        row["channels_s"] = round(time.perf_counter() - begin, 1)
    return row


COLUMNS = (
    "network", "size", "dense_macs", "independent_dense_macs", "masks", "said", "again", "independent", "drop_path_rate",
    "channels", "channels_s",
)  # fmt: skip


def main() -> None:
    """Measure the networks and append a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--without-channels", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "odd_networks.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    facts = machine("cpu", ("torch", "timm", "torch-pruning"))
    for name in options.networks:
        row = measure(name, NETWORKS[name], with_channels=not options.without_channels)
        append(options.out, [facts | {column: row.get(column, "") for column in COLUMNS}])
        print(
            name,
            row.get("masks"),
            row.get("drop_path_rate"),
            row.get("channels", "")[:60],
            row.get("channels_s", ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
