"""Which weights of a network can be pruned, what each costs, and what part each layer plays.

The paper's convention (arXiv 2301.04502) is the default: all convolution and linear weights, 1x1, squeeze-excite and
head included. A :data:`LayerFilter` names layers to leave alone.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from timm.layers.std_conv import ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from torch import Tensor, nn

from accounting.macs import count_macs

_log = logging.getLogger(__name__)

_STANDARDISED = (StdConv2d, StdConv2dSame, ScaledStdConv2d, ScaledStdConv2dSame)
"""Convolutions that normalise their weight before use: a zero in the parameter is not a zero in the product."""


class Role(StrEnum):
    """What a layer does in its network."""

    STEM = "stem"
    EXPAND = "expand"
    DEPTHWISE = "depthwise"
    PROJECT = "project"
    SE = "se"
    HEAD = "head"
    CLASSIFIER = "classifier"
    OTHER = "other"


@dataclass(frozen=True, eq=False)
class Layer:
    """A weight tensor that costs MACs. Modules that share one parameter are one layer.

    Attributes:
        name: of the (first) module, as in ``model.named_modules()``.
        param_name: of the weight, as in ``model.named_parameters()``.
        kind: class name of the module, such as ``Conv2d``.
        role: see :class:`Role`.
        weight: the parameter itself; ``None`` where a zero in it would not be a zero in the computation (weights that
            are normalised or otherwise computed from parameters): such a layer is always left alone.
        macs_per_weight: MACs of one image that each weight costs: positions it is applied at, over all its uses.
        num_weights: how many there are.
        num_nonzero: how many of them are not zero.

    """

    name: str
    param_name: str
    kind: str
    role: Role
    weight: Tensor | None
    macs_per_weight: int
    num_weights: int
    num_nonzero: int


LayerFilter = Callable[[Layer], bool]
"""True for a layer to leave alone."""


def find_layers(model: nn.Module, input_size: tuple[int, int, int]) -> list[Layer]:
    """All layers that cost MACs, in the order of their first use, for images of ``(channels, height, width)``."""
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters())
    report = count_macs(model, input_size).layers
    classifier = _classifier_names(model, report[-1].name if report else "")
    layers: dict[str, Layer] = {}
    computed: list[str] = []
    for counted in report:
        module = modules.get(counted.name) or modules.get(counted.name.rpartition(".")[0], model)
        param_name = counted.name if counted.name in parameters else f"{counted.name}.weight"
        weight = parameters.get(param_name)
        if weight is None or weight.numel() != counted.num_weights or isinstance(module, _STANDARDISED):
            computed.append(f"{counted.name} ({type(module).__name__})")
            weight = None
        layer = Layer(
            name=counted.name,
            param_name=param_name,
            kind=type(module).__name__,
            role=role_of(counted.name, module, not layers, classifier),
            weight=weight,
            macs_per_weight=counted.positions,
            num_weights=counted.num_weights,
            num_nonzero=counted.num_nonzero,
        )
        if param_name in layers:  # one weight used as two kinds of layer
            first = layers[param_name]
            layer = dataclasses.replace(first, macs_per_weight=first.macs_per_weight + layer.macs_per_weight)
        layers[param_name] = layer
    if computed:
        more = f" and {len(computed) - 3} more" if len(computed) > 3 else ""
        _log.warning("left alone, since they compute the weights they use: %s%s", ", ".join(computed[:3]), more)
    return list(layers.values())


def role_of(name: str, module: nn.Module, is_first: bool, classifier_names: tuple[str, ...]) -> Role:
    """The role of a layer, from its name where timm's names tell, else from its shape."""
    parts = name.split(".")
    last = parts[-1]
    if name in classifier_names:
        return Role.CLASSIFIER
    if is_first or any("stem" in part for part in parts):
        return Role.STEM
    if any(part in {"se", "se_module"} for part in parts[:-1]):
        return Role.SE
    if last == "conv_head" or (parts[0] == "blocks" and last == "conv"):
        # A MobileNetV3-like body ends in a plain 1x1 convolution (timm's ConvBnAct), which feeds the head.
        return Role.HEAD
    if isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels:
        return Role.DEPTHWISE
    if last in {"conv_pwl", "fc2"}:
        return Role.PROJECT
    if last in {"fc1", "conv_exp"}:
        return Role.EXPAND
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and not {"downsample", "attn"} & set(parts):
        if module.out_channels > module.in_channels:
            return Role.EXPAND
        if module.out_channels < module.in_channels or last == "conv_pw":
            return Role.PROJECT
    return Role.OTHER


def output_layers(layers: Sequence[Layer]) -> list[str]:
    """Names of the layers whose outputs are the network's: the classifiers timm names, else the last layer."""
    return [layer.name for layer in layers if layer.role is Role.CLASSIFIER] or [layers[-1].name]


def by_name(*patterns: str) -> LayerFilter:
    """Layers whose name matches a shell-like pattern, such as ``blocks.0.*``."""
    return lambda layer: any(fnmatch.fnmatchcase(layer.name, pattern) for pattern in patterns)


def by_kind(*kinds: str) -> LayerFilter:
    """Layers of a module class, by its name, such as ``Linear``."""
    return lambda layer: layer.kind in kinds


def by_role(*roles: str) -> LayerFilter:
    """Layers of a role.

    Raises:
        ValueError: not a role; the message lists the allowed ones.

    """
    for role in roles:
        if role not in list(Role):
            raise ValueError(f"unknown role {role!r}; allowed: {', '.join(Role)}")
    return lambda layer: layer.role in roles


def any_of(filters: Iterable[LayerFilter]) -> LayerFilter:
    """Layers that any of the filters names."""
    filters = tuple(filters)
    return lambda layer: any(matches(layer) for matches in filters)


def parse_filter(terms: Iterable[str]) -> LayerFilter:
    """Read a filter as configs write it: ``role:depthwise``, ``type:Linear``, ``name:blocks.0.*``.

    Raises:
        ValueError: a term that is none of these, or an unknown role.

    """
    makers = {"role": by_role, "type": by_kind, "name": by_name}
    filters = []
    for term in terms:
        key, _, value = term.partition(":")
        if key not in makers or not value:
            raise ValueError(f"cannot read layer filter {term!r}; allowed: role:ROLE, type:CLASS, name:PATTERN")
        filters.append(makers[key](value))
    return any_of(filters)


def _classifier_names(model: nn.Module, last: str) -> tuple[str, ...]:
    """What timm's configuration says; without one, the ``last`` layer, where it is called as timm's networks call it."""
    config = getattr(model, "pretrained_cfg", None) or {}
    names = config.get("classifier") or (last if last in ("classifier", "fc", "head.fc", "head") else ())
    return (names,) if isinstance(names, str) else tuple(names)
