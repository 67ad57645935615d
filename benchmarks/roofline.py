"""The error of the GPU model of ``plan --on``: its time per trained image against timm's published throughput.

Give two of timm's tables (folder ``results`` of its repository; they are not in its package) and the device they are
for:

    python benchmarks/roofline.py TRAIN.csv INFER.csv RTX3090

``benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv`` has training throughputs;
``benchmark-infer-amp-nhwc-pt240-cu124-rtx3090.csv`` has MACs and activations of the same networks. Prints the median
and the 10 % and 90 % quantiles of real over modelled time, for all networks, ConvNets and compact ones, and the touches
per value that would make the median 1.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from harness.planning.hardware import BYTES_PER_VALUE, SHARE_OF_PEAK, TOUCHES_PER_VALUE, parse_fleet

CONVNETS = (
    "resnet|resnext|efficientnet|mobilenet|regnet|fbnet|mnasnet|mixnet|convnext|tinynet|lcnet|dla|densenet|vgg|rexnet|hardcorenas|spnas|"
    "ghost|semnas|res2|hrnet|dpn|darknet|nfnet|selecsls|tresnet|repvgg|csp|inception|xception"
)
COMPACT = (
    "efficientnet_lite|mobilenetv|fbnet|mnasnet|tinynet|lcnet|hardcorenas|spnas|semnas|mixnet|efficientnet_b[0-3]$"
)


def main(train_csv: str, counts_csv: str, device: str) -> None:
    """Print one row for each group of networks."""
    hardware = parse_fleet(device).hardware
    counts = pd.read_csv(counts_csv)
    counts["model"] = counts["model"].str.split(".").str[0]
    counts = counts.drop_duplicates(["model", "infer_img_size"])
    table = pd.read_csv(train_csv).merge(
        counts, left_on=["model", "train_img_size"], right_on=["model", "infer_img_size"]
    )
    table = table[(table["infer_gmacs"] > 0.01) & (table["infer_macts"] > 0.1)]
    real = 1 / table["train_samples_per_sec"]
    memory = table["infer_macts"] * 1e6 * BYTES_PER_VALUE / (hardware.bandwidth_gb_s * 1e9)
    products = 6 * table["infer_gmacs"] * 1e9 / (SHARE_OF_PEAK * hardware.peak_tflops * 1e12)
    ratio = real / np.maximum(TOUCHES_PER_VALUE * memory, products)
    for name, pattern in (("all", "."), ("ConvNets", CONVNETS), ("compact ConvNets", COMPACT)):
        those = table["model"].str.contains(pattern, regex=True)
        low, median, high = np.quantile(ratio[those], [0.1, 0.5, 0.9])
        fitted = float(np.median((real / memory)[those]))
        print(
            f"{device} {name} (n = {int(those.sum())}): real over modelled time {median:.2f}, 10 to 90 % "
            f"{low:.2f} to {high:.2f}; median touches {fitted:.1f}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
