"""Batch norm over the images of all workers of a training, on any device.

torch's ``SyncBatchNorm`` rejects tensors on the CPU (2.15: "expected input tensor to be on GPU") and replaces modules.
Here the functional ``batch_norm`` is replaced while a block runs, and the network does not change. Every batch-norm
layer calls it: torch's, timm's with an activation after it, and a supernet's on views of shared tensors.

Statistics are combined as in Chan, Golub and LeVeque (1983), from each worker's count, mean and variance. Every worker
gathers these and combines them in the same order, so all get the same bits, running statistics included.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from harness.training.replaced import Replaced
from harness.training.workers import Crew


def synced_norm(crew: Crew, wanted: bool = True) -> AbstractContextManager[object]:
    """While the block runs, batch statistics are taken over the images of all workers."""
    if not wanted or crew.size == 1:
        return nullcontext()
    return Replaced({functional.batch_norm: partial(_batch_norm, crew)})


def _batch_norm(
    crew: Crew,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    output, mean, var, count = _Normalise.apply(input, weight, bias, eps, crew)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            total = count.double()  # stays a tensor, so that torch.compile traces through
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (total / (total - 1).clamp(min=1))).to(running_var.dtype), momentum)
    normalised: Tensor = output
    return normalised


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) * weight + bias, with statistics over all dimensions but the second.

    The statistics are those of all workers' x.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, crew: Crew
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The output (of x's type), then the mean, biased variance and number of values per channel, in float32."""
        plain = x.float()
        mean, var = torch.batch_norm_update_stats(plain, None, None, 0.0)
        own_count = torch.tensor([x.numel() // x.shape[1]], dtype=torch.float32, device=x.device)
        all_counts, means, variances = crew.gathered(torch.cat([own_count, mean, var])).split(
            [1, x.shape[1], x.shape[1]], dim=1
        )
        count = all_counts.sum()
        shares = all_counts / count
        mean = (shares * means).sum(0)
        var = (shares * (variances + (means - mean) ** 2)).sum(0)
        output = functional.batch_norm(plain, mean, var, _float(weight), _float(bias), False, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.crew, ctx.eps, ctx.has_bias = crew, eps, bias is not None
        ctx.mark_non_differentiable(mean, var, count)
        return output.to(x.dtype), mean, var, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, weight and bias; those of weight and bias are this worker's part, as for other parameters."""
        x, weight, mean, var, count = ctx.saved_tensors
        plain = x.float()
        scale = torch.rsqrt(var + ctx.eps)
        by_input, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient.float(), plain, _float(weight), mean, var, mean, scale, False, ctx.eps, [True, True, True]
        )
        # That is with mean and variance held fixed; what follows is their part.
        all_bias, all_weight = ctx.crew.sum(torch.cat([by_bias, by_weight])).div_(count).chunk(2)
        factor = scale if weight is None else scale * weight.float()
        slope = factor * scale * all_weight
        by_input.sub_(_by_channel(factor * all_bias - slope * mean, x)).addcmul_(
            plain, _by_channel(slope, x), value=-1.0
        )
        return (
            by_input.to(x.dtype),
            None if weight is None else by_weight.to(weight.dtype),
            by_bias if ctx.has_bias else None,
            None,
            None,
        )


def _float(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.float()


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    """One value per channel (C), in a shape that broadcasts over ``like`` (N, C, ...)."""
    return values.view(1, -1, *[1] * (like.dim() - 2))
