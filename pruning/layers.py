"""Which weights of a network can be pruned, what each costs, and the role of each layer.

By default, as in the paper (arXiv 2301.04502), these are all convolution and linear weights, including 1x1,
squeeze-excite and head. A :data:`LayerFilter` names layers to leave alone.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from timm.layers.cond_conv2d import CondConv2d
from torch import Tensor, nn

from accounting.macs.count import LayerMacs, count_macs

_log = logging.getLogger(__name__)


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
        name: name of the (first) module, as in ``model.named_modules()``.
        param_name: name of the weight, as in ``model.named_parameters()``.
        kind: class name of the module, such as ``Conv2d``.
        role: see :class:`Role`.
        weight: the parameter itself; ``None`` if a zero in it would not be a zero in the computation (weights that
            are normalised or otherwise computed from parameters). Such a layer is always left alone.
        macs_per_weight: MACs that each weight costs per image: the positions at which it is applied, over all its uses.
        num_weights: number of weights.
        num_nonzero: number of weights that are not zero.
        num_tied: number of rows of the parameter that are kept or dropped together and count as one row of weights.
            These are the experts that a CondConv layer mixes: its convolution has a zero only where all experts have
            one.

    """

    name: str
    param_name: str
    kind: str
    role: Role
    weight: Tensor | None
    macs_per_weight: int
    num_weights: int
    num_nonzero: int
    num_tied: int = 1

    @property
    def own_weight(self) -> Tensor:
        """The weight; raises ``ValueError`` if the layer has none of its own."""
        if self.weight is None:
            raise ValueError(f"layer {self.name} has no weights to prune")
        return self.weight

    def mask(self, flat: Tensor) -> Tensor:
        """A flat mask of the layer's weights, reshaped to the parameter's shape."""
        whole = flat if self.num_tied == 1 else flat.expand(self.num_tied, -1).contiguous()
        return whole.view(self.own_weight.shape)


LayerFilter = Callable[[Layer], bool]
"""True for a layer to leave alone."""


def find_layers(model: nn.Module, input_size: tuple[int, int, int]) -> list[Layer]:
    """All layers that cost MACs, in the order of their first use, for images of ``(channels, height, width)``.

    A parameter is left alone in all its uses if any call uses only a part of it or computes its weight from it, because
    what a zero in it saves cannot be counted. A parameter that two kinds of calls use whole is one layer, each weight
    of which costs the sum of both.
    """
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters())
    report = count_macs(model, input_size).layers
    classifier = _classifier_names(model, report[-1].name if report else "")
    entangled = {name for counted in report if not counted.is_parameter for name in counted.parameters}
    mixed = _mixed(report, modules)
    layers: dict[str, Layer] = {}
    computed: dict[str, str] = {}
    for counted in report:
        owner = counted.name.partition("[")[0]
        module = modules.get(owner) or modules.get(owner.rpartition(".")[0], model)
        param_name = owner if owner in parameters else f"{owner}.weight"
        if owner in mixed:
            layers[param_name] = mixed[owner]
            continue
        weight = parameters.get(param_name) if counted.is_parameter and param_name not in entangled else None
        key, name = param_name, counted.name
        if weight is None:
            computed.setdefault(owner, type(module).__name__)
            key = name = name if name not in layers else f"{name} ({counted.kind})"
        layer = Layer(
            name=name,
            param_name=param_name,
            kind=type(module).__name__,
            role=role_of(owner, module, not layers, classifier),
            weight=weight,
            macs_per_weight=counted.positions,
            num_weights=counted.num_weights,
            num_nonzero=counted.num_nonzero,
        )
        if key in layers:  # one weight used as two kinds of layer
            first = layers[key]
            layer = dataclasses.replace(first, macs_per_weight=first.macs_per_weight + layer.macs_per_weight)
        layers[key] = layer
    if computed:
        named = [f"{name} ({kind})" for name, kind in computed.items()]
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        _log.warning("left alone, since they compute the weights they use: %s%s", ", ".join(named[:3]), more)
    return list(layers.values())


