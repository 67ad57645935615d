"""Sees every convolution and matrix product of a forward pass and the weights it used, below all module code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class WeightValuesNeededError(RuntimeError):
    """A layer's weights are computed in the forward pass, so their zeros are unknown on the meta device."""


@dataclass
class Use:
    """One weight tensor (a parameter, a slice of one, or computed) and the calls that used it."""

    name: str
    kind: Literal["conv", "linear"]
    weight: Tensor
    groups: int
    parameters: tuple[str, ...]
    """Names of the parameters that it is, or is made from."""
    is_computed: bool
    """Whether it was computed in the forward pass, so that a zero in a parameter need not be a zero in it."""
    macs: int = 0


class CallCounter(TorchDispatchMode):
    """Counts the MACs of the calls made while it is active, by weight. Use under ``torch.inference_mode()``."""

    def __init__(self, parameters: Mapping[str, Tensor], *, needs_values: bool = True) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._needs_values = needs_values
        self._names: dict[int, list[tuple[int, str]]] = {}
        for name, tensor in parameters.items():
            self._names.setdefault(_storage(tensor), []).append((int(tensor.storage_offset()), name))
        self._uses: dict[tuple[object, ...], Use] = {}
        self._running: list[str] = []
        self._own_parameters: dict[str, tuple[str, ...]] = {}

    def uses(self) -> list[Use]:
        """What was counted, in order of first use."""
        return list(self._uses.values())

    @contextmanager
    def following(self, model: nn.Module) -> Iterator[None]:
        """Track which module is running while the block runs, to name weights computed in its forward pass."""
        handles = []
        for name, module in model.named_modules():
            own = [n for n, _ in module.named_parameters(prefix=name, recurse=False)]
            own += [n for n, _ in module.named_parameters(prefix=name) if "parametrizations." in n]
            self._own_parameters[name] = tuple(own)
            handles.append(module.register_forward_pre_hook(self._entering(name)))
            handles.append(module.register_forward_hook(self._leaving, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, object] | None = None
    ) -> object:
        """Note the call and perform it; composite operations are decomposed first."""
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet in _SHAPE_KEEPING and args[0].is_meta and _storage(args[0]) not in self._names:
            return args[0]  # its meta kernel would take most of the time, for the same result
        if packet not in _COUNTED:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if packet is aten.convolution:
            self._count_convolution(args, result)
        elif packet is aten.linear:
            self._count("linear", args[1], math.prod(args[0].shape) * args[1].shape[0], is_layer=True)
        elif packet in _WEIGHT_PLACES:
            left, right = (args[place] for place in _WEIGHT_PLACES[packet])
            macs = math.prod(left.shape) * math.prod(right.shape[left.dim() - 1 :])
            for operand in (right, left):
                if self._count("linear", operand, macs, is_layer=False):
                    break
        return result

    def _count_convolution(self, args: tuple[Any, ...], result: Tensor) -> None:
        image, weight, is_transposed, groups = args[0], args[1], args[6], args[8]
        reached = image if is_transposed else result
        positions = reached.shape[0] * math.prod(reached.shape[2:])
        self._count("conv", weight, weight.numel() * positions, is_layer=True, groups=groups)

    def _count(
        self, kind: Literal["conv", "linear"], weight: Tensor, macs: int, *, is_layer: bool, groups: int = 1
    ) -> bool:
        """Add MACs to the use of the weight; returns False if the tensor is not a weight (a product of activations)."""
        parameter = self._parameter(weight)
        if parameter is None and not is_layer:
            return False
        if parameter is None and weight.is_meta and self._needs_values:
            raise WeightValuesNeededError("a layer's weights are computed in the forward pass")
        use = self._computed(kind, weight, groups) if parameter is None else self._of(parameter, kind, weight, groups)
        use.macs += macs
        return True

    def _parameter(self, weight: Tensor) -> str | None:
        """The parameter that a tensor is, or is a view of; several parameters may share one block of memory."""
        behind = [place for place in self._names.get(_storage(weight), ()) if place[0] <= weight.storage_offset()]
        return max(behind)[1] if behind else None

    def _of(self, parameter: str, kind: Literal["conv", "linear"], weight: Tensor, groups: int) -> Use:
        layout = sorted(zip(weight.shape, weight.stride(), strict=True))  # the same for a matrix and its transpose
        key = (kind, parameter, weight.storage_offset(), *layout)
        owner, _, leaf = parameter.rpartition(".")
        name = owner if leaf == "weight" else parameter
        return self._uses.setdefault(key, Use(name, kind, weight, groups, (parameter,), is_computed=False))

    def _computed(self, kind: Literal["conv", "linear"], weight: Tensor, groups: int) -> Use:
        name = self._running[-1] if self._running else "computed"
        key = (kind, name, *weight.shape)
        own = self._own_parameters.get(name, ())
        return self._uses.setdefault(key, Use(name, kind, weight, groups, own, is_computed=True))

    def _entering(self, name: str) -> Callable[[nn.Module, object], None]:
        return lambda _module, _inputs: self._running.append(name)

    def _leaving(self, _module: nn.Module, _inputs: object, _result: object) -> None:
        self._running.pop()


def _storage(tensor: Tensor) -> int:
    """Identity of the memory behind a tensor: the same for a parameter and its views, even on the meta device."""
    return int(tensor.untyped_storage()._cdata)


_WEIGHT_PLACES = {
    aten.mm: (0, 1),
    aten.bmm: (0, 1),
    aten.mv: (0, 1),
    aten.addmm: (1, 2),
    aten.baddbmm: (1, 2),
    aten.addmv: (1, 2),
}
"""Matrix products, and the positions of their two operands."""

_SHAPE_KEEPING = {
    aten.batch_norm,
    aten.layer_norm,
    aten.dropout,
    aten.gelu,
    aten.hardsigmoid,
    aten.hardsigmoid_,
    aten.hardswish,
    aten.hardswish_,
    aten.hardtanh,
    aten.hardtanh_,
    aten.relu,
    aten.relu_,
    aten.sigmoid,
    aten.sigmoid_,
    aten.silu,
    aten.silu_,
}
"""Operations whose result has the shape of their first argument."""

_COUNTED = {aten.convolution, aten.linear, *_WEIGHT_PLACES}
