"""Draw the figure of ``latency.py``: measured speed-up against the MACs ratio, from the newest rows of its tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from harness.latency.products import BASELINE
from reports.figures._axes import tidy

DENSE, UNSTRUCTURED = "dense", "weights, global magnitude"
BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"
PINK, ORANGE, SKY, BLACK = "#CC79A7", "#E69F00", "#56B4E9", "#000000"
DODGE = 0.008
RUNTIME_STYLES = {
    "eager": ("eager", BLUE, "o"),
    "channels_last": ("channels-last", SKY, "D"),
    "compiled": ("torch.compile", ORANGE, "s"),
    "onnxruntime": ("ONNX Runtime", RED, "^"),
}
FORMAT_STYLES = {
    "csr_fp32": ("CSR fp32", PINK, "v"),
    "int8_dense": ("int8, dense", BLACK, "o"),
    "int8_sparse_1x4": ("int8, zero 1×4 blocks skipped", GREEN, "s"),
    "int8_sparse_1x4_blocks": ("int8, 1×4 blocks pruned whole", ORANGE, "^"),
    "dense_fp16": ("fp16, dense", SKY, "o"),
    "sparse_fp16_2of4": ("fp16, 2:4", RED, "D"),
}


def draw(folder: Path, path: Path, name: str) -> None:
    """Draw speed-up against MACs ratio, newest rows: structured (left), unstructured products and network (right)."""
    tables = {kind: folder / f"latency_{kind}.csv" for kind in ("networks", "products")}
    missing = [str(table) for table in tables.values() if not table.exists()]
    if missing:
        print(f"no figure: {', '.join(missing)} is missing; `all` measures both")
        return
    newest = {}
    for kind, table in tables.items():
        rows = pd.read_csv(table)
        rows = rows[rows["network"] == name]
        newest[kind] = rows[rows["timestamp"] == rows["timestamp"].max()]
    networks, products = newest["networks"], newest["products"]
    if networks.empty or products.empty:
        print(f"no figure: {name} is not in both tables")
        return
    figure = Figure(figsize=(10.4, 6.0), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    shown = networks[networks["speedup"].notna()]
    for axes in (left, right):
        _proportional(axes, shown["macs_ratio"].min())
    fills = {}
    for method in [m for m in shown["method"].unique() if m.startswith("channels")]:
        step = int(method.rpartition(" ")[2])
        fills[step] = len(fills) == 0
        widths = f"multiples of {step}" if step > 1 else "any width"
        for runtime, (label, colour, marker) in RUNTIME_STYLES.items():
            mine = shown[(shown["runtime"] == runtime) & shown["method"].isin([DENSE, method])]
            if len(mine) > 1:
                _curve(left, mine, f"{label}, {widths}", colour, marker, filled=fills[step])
    zeros = shown[(shown["runtime"] == "eager") & shown["method"].isin([DENSE, UNSTRUCTURED])]
    _curve(right, zeros, "whole network, eager", BLUE, "P", filled=True)
    sums = products[(products["layers"] == "SUM") & products["speedup"].notna()]
    against_ms = sums[sums["format"] == BASELINE].set_index("share")["median_ms"]
    for kind, (label, colour, marker) in FORMAT_STYLES.items():
        mine = sums[sums["format"] == kind]
        if len(mine):
            _curve(right, mine, f"products: {label}", colour, marker, filled=True, against_ms=against_ms)
    _finish(figure, left, right, networks, products, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
    print(f"figure: {path}")


def _proportional(axes: Axes, least_ratio: float) -> None:
    tidy(axes)
    ratios = [1.0 - i * (1.0 - least_ratio) / 50 for i in range(51)]
    axes.plot(ratios, [1 / ratio for ratio in ratios], "--", color="#888888", linewidth=1.2, label="1 / MACs ratio")
    axes.axhline(1.0, color="#888888", linewidth=0.8)


def _curve(
    axes: Axes,
    rows: pd.DataFrame,
    label: str,
    colour: str,
    marker: str,
    *,
    filled: bool,
    against_ms: pd.Series | None = None,
) -> None:
    """Plot speed-ups over the baseline's median (by default the dense row's), with 10th and 90th percentiles."""
    rows = rows.sort_values("macs_ratio")
    shifted = rows["macs_ratio"] + DODGE * (len(axes.containers) - 2.5)  # so that marks do not hide one another
    dense_ms = rows.loc[rows["share"] == 1.0, "median_ms"].iloc[0]
    baseline = dense_ms if against_ms is None else rows["share"].map(against_ms)
    speedup = baseline / rows["median_ms"]
    spread = [speedup - baseline / rows["p90_ms"], baseline / rows["p10_ms"] - speedup]
    axes.errorbar(
        shifted, speedup, [part.clip(lower=0) for part in spread], label=label, color=colour, marker=marker,
        linestyle="-" if filled else ":", markerfacecolor=colour if filled else "white", markersize=6.5,
        linewidth=1.4, elinewidth=0.9, capsize=2.5,
    )  # fmt: skip


def _finish(figure: Figure, left: Axes, right: Axes, networks: pd.DataFrame, products: pd.DataFrame, name: str) -> None:
    ratios = sorted({round(ratio, 2) for ratio in networks["share"]})
    for axes in (left, right):
        axes.set_xlim(1.03, min(ratios) - 0.03)
        axes.set_xticks(ratios)
        axes.set_xlabel("MACs ratio: pruned over dense network")
    left.set_yscale("log", base=2)
    low, high = left.get_ylim()
    left.set_yticks([tick for tick in (0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16) if low <= tick <= high])
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    left.yaxis.set_minor_formatter(NullFormatter())
    left.set_ylabel("measured speed-up over dense fp32, same run (log scale)")
    left.set_title("Structured: channels removed, whole network", fontsize=10.5, loc="left")
    right.set_title("Unstructured: whole network in eager; its 1×1 products", fontsize=10.5, loc="left")
    for axes in (left, right):
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False, fontsize=8, columnspacing=1.0
        )
    row, products_n = networks.iloc[0], int(products["n"].dropna().iloc[0])
    networks_n = int(networks["n"].dropna().iloc[0])
    threads = int(networks["threads"].dropna().iloc[0])
    covered = products.loc[products["share"] == 1.0, "macs_in_products"].iloc[0]
    figure.suptitle(
        f"{name}, {row['weights']} weights, batch {int(networks['batch_size'].dropna().iloc[0])}, on "
        f"{row['machine']}, {threads} thread{'s' if threads > 1 else ''}, PyTorch {row['torch']}",
        fontsize=11,
    )
    figure.supxlabel(
        f"Marks: medians of n = {networks_n} passes (products: n = {products_n} each, summed over all "
        f"1×1 convolutions and linear layers, {100 * covered:.0f} % of the dense MACs);\n"
        "bars: the 10th and 90th percentile of the time (products: sums of them), against the dense median. Marks at one "
        "MACs ratio are drawn side by side.",
        fontsize=8,
        color="#444444",
    )
