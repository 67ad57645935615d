"""Gradients of the loss on given batches, leaving the model exactly as it was."""

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
    """Cross-entropy of class scores, summed: the loss of batches that bring none of their own."""
    return F.cross_entropy(outputs, labels, reduction="sum")


@dataclass(frozen=True, eq=False)
class WithLoss:
    """Batches of (images, targets), read as often as is needed, and the loss whose gradients are taken."""

    batches: list[tuple[Tensor, Tensor]]
    loss: LossSum = cross_entropy


Batches = Iterable[tuple[Tensor, Tensor]] | WithLoss
"""Batches of (images, labels) of classes, or of whatever the loss that comes with them takes."""


def kept(batches: Batches) -> WithLoss:
    """The same batches, to be read more than once."""
    return batches if isinstance(batches, WithLoss) else WithLoss(list(batches))


def mean_gradients(model: nn.Module, batches: Batches) -> dict[str, Tensor]:
    """Gradient of the mean loss over all images of ``batches`` (cross-entropy, or the loss they bring), by parameter name.

    The model is run in evaluation mode (batch-norm statistics neither used up nor changed); its parameters, buffers,
    modes and ``.grad`` are the same afterwards.

    Raises:
        ValueError: there is no image in ``batches``.

    """
    copies = {id(p): p.detach().clone().requires_grad_() for p in model.parameters()}
    # Each place once, also if a parameter is in several modules. A module that is in several places must
    # be named once only: functional_call does not put its parameters back otherwise (hence tie_weights=False, too).
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
