"""A network's 1x1 convolutions and linear layers as matrix products, each timed in several formats.

A 1x1 convolution or a linear layer is (out, in) @ (in, positions). A layer that is called several times in a forward
pass counts as one product over all its positions. Two layers are the same product if their shapes and their numbers of
non-zero weights agree: dense kernels then take the same time, and sparse ones nearly the same. Convolutions with a
larger kernel or with groups (depthwise) are not such products and are left out.
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
"""The format relative to which speed-ups are given."""


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix product that a network has once or several times.

    Attributes:
        layers: names of the layers that are this product.
        weight: the weight of the first of them, fp32, shape (out, in), on the CPU.
        positions: number of columns that it multiplies for one image.

    """

    layers: tuple[str, ...]
    weight: Tensor
    positions: int


@dataclass(frozen=True)
class ProductRow:
    """One product in one format: its time, or why it has none.

    Attributes:
        layers: as in :class:`Product`; the network has the product ``len(layers)`` times. out_features: rows of the
        weight. in_features: columns of the weight. positions: columns of the activations for the whole batch. format: a
        name in :data:`harness.latency.formats.FORMATS`. sparsity: share (0-1) of the format's weights that are zero.
        zero_blocks: share (0-1) of its 1x4 blocks that are all zero. timing: the time of one product; None if the
        format is not available. speedup: median time of :data:`BASELINE` over that of this format, both from this run.
        max_abs_error: largest difference from the dense fp32 product of the same weights (int8: including
        quantisation). max_abs_output: largest output of that product, for judging the error. is_right: whether the
        output is correct for the format (int8: for the quantised operands, to one step). reason: why the format is not
        available; empty if it is.

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
    """Milliseconds of all products of a network in one format: each one's time by how often it occurs, summed.

    ``p10_ms`` and ``p90_ms`` are sums of percentiles, so their spread is wider than that of the sum.
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
    """One row per product and format; activations are drawn from a normal distribution.

    :data:`BASELINE` is always among the formats, and comes first.

    Raises:
        ValueError: a format is unknown.

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
    """The total of all products in one format; None if one of them was not timed in it, or there are none."""
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
