"""Gradients of depthwise convolutions over maps smaller than their kernel, which torch computes slowly on a CPU.

oneDNN has no fast kernel for them: in torch 2.15 the backward pass over 2 × 2 pixels with 5 × 5 weights takes 15 times
as long as over 5 × 5 pixels, and in MobileNetV3 at 64 pixels half of an update. Here each weight's gradient is one sum
of products over the images, and weights that only ever meet padding are left out. The gradient of the input has the
same bits, that of the weights differs in the last. The forward pass is torch's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from harness.training.replaced import Replaced

Pair = tuple[int, int]


def quick_small_maps(device: torch.device) -> AbstractContextManager[object]:
    """While the block runs on a CPU, such convolutions have quick gradients; these have no gradients themselves."""
    return Replaced({functional.conv2d: _conv2d}) if device.type == "cpu" else nullcontext()


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    if (
        groups == 1
        or isinstance(padding, str)
        or _pair(dilation) != (1, 1)
        or input.dim() != 4
        or tuple(weight.shape[:2]) != (groups, 1)
        or input.shape[2] >= weight.shape[2]
        or input.shape[3] >= weight.shape[3]
        or input.dtype != torch.float32
        or not torch.is_grad_enabled()
    ):
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    output: Tensor = _Depthwise.apply(input, weight, _pair(stride), _pair(padding))
    return output if bias is None else output + bias.view(1, -1, 1, 1)


class _Kept(Protocol):
    """What the forward pass keeps for the backward pass, as torch gives it to both."""

    stride: Pair
    padding: Pair

    @property
    def saved_tensors(self) -> tuple[Tensor, Tensor]: ...

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution of images (N, C, H, W) with weights (C, 1, KH, KW)."""

    @staticmethod
    def forward(ctx: _Kept, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        """As torch computes it."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: _Kept, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Gradients of images and weights."""
        x, weight = (tensor.detach() for tensor in ctx.saved_tensors)
        found = _in_a_graph if torch.compiler.is_compiling() else _gradients
        return *found(gradient, x, weight, ctx.stride, ctx.padding), None, None


def _gradients(gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> tuple[Tensor, Tensor]:
    by_input = torch.zeros_like(x, memory_format=torch.channels_last)
    by_weight = torch.zeros_like(weight)
    images, outputs, inputs = (tensor.permute(0, 2, 3, 1) for tensor in (x, gradient, by_input))
    for row, of_rows, in_rows in _taps(weight.shape[2], x.shape[2], gradient.shape[2], stride[0], padding[0]):
        for column, of_columns, in_columns in _taps(
            weight.shape[3], x.shape[3], gradient.shape[3], stride[1], padding[1]
        ):
            part = outputs[:, of_rows, of_columns]
            by_weight[:, 0, row, column] = (images[:, in_rows, in_columns] * part).sum((0, 1, 2))
            inputs[:, in_rows, in_columns].addcmul_(part, weight[:, 0, row, column])
    return by_input, by_weight


_in_a_graph = torch.library.custom_op(
    "prune_or_search::small_map_gradients",
    _gradients,
    mutates_args=(),
    schema="(Tensor gradient, Tensor x, Tensor weight, int[] stride, int[] padding) -> (Tensor, Tensor)",
)
"""The same in a compiled network, where it is one operation; traced through, it would be hundreds."""


@_in_a_graph.register_fake
def _shapes(gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.channels_last), torch.empty_like(weight)


def _taps(kernel: int, side: int, out_side: int, stride: int, padding: int) -> Iterator[tuple[int, slice, slice]]:
    """Along one side: each place in the kernel that meets pixels, the outputs for which it does, and those pixels."""
    for place in range(kernel):
        offset = place - padding
        first = max(0, -(offset // stride))
        stop = min(out_side, (side - 1 - offset) // stride + 1)
        if first < stop:
            begin = first * stride + offset
            yield place, slice(first, stop), slice(begin, begin + (stop - first - 1) * stride + 1, stride)


def _pair(value: int | tuple[int, ...]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
