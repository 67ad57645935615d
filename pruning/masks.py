"""Masks of the weights that are kept, and enforcing them exactly while the network trains."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Masks = Mapping[str, Tensor]
"""Bool tensors by parameter name (such as ``blocks.1.0.conv_pw.weight``), in the parameter's shape; True means kept."""


def apply_masks(model: nn.Module, masks: Masks) -> None:
    """Set every masked weight to exactly +0.0, in place.

    Raises:
        ValueError: the model has no parameter with the name and shape of a mask.

    """
    _zero(_pairs(model, masks))


def masks_from_model(model: nn.Module) -> dict[str, Tensor]:
    """Masks of the non-zero weights of all convolution and linear layers; a shared weight has one mask."""
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    weights = {id(module.weight) for module in model.modules() if isinstance(module, kinds)}
    return {name: p.detach() != 0 for name, p in model.named_parameters() if id(p) in weights}


def to_tensors(masks: Masks) -> dict[str, Tensor]:
    """Masks in the form stored in safetensors: uint8 on the CPU, contiguous, under the parameter's name."""
    return {name: mask.to("cpu", torch.uint8).contiguous() for name, mask in masks.items()}


def from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The masks that :func:`to_tensors` converted."""
    return {name: tensor.bool() for name, tensor in tensors.items()}


def shuffle_masks(masks: Masks, seed: int) -> dict[str, Tensor]:
    """Random masks that keep the same share of every layer: the control for *where* a criterion prunes.

    They may keep weights that were zero in the network, so they are for networks that are trained from scratch. Rows
    that all have the same mask (the experts of a CondConv layer) still do afterwards.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = {}
    for name, mask in masks.items():
        if mask.dim() == 2 and len(mask) > 1 and bool((mask == mask[:1]).all()) and not bool(mask.all()):
            shuffled[name] = mask[:, torch.randperm(mask.shape[1], generator=generator).to(mask.device)]
            continue
        order = torch.randperm(mask.numel(), generator=generator).to(mask.device)
        shuffled[name] = mask.flatten()[order].view(mask.shape)
    return shuffled


class MaskKeeper:
    """Keeps the masked weights of a model at exactly zero while an optimizer trains it.

    Momentum, weight decay and adaptive optimizers move weights even when their gradient is zero. So the weights are
    zeroed again after every step, which is exact with any optimizer; moving averages are zeroed likewise. Gradients of
    masked weights are zeroed as they are computed, so that clipping by norm sees only the sparse network's gradient.
    """

    def __init__(self, model: nn.Module, masks: Masks) -> None:
        self._model = model
        self._averages: list[nn.Module] = []
        self._handles: list[RemovableHandle] = []
        self._is_holding = False
        self.change(masks)

    def change(self, masks: Masks) -> None:
        """Switch to these masks, for the next round or the next step of a gradual schedule."""
        self._masks = dict(masks)
        self._pairs = _pairs(self._model, self._masks)
        self._dropped = {id(parameter): dropped for parameter, dropped in self._pairs}
        self.enforce()

    def hold(self, optimizer: torch.optim.Optimizer) -> None:
        """From now on, zero the weights after each step of the optimizer, and the gradients when they are computed."""
        self._handles.append(optimizer.register_step_post_hook(lambda *_: _zero(self._pairs)))
        if not self._is_holding:
            self._is_holding = True
            masked = (p for name, p in self._model.named_parameters() if name in self._masks)
            for parameter in masked:
                handle = parameter.register_post_accumulate_grad_hook(self._zero_gradient)
                self._handles.append(handle)

    def hold_ema(self, ema_model: nn.Module) -> None:
        """Keep the masked weights of a moving average of the model at zero too.

        ``ema_model`` is the averaged network, or a timm ``ModelEma`` that holds it as ``module``. An average of exact
        zeros is exactly zero, so the average is zeroed only now and when the masks change; call :meth:`enforce` after
        loading other weights into either.
        """
        inner = getattr(ema_model, "module", None)
        self._averages.append(inner if isinstance(inner, nn.Module) else ema_model)
        self.enforce()

    def enforce(self) -> None:
        """Zero the masked weights of the model and its averages now."""
        _zero(self._pairs)
        for average in self._averages:
            _zero(_pairs(average, self._masks))

    def release(self) -> None:
        """Stop enforcing the masks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._is_holding = False

    @torch.no_grad()
    def _zero_gradient(self, parameter: Tensor) -> None:
        dropped = self._dropped.get(id(parameter))
        if dropped is not None and parameter.grad is not None:
            parameter.grad.masked_fill_(dropped, 0.0)


def _pairs(model: nn.Module, masks: Masks) -> list[tuple[nn.Parameter, Tensor]]:
    """Each masked parameter with a bool tensor of the places to zero."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    pairs = []
    for name, mask in masks.items():
        parameter = parameters.get(name)
        if parameter is None:
            raise ValueError(f"mask for {name!r}, which is not a parameter of the model")
        if parameter.shape != mask.shape:
            raise ValueError(f"mask for {name!r} has shape {tuple(mask.shape)}, its weight {tuple(parameter.shape)}")
        dropped = ~mask.to(parameter.device, torch.bool)
        if dropped.any():
            pairs.append((parameter, dropped))
    return pairs


@torch.no_grad()
def _zero(pairs: list[tuple[nn.Parameter, Tensor]]) -> None:
    for weight, dropped in pairs:
        weight.masked_fill_(dropped, 0.0)
