"""Gradients of the loss on given batches, leaving the model exactly as it was."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

Batches = Iterable[tuple[Tensor, Tensor]]


def mean_gradients(model: nn.Module, batches: Batches) -> dict[str, Tensor]:
    """Gradient of the mean cross-entropy over all images of ``batches``, by parameter name.

    The model is run in evaluation mode (batch-norm statistics neither used up nor changed); its parameters, buffers,
    modes and ``.grad`` are the same afterwards.

    Raises:
        ValueError: there is no image in ``batches``.

    """
    parameters = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    device = next(iter(parameters.values())).device
    modes = [(module, module.training) for module in model.modules()]
    num_images = 0
    try:
        model.eval()
        with torch.enable_grad():
            for images, labels in batches:
                logits = functional_call(model, parameters, (images.to(device),))
                F.cross_entropy(logits, labels.to(device), reduction="sum").backward()  # type: ignore[no-untyped-call]
                num_images += len(labels)
    finally:
        for module, mode in modes:
            module.training = mode
    if not num_images:
        raise ValueError("no batches to take gradients from: give an iterable of (images, labels)")
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.div_(num_images) for name, p in parameters.items()}
