"""A network's 1x1 convolutions and linear layers as matrix products, each timed in several formats.

A 1x1 convolution is (out, in) @ (in, positions), a linear layer the same; a layer that is called several times in a
forward pass counts as one product over all its positions. Two layers are the same product where their shapes and their
numbers of non-zero weights agree: then dense kernels take the same time, and sparse ones nearly. Convolutions with a
larger kernel or with groups (depthwise) are not such products, and are not here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from harness.latency.errors import NotAvailable
from harness.latency.formats import FORMATS, prepare, zero_blocks
from harness.latency.timer import Stopwatch, Timing, pinned_threads, time_calls
from pruning.layers import find_layers

BASELINE = "dense_fp32"
"""The format that speed-ups are against."""


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix product that a network has once or several times.

    Attributes:
        layers: names of the layers that are this product.
        weight: of the first of them, fp32, shape (out, in), on the CPU.
        positions: columns it multiplies for one image.

    """

    layers: tuple[str, ...]
    weight: Tensor
    positions: int


@dataclass(frozen=True)
class ProductRow:
    """One product in one format: its time, or why it has none.

    Attributes:
        layers: as in :class:`Product`; the network has the product ``len(layers)`` times.
        out_features: rows of the weight.
        in_features: columns of the weight.
        positions: columns of the activations, the whole batch's.
        format: a name in :data:`harness.latency.formats.FORMATS`.
        sparsity: share of the format's weights that are zero.
        zero_blocks: share of its 1x4 blocks that are all zero.
        timing: of one product; None where the format is not available.
        speedup: median of :data:`BASELINE` over the median of this one, both of this run.
        max_abs_error: largest difference from the dense fp32 product of the same weights (int8: quantisation included).
        max_abs_output: largest output of that product, to judge the error by.
        is_right: the output is what the format should give (int8: of the quantised operands, to one step).
        reason: why it is not available; empty where it is.

    """

    layers: tuple[str, ...]
    out_features: int
    in_features: int
    positions: int
    format: str
    sparsity: float
    zero_blocks: float
    timing: Timing | None = None
    speedup: float | None = None
    max_abs_error: float | None = None
    max_abs_output: float | None = None
    is_right: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class Total:
    """Milliseconds of all products of a network in one format: the sum of each one's times how often it occurs.

    ``p10_ms`` and ``p90_ms`` are sums of percentiles, so a wider spread than that of the sum.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float


def find_products(model: nn.Module, input_size: tuple[int, int, int]) -> list[Product]:
    """The distinct products of a network, in the order of their first layer."""
    modules = dict(model.named_modules())
    found: dict[tuple[int, ...], Product] = {}
    for layer in find_layers(model, input_size):
        if layer.weight is None or not layer.num_weights or not _is_product(modules.get(layer.name), layer.weight):
            continue
        weight = layer.weight.detach().flatten(1).float().cpu()
        key = (*weight.shape, layer.macs_per_weight, layer.num_nonzero)
        first = found.get(key, Product((), weight, layer.macs_per_weight))
        found[key] = Product((*first.layers, layer.name), first.weight, first.positions)
    return list(found.values())


def time_products(
    products: Iterable[Product],
    *,
    formats: Sequence[str] = tuple(FORMATS),
    device: str | torch.device = "cpu",
    batch_size: int = 1,
    threads: int = 1,
    warmup: int = 3,
    repetitions: int = 20,
    seed: int = 0,
    stopwatch: Stopwatch | None = None,
) -> list[ProductRow]:
    """A row per product and format, :data:`BASELINE` always and first; activations are drawn from a normal distribution.

    Raises:
        ValueError: an unknown format.

    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise ValueError(f"unknown format {unknown[0]!r}; allowed: {', '.join(FORMATS)}")
    ordered = [BASELINE, *(name for name in FORMATS if name in formats and name != BASELINE)]
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for product in products:
        columns = torch.randn(product.weight.shape[1], batch_size * product.positions, generator=generator).to(device)
        measured = [
            _time_product(product, name, columns, device, batch_size, threads, warmup, repetitions, stopwatch)
            for name in ordered
        ]
        rows += [_with_speedup(row, measured[0]) for row in measured]
    return rows


def total_ms(rows: Iterable[ProductRow], name: str) -> Total | None:
    """All products of the rows in one format; None where one of them lacks it."""
    medians, lows, highs = [], [], []
    for row in rows:
        if row.format != name:
            continue
        if row.timing is None:
            return None
        medians.append(len(row.layers) * row.timing.median_ms)
        lows.append(len(row.layers) * row.timing.p10_ms)
        highs.append(len(row.layers) * row.timing.p90_ms)
    return Total(sum(medians), sum(lows), sum(highs)) if medians else None


def _is_product(module: nn.Module | None, weight: Tensor) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.groups == 1 and module.kernel_size == (1, 1)
    return not isinstance(module, nn.modules.conv._ConvNd) and weight.dim() == 2


@torch.inference_mode()
def _time_product(
    product: Product,
    name: str,
    columns: Tensor,
    device: str | torch.device,
    batch_size: int,
    threads: int,
    warmup: int,
    repetitions: int,
    stopwatch: Stopwatch | None,
) -> ProductRow:
    weight = product.weight.to(columns.device)
    out_features, in_features = weight.shape
    row = partial(ProductRow, product.layers, out_features, in_features, columns.shape[1], name)
    try:
        with pinned_threads(threads):
            kernel = prepare(name, weight, columns)
            dense = kernel.weight @ columns
            output = kernel.read(kernel.call())
    except NotAvailable as error:
        return row(_sparsity(weight), zero_blocks(weight), reason=str(error))
    timing = time_calls(
        kernel.call, device=device, batch_size=batch_size, threads=threads, runtime=name, warmup=warmup,
        repetitions=repetitions, stopwatch=stopwatch,
    )  # fmt: skip
    return row(
        sparsity=_sparsity(kernel.weight),
        zero_blocks=zero_blocks(kernel.weight),
        timing=timing,
        max_abs_error=float((output - dense).abs().max()),
        max_abs_output=float(dense.abs().max()),
        is_right=float((output - kernel.expected).abs().max()) <= kernel.allowed_error,
    )


def _with_speedup(row: ProductRow, baseline: ProductRow) -> ProductRow:
    if row.timing is None or baseline.timing is None:
        return row
    return dataclasses.replace(row, speedup=baseline.timing.median_ms / row.timing.median_ms)


def _sparsity(weight: Tensor) -> float:
    return 1.0 - int(torch.count_nonzero(weight)) / weight.numel()
