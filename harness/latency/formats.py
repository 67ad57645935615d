"""One matrix product ``weight @ columns`` in every format for which a library has a kernel: dense, sparse, quantised.

``weight`` is (out, in) and ``columns`` is (in, positions), both fp32. Formats marked *rows* take the transposed
activations (positions, in), as a channels-last network has them. The timed call does not include conversions of weights
and activations; a network that mixes formats would also have to convert its activations.

| format | weight | activations |
|---|---|---|
| ``dense_fp32`` | unchanged | columns |
| ``dense_fp32_rows`` | unchanged | rows |
| ``csr_fp32`` | ``torch.sparse_csr``, which skips zeros | columns |
| ``int8_dense`` | int8, one scale per output (engine fbgemm) | rows, 7-bit unsigned |
| ``int8_sparse_1x4`` | the same, skipping blocks of 4 inputs that are all zero | rows, 7-bit unsigned |
| ``int8_sparse_1x4_blocks`` | equally sparse, but in whole blocks, the weakest by magnitude | rows, 7-bit unsigned |
| ``dense_fp16``, ``dense_fp16_rows`` | fp16, CUDA only | columns, rows |
| ``sparse_fp16_2of4`` | fp16, the best 2 of every 4 inputs by magnitude, CUDA only | rows |

With 7 bits (PyTorch's ``reduce_range``) a sum of two products fits into 16 bits on processors without VNNI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.errors import one_line
from harness.latency.errors import NotAvailable

ENGINE = "fbgemm"
"""The only engine with sparse int8 kernels for x86; its dense kernels are timed too, for comparison."""
BLOCK = 4
"""Number of inputs that the sparse int8 kernels skip together."""
_FP32_ERROR, _FP16_ERROR = 1e-4, 1e-2
"""Allowed differences, as a share of the largest output, due to the order of summation and to fewer digits."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """One product prepared in one format.

    Attributes:
        call: the call that is timed.
        read: converts the output of ``call`` to fp32, shape (out, positions).
        weight: the weight as the format holds it, in fp32 (some formats prune further).
        expected: what ``read`` should give, apart from the order of summation and the rounding of the output.
        allowed_error: largest difference from ``expected`` that a correct output may have.

    """

    call: Callable[[], Tensor]
    read: Callable[[Tensor], Tensor]
    weight: Tensor
    expected: Tensor
    allowed_error: float


def prepare(name: str, weight: Tensor, columns: Tensor) -> Kernel:
    """The kernel of a format in :data:`FORMATS`, on the tensors' device.

    Raises:
        NotAvailable: this machine or this shape does not support the format; the message says why.
        ValueError: there is no such format.

    """
    if name not in FORMATS:
        raise ValueError(f"unknown format {name!r}; allowed: {', '.join(FORMATS)}")
    return FORMATS[name](weight, columns)


@contextmanager
def quantised_engine() -> Iterator[None]:
    """Use PyTorch's quantised kernels of :data:`ENGINE` while the block runs.

    Raises:
        NotAvailable: this build of PyTorch has no such engine.

    """
    before = torch.backends.quantized.engine
    if ENGINE not in torch.backends.quantized.supported_engines:
        raise NotAvailable(f"this build of PyTorch has no quantised engine {ENGINE}")
    torch.backends.quantized.engine = ENGINE
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def zero_blocks(weight: Tensor) -> float:
    """The share of 1x4 blocks (4 inputs of one output; a row's last one may be shorter) that are all zero."""
    return float((_blocks(weight).abs().amax(2) == 0).float().mean())


def keep_strongest_blocks(weight: Tensor) -> Tensor:
    """The weight with only as many 1x4 blocks as its non-zeros could fill: those with the largest sum of magnitudes."""
    blocks = _blocks(weight)
    strength = blocks.abs().sum(2).flatten()
    num_kept = -(-int(torch.count_nonzero(weight)) // BLOCK)
    mask = torch.zeros_like(strength)
    mask[strength.topk(num_kept).indices] = 1
    return (blocks * mask.view(*blocks.shape[:2], 1)).flatten(1)[:, : weight.shape[1]].contiguous()


def _blocks(weight: Tensor) -> Tensor:
    """The weight in shape (out, blocks, 4), with the last block of each row padded with zeros."""
    padded = F.pad(weight, (0, -weight.shape[1] % BLOCK))
    return padded.view(weight.shape[0], -1, BLOCK)


def _dense_fp32(weight: Tensor, columns: Tensor) -> Kernel:
    return _floating(lambda: weight @ columns, _as_it_is, weight, weight @ columns, _FP32_ERROR)


def _dense_fp32_rows(weight: Tensor, columns: Tensor) -> Kernel:
    rows = columns.T.contiguous()
    return _floating(lambda: F.linear(rows, weight), _transposed, weight, weight @ columns, _FP32_ERROR)


def _csr_fp32(weight: Tensor, columns: Tensor) -> Kernel:
    sparse = weight.to_sparse_csr()
    return _floating(lambda: sparse @ columns, _as_it_is, weight, weight @ columns, _FP32_ERROR)


def _int8_dense(weight: Tensor, columns: Tensor) -> Kernel:
    return _int8(weight, columns, is_sparse=False)


def _int8_sparse(weight: Tensor, columns: Tensor) -> Kernel:
    return _int8(weight, columns, is_sparse=True)


def _int8_sparse_blocks(weight: Tensor, columns: Tensor) -> Kernel:
    return _int8(keep_strongest_blocks(weight), columns, is_sparse=True)


def _dense_fp16(weight: Tensor, columns: Tensor) -> Kernel:
    _need_cuda(weight, "fp16 products")
    half, half_columns = weight.half(), columns.half()
    return _floating(lambda: half @ half_columns, _as_it_is, weight, weight @ columns, _FP16_ERROR)


def _dense_fp16_rows(weight: Tensor, columns: Tensor) -> Kernel:
    _need_cuda(weight, "fp16 products")
    half, rows = weight.half(), columns.T.half().contiguous()
    return _floating(lambda: F.linear(rows, half), _transposed, weight, weight @ columns, _FP16_ERROR)


def _sparse_fp16_2of4(weight: Tensor, columns: Tensor) -> Kernel:
    _need_cuda(weight, "2:4 kernels")
    if torch.cuda.get_device_capability(weight.device) < (8, 0):
        raise NotAvailable("2:4 kernels need a GPU of compute capability 8.0 or more")
    if weight.shape[1] % 4:
        raise NotAvailable(f"2:4 needs a multiple of 4 inputs, this product has {weight.shape[1]}")
    groups = weight.view(weight.shape[0], -1, 4)
    mask = torch.zeros_like(groups).scatter_(2, groups.abs().topk(2, dim=2).indices, 1)
    pruned = (groups * mask).view_as(weight)
    rows = columns.T.half().contiguous()
    try:
        sparse = torch.sparse.to_sparse_semi_structured(pruned.half())
        F.linear(rows, sparse)
    except RuntimeError as error:  # shapes or layouts that torch's 2:4 tensors refuse, NotImplementedError among them
        raise NotAvailable(f"no 2:4 kernel for this product: {one_line(error, 200)}") from None
    return _floating(lambda: F.linear(rows, sparse), _transposed, pruned, pruned @ columns, _FP16_ERROR)


FORMATS: dict[str, Callable[[Tensor, Tensor], Kernel]] = {
    "dense_fp32": _dense_fp32,
    "dense_fp32_rows": _dense_fp32_rows,
    "csr_fp32": _csr_fp32,
    "int8_dense": _int8_dense,
    "int8_sparse_1x4": _int8_sparse,
    "int8_sparse_1x4_blocks": _int8_sparse_blocks,
    "dense_fp16": _dense_fp16,
    "dense_fp16_rows": _dense_fp16_rows,
    "sparse_fp16_2of4": _sparse_fp16_2of4,
}
"""The function that makes the kernel of each format; see the module's table."""


def _floating(
    call: Callable[[], Tensor], read: Callable[[Tensor], Tensor], weight: Tensor, expected: Tensor, share: float
) -> Kernel:
    return Kernel(call, read, weight, expected, share * float(expected.abs().max()))


def _int8(weight: Tensor, columns: Tensor, *, is_sparse: bool) -> Kernel:
    """Weights symmetric per output, activations and outputs affine per tensor; correct to one step of the output."""
    if weight.device.type != "cpu":
        raise NotAvailable("PyTorch's quantised kernels (torch.ao) run on the CPU only")
    scales = (weight.abs().amax(1) / 127).clamp_min(1e-12).double()
    zero_points = torch.zeros(len(weight), dtype=torch.long)
    quantised = torch.quantize_per_channel(weight, scales, zero_points, 0, torch.qint8)
    rows = columns.T.contiguous()
    rows = torch.quantize_per_tensor(rows, *_scale_and_zero(rows, num_steps=127), torch.quint8)
    expected = quantised.dequantize() @ rows.dequantize().T
    scale, zero = _scale_and_zero(expected, num_steps=255)
    ops = torch.ops.sparse if is_sparse else torch.ops.quantized
    with quantised_engine():
        try:
            packed = (
                ops.qlinear_prepack(quantised, None, 1, BLOCK) if is_sparse else ops.linear_prepack(quantised, None)
            )
        except RuntimeError as error:
            raise NotAvailable(f"no int8 kernel for this product: {one_line(error, 200)}") from None
    multiply = ops.qlinear if is_sparse else ops.linear

    def call() -> Tensor:
        output: Tensor = multiply(rows, packed, scale, zero)
        return output

    return Kernel(call, lambda output: output.dequantize().T, weight, expected, 1.01 * scale)


def _scale_and_zero(values: Tensor, num_steps: int) -> tuple[float, int]:
    """Scale and zero point that quantise the values' range, widened to include 0, in ``num_steps`` steps."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = max((high - low) / num_steps, 1e-12)
    return scale, round(-low / scale)


def _need_cuda(tensor: Tensor, what: str) -> None:
    if tensor.device.type != "cuda":
        raise NotAvailable(f"{what} are timed on CUDA devices only")


def _as_it_is(output: Tensor) -> Tensor:
    return output.float()


def _transposed(output: Tensor) -> Tensor:
    return output.T.float()
