"""Gradients of the loss on given batches, which leave the model exactly as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

LossSum = Callable[[Tensor, Tensor], Tensor]
"""``(outputs, targets)`` of a batch → its loss, summed over the images."""


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of class scores, summed over the images: the default loss for batches without their own."""
    return F.cross_entropy(outputs, labels, reduction="sum")


@dataclass(frozen=True, eq=False)
class WithLoss:
    """Batches of (images, targets), which can be read repeatedly, and the loss whose gradients are taken."""

    batches: list[tuple[Tensor, Tensor]]
    loss: LossSum = cross_entropy


Batches = Iterable[tuple[Tensor, Tensor]] | WithLoss
"""Batches of (images, class labels), or of (images, targets) with the loss that takes these targets."""


def kept(batches: Batches) -> WithLoss:
    """The same batches in a form that can be read more than once."""
    return batches if isinstance(batches, WithLoss) else WithLoss(list(batches))


def mean_gradients(model: nn.Module, batches: Batches) -> dict[str, Tensor]:
    """Gradient of the mean loss over all images of ``batches`` (cross-entropy, or their own loss), by parameter name.

    The model is run in evaluation mode, so batch-norm statistics do not change; its parameters, buffers, modes and
    ``.grad`` are the same afterwards.

    Raises:
        ValueError: ``batches`` has no images.

    """
    copies = {id(p): p.detach().clone().requires_grad_() for p in model.parameters()}
    # A parameter of several modules is listed under each of them. A module used in several places must be listed only
    # once, or else functional_call does not restore its parameters (hence tie_weights=False, too).
    places = {
        f"{name}.{key}" if name else key: copies[id(p)]
        for name, module in model.named_modules()
        for key, p in module.named_parameters(recurse=False, remove_duplicate=False)
    }
    device = next(iter(copies.values())).device
    modes = [(module, module.training) for module in model.modules()]
    pairs, loss = (batches.batches, batches.loss) if isinstance(batches, WithLoss) else (batches, cross_entropy)
    num_images = 0
    try:
        model.eval()
        with torch.enable_grad():
            for images, targets in pairs:
                outputs = functional_call(model, places, (images.to(device),), tie_weights=False)
                loss(outputs, targets.to(device)).backward()
                num_images += len(images)
    finally:
        for module, mode in modes:
            module.training = mode
    if not num_images:
        raise ValueError("no batches to take gradients from: give an iterable of (images, labels)")
    gradients = {}
    for name, parameter in model.named_parameters():
        gradient = copies[id(parameter)].grad
        gradients[name] = torch.zeros_like(parameter) if gradient is None else gradient.div_(num_images)
    return gradients