def _mixed(report: Sequence[LayerMacs], modules: Mapping[str, nn.Module]) -> dict[str, Layer]:
    """CondConv layers (Yang et al. 2019, arXiv 1904.04971), whose weight is a mixture of experts made for each image.

    Each weight costs its positions in the convolution, plus one MAC per expert for the mixing. A layer whose experts
    have zeros at different places is not returned, and is left alone.
    """
    uses: dict[str, list[LayerMacs]] = {}
    for counted in report:
        owner = counted.name.partition("[")[0]
        if isinstance(modules.get(owner), CondConv2d):
            uses.setdefault(owner, []).append(counted)
    found = {}
    for owner, of_one in uses.items():
        experts = modules[owner].weight
        assert isinstance(experts, Tensor)
        mixing = [use for use in of_one if use.kind == "linear" and use.is_parameter and use.positions == 1]
        convolving = [use for use in of_one if use.kind == "conv" and use.num_weights == experts.shape[1]]
        num_used = int((experts != 0).any(0).sum())
        is_simple = len(of_one) == 2 and len(mixing) == 1 and len(convolving) == 1
        if is_simple and mixing[0].num_nonzero == num_used * len(experts) and convolving[0].num_nonzero == num_used:
            found[owner] = Layer(
                name=owner,
                param_name=f"{owner}.weight",
                kind=type(modules[owner]).__name__,
                role=role_of(owner, modules[owner], False, ()),
                weight=experts,
                macs_per_weight=convolving[0].positions + len(experts),
                num_weights=experts.shape[1],
                num_nonzero=num_used,
                num_tied=len(experts),
            )
    return found


def role_of(name: str, module: nn.Module, is_first: bool, classifier_names: tuple[str, ...]) -> Role:
    """The role of a layer: from its name if it is a name of timm's that tells, else from its shape."""
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
    """Names of the layers that make the network's outputs: the classifiers that timm names, or else the last layer."""
    return [layer.name for layer in layers if layer.role is Role.CLASSIFIER] or [layers[-1].name]


def left_alone(layers: Sequence[Layer], keep: LayerFilter | None) -> list[str]:
    """Names of the layers whose output channels stay: those of the outputs, and those that match ``keep``."""
    return output_layers(layers) + [layer.name for layer in layers if keep is not None and keep(layer)]


def by_name(*patterns: str) -> LayerFilter:
    """A filter for layers whose name matches any of these shell-like patterns, such as ``blocks.0.*``."""
    return lambda layer: any(fnmatch.fnmatchcase(layer.name, pattern) for pattern in patterns)


def by_kind(*kinds: str) -> LayerFilter:
    """A filter for layers of these module classes, given by name, such as ``Linear``."""
    return lambda layer: layer.kind in kinds


def by_role(*roles: str) -> LayerFilter:
    """A filter for layers of these roles.

    Raises:
        ValueError: unknown role; the message lists the allowed ones.

    """
    for role in roles:
        if role not in list(Role):
            raise ValueError(f"unknown role {role!r}; allowed: {', '.join(Role)}")
    return lambda layer: layer.role in roles


def any_of(filters: Iterable[LayerFilter]) -> LayerFilter:
    """A filter for layers that match any of the filters."""
    filters = tuple(filters)
    return lambda layer: any(matches(layer) for matches in filters)


def parse_filter(terms: Iterable[str]) -> LayerFilter:
    """Parse a filter as written in configs: ``role:depthwise``, ``type:Linear``, ``name:blocks.0.*``.

    Raises:
        ValueError: a term has another form, or names an unknown role.

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
    """Classifier names from timm's configuration; without one, the ``last`` layer if its name is one that timm uses."""
    config = getattr(model, "pretrained_cfg", None) or {}
    names = config.get("classifier") or (last if last in ("classifier", "fc", "head.fc", "head") else ())
    return (names,) if isinstance(names, str) else tuple(names)
