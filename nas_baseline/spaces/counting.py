"""Analytic MACs and weights of mobilenetv3 network specs; they equal a count of the built network.

MACs: multiply-accumulates of one image, convolution and linear layers only. Weights: of those layers, no biases, no
batch norm. Channel rounding follows timm's ``make_divisible`` (round to the divisor, up if more than a share is lost).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accounting.ledger.specs import NetworkSpec

Ints = NDArray[np.int64]
Numbers = int | float | NDArray[np.int64] | NDArray[np.floating]
"""One number, or one per member."""
WIDTH_ROUND_LIMIT = 0.95
SE_DIVISOR = 8


@dataclass(frozen=True)
class Block:
    """One run of a block string such as ``ir_r2_k5_s2_e4_c24_se0.25``: type ``ds``, ``ir`` or ``cn``."""

    kind: str
    repeat: int
    kernel: int
    stride: int
    expansion: float
    width: int
    se: float


def parse_block(text: str) -> Block:
    """Read a timm block string.

    Raises:
        ValueError: a type or an option that the counts do not cover.

    """
    kind, *parts = text.split("_")
    options: dict[str, str] = {}
    for part in parts:
        match = re.fullmatch(r"(r|k|s|e|c|se)(\d+(?:\.\d+)?)", part)
        if match is None:
            raise ValueError(f"block '{text}': option '{part}' is not known; allowed: r, k, s, e, c, se with a number")
        options[match[1]] = match[2]
    if kind not in ("ds", "ir", "cn"):
        raise ValueError(f"block '{text}': type '{kind}' is not known; allowed: ds, ir, cn")
    missing = sorted({"r", "k", "s", "c"} - set(options))
    if missing:
        raise ValueError(f"block '{text}': missing {', '.join(missing)}")
    return Block(
        kind, int(options["r"]), int(options["k"]), int(options["s"]), float(options.get("e", 1)),
        int(options["c"]), float(options.get("se", 0)),
    )  # fmt: skip


def round_width(width: Numbers, divisor: int, limit: float) -> Ints:
    """Round channels as timm does: to the nearest multiple, at least one, next one up below ``limit`` of ``width``."""
    value = np.asarray(width, dtype=np.float64)
    rounded = np.maximum(divisor, (value + divisor / 2).astype(np.int64) // divisor * divisor)
    found: Ints = rounded + divisor * (rounded < limit * value)
    return found


def expanded_width(width: Numbers, expansion: Numbers) -> Ints:
    """Number of channels inside an inverted residual."""
    return round_width(np.asarray(width) * expansion, 8, 0.9)


def se_width(inner: Numbers, ratio: Numbers, expansion: Numbers) -> Ints:
    """Number of channels of a squeeze-excite bottleneck; ``ratio`` is relative to the block's input."""
    return round_width(inner * (np.asarray(ratio) / expansion), SE_DIVISOR, WIDTH_ROUND_LIMIT)


def spec_counts(spec: NetworkSpec, image_size: int) -> tuple[int, int]:
    """(MACs, weights) of a mobilenetv3 spec on square images."""
    divisor = int(spec.get("width_divisor", 8))
    padding = spec.get("dw_padding", {})
    size = -(-image_size // 2)
    width = int(round_width(spec["stem_size"], divisor, WIDTH_ROUND_LIMIT))
    weights = 9 * spec["in_chans"] * width
    macs = size**2 * weights
    for stage, blocks in enumerate(spec["arch_def"]):
        index = 0
        for block in map(parse_block, blocks):
            out = int(round_width(block.width, divisor, WIDTH_ROUND_LIMIT))
            for r in range(block.repeat):
                # timm strides only the first block of a stage.
                stride = block.stride if index == 0 else 1
                pad = padding.get(f"{stage}.{index}", (block.kernel - 1) // 2)
                m, w, size = _block_counts(block, width, out, size, stride, pad)
                macs, weights, width, index = macs + m, weights + w, out, index + 1
                del r
    head = width * spec["num_features"] + spec["num_features"] * spec["num_classes"]
    return int(macs + head), int(weights + head)


def spec_macs(spec: NetworkSpec, image_size: int) -> int:
    """The MACs of a mobilenetv3 spec on square images."""
    return spec_counts(spec, image_size)[0]


def spec_params(spec: NetworkSpec) -> int:
    """The convolution and linear weights of a mobilenetv3 spec."""
    return spec_counts(spec, 32)[1]


def _block_counts(b: Block, width: int, out: int, size: int, stride: int, pad: int) -> tuple[int, int, int]:
    """(MACs, weights, output size) of one block."""
    after = (size + 2 * pad - b.kernel) // stride + 1
    if b.kind == "cn":
        weights = b.kernel**2 * width * out
        return after**2 * weights, weights, after
    inner = width if b.kind == "ds" else int(expanded_width(width, b.expansion))
    expand = 0 if b.kind == "ds" else width * inner
    depthwise, project = b.kernel**2 * inner, inner * out
    squeeze = 2 * inner * int(se_width(inner, b.se, 1.0 if b.kind == "ds" else b.expansion)) if b.se else 0
    macs = size**2 * expand + after**2 * (depthwise + project) + squeeze
    return macs, expand + depthwise + squeeze + project, after
