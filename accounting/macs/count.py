"""How many multiply-accumulates (MACs) a network takes for one image, dense and sparse, as exact integers.

A MAC is one multiplication of a weight of a convolution or linear layer with an activation. Batch norm, biases,
activation functions, pooling and products of activations (attention scores) are not counted. A weight is used at a
number of *positions* (in a convolution: output positions; in a transposed one: input positions; in a linear layer:
rows), so a layer has ``num_weights * positions`` MACs, and a sparse layer ``num_nonzero * positions``.

What counts is what the forward pass *calls*, under a dispatch mode, not which modules exist: a module called twice
counts twice, one never called does not count, and ``F.linear`` with a parameter counts like ``nn.Linear``. The pass
normally runs on the meta device (shapes only). If the model cannot run there (values decide what is run, or weights are
computed in the forward pass, as under ``torch.nn.utils.prune``), it runs on zeros instead. Weights that no counted call
used are listed in ``uncounted``, never dropped silently.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from accounting.macs.hooks import CallCounter, Use

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LayerMacs:
    """The MACs of one weight tensor over all its uses in one forward pass on one image."""

    name: str
    """Name of the module that has the weight; for a parameter not called ``weight``, the parameter's own name."""
    kind: Literal["conv", "linear"]
    macs: int
    num_weights: int
    num_nonzero: int
    positions: int
    groups: int
    weight_shape: tuple[int, ...]
    parameters: tuple[str, ...] = field(default=(), compare=False)
    """Names of the parameters that the weight is, or is made from."""
    is_parameter: bool = field(default=True, compare=False)
    """Whether the weight is exactly one whole parameter, neither a part of one nor computed from some."""

    @property
    def sparse_macs(self) -> int:
        """MACs with non-zero weights."""
        return self.num_nonzero * self.positions


@dataclass(frozen=True)
class MacsReport:
    """The MACs of a network, by layer in order of first use."""

    layers: tuple[LayerMacs, ...]
    params: int
    """Elements of all parameters, including biases and normalisation; shared ones count once."""
    nonzero: int
    """How many of them are not zero."""
    uncounted: tuple[str, ...]
    """Parameters with two or more dimensions that no counted call used: embeddings, unused layers."""

    @property
    def macs(self) -> int:
        """Dense MACs of one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def sparse_macs(self) -> int:
        """MACs of one image with non-zero weights."""
        return sum(layer.sparse_macs for layer in self.layers)

    @property
    def num_weights(self) -> int:
        """Weights of the counted layers."""
        return sum(layer.num_weights for layer in self.layers)

    @property
    def num_nonzero_weights(self) -> int:
        """Non-zero weights of the counted layers."""
        return sum(layer.num_nonzero for layer in self.layers)


def count_macs(model: nn.Module, input_size: tuple[int, ...]) -> MacsReport:
    """Count one forward pass of the model in eval mode on one image of ``input_size`` (C, H, W).

    The model is left unchanged: mode, parameters, buffers, hooks. A model on the meta device counts as dense.
    """
    parameters = dict(model.named_parameters())
    with _left_as_found(model):
        model.eval()
        try:
            uses = _run_on_meta(model, input_size)
        except Exception as error:
            if any(parameter.is_meta for parameter in parameters.values()):
                raise
            # Many kinds of error can mean that a model does not run on shapes alone; a real pass shows if it is broken.
            logger.debug("counting MACs with a real forward pass: %s", error)
            uses = _run_for_real(model, input_size)
    seen = {parameter for use in uses for parameter in use.parameters}
    return MacsReport(
        layers=tuple(_layer(use, parameters) for use in uses),
        params=sum(parameter.numel() for parameter in parameters.values()),
        nonzero=sum(_num_nonzero(parameter) for parameter in parameters.values()),
        uncounted=tuple(name for name, p in parameters.items() if p.dim() >= 2 and name not in seen),
    )


def _run_on_meta(model: nn.Module, input_size: tuple[int, ...]) -> list[Use]:
    """Run on meta tensors: one for each distinct tensor, at every name under which a distinct module holds it.

    ``functional_call`` does not restore a module that is registered under two names, so each module is named once here.
    """
    places: dict[str, Tensor] = {}
    meta: dict[int, Tensor] = {}
    for prefix, module in model.named_modules():
        own = (*module.named_parameters(recurse=False, remove_duplicate=False), *module.named_buffers(recurse=False))
        for name, tensor in own:
            if id(tensor) not in meta:
                meta[id(tensor)] = torch.empty_strided(
                    tensor.size(), tensor.stride(), dtype=tensor.dtype, device="meta"
                )
            places[f"{prefix}.{name}" if prefix else name] = meta[id(tensor)]
    # If the network itself is on the meta device, the zeros of computed weights cannot be known.
    needs_values = not any(parameter.is_meta for parameter in model.parameters())
    counter = CallCounter(
        {name: meta[id(parameter)] for name, parameter in model.named_parameters()}, needs_values=needs_values
    )
    image = torch.empty(1, *input_size, dtype=_dtype(model), device="meta")
    with torch.inference_mode(), nullcontext() if needs_values else counter.following(model), counter:
        functional_call(model, places, (image,), tie_weights=False)
    return counter.uses()


def _run_for_real(model: nn.Module, input_size: tuple[int, ...]) -> list[Use]:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    counter = CallCounter(dict(model.named_parameters()))
    with torch.inference_mode(), counter.following(model), counter:
        model(torch.zeros(1, *input_size, dtype=_dtype(model), device=device))
    return counter.uses()


def _layer(use: Use, parameters: dict[str, nn.Parameter]) -> LayerMacs:
    weight, name = use.weight, use.name
    if weight.is_meta and not use.is_computed:
        whole = parameters[use.parameters[0]]
        weight = whole.detach().as_strided(
            weight.size(), weight.stride(), whole.storage_offset() + weight.storage_offset()
        )
    for dim, stride in enumerate(weight.stride()):
        weight = weight.narrow(dim, 0, 1) if stride == 0 else weight  # expanded: one weight, not many
    num_weights = weight.numel()
    is_part = num_weights < max((parameters[parameter].numel() for parameter in use.parameters), default=0)
    if is_part:
        name = f"{name}[{weight.storage_offset()}]"
    return LayerMacs(
        name=name,
        kind=use.kind,
        macs=use.macs,
        num_weights=num_weights,
        num_nonzero=_num_nonzero(weight),
        positions=use.macs // num_weights if num_weights else 0,
        groups=use.groups,
        weight_shape=tuple(weight.shape),
        parameters=use.parameters,
        is_parameter=not (is_part or use.is_computed),
    )


def _num_nonzero(tensor: Tensor) -> int:
    return tensor.numel() if tensor.is_meta else int(torch.count_nonzero(tensor.detach()))


def _dtype(model: nn.Module) -> torch.dtype:
    floating = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return next(floating, torch.get_default_dtype())


@contextmanager
def _left_as_found(model: nn.Module) -> Iterator[None]:
    """Restore the modules' modes and plain tensor attributes (``torch.nn.utils.prune`` sets one in each forward)."""
    found = [
        (module, module.training, {k: v for k, v in vars(module).items() if isinstance(v, Tensor)})
        for module in model.modules()
    ]
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused call hides the weights that it uses
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
        for module, training, tensors in found:
            module.training = training
            vars(module).update(tensors)
