"""A network made ready for int8: batch norms folded, layers that quantisers know, channels without a signal fixed.

See Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", sections
2 and 3, and Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import BatchNormAct2d, Conv2dSame, Linear, get_notrace_functions, get_notrace_modules
from timm.layers.padding import get_same_padding
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from harness.errors import typed_line


class CannotQuantise(RuntimeError):
    """The network, machine or version of torch does not allow int8; the message says in one line which and why."""


def fold_batch_norms(model: nn.Module) -> fx.GraphModule:
    """The network in eval mode as a graph, with each batch norm that follows a convolution folded into its weights.

    The convolutions keep their names, and a timm ``BatchNormAct2d`` keeps its activation. Zero weights stay zero.

    Raises:
        CannotQuantise: the forward pass cannot be traced symbolically.

    """
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # tracing runs the network's own code with proxies, which may fail in any way
        raise CannotQuantise(f"torch.fx cannot trace the network ({typed_line(error, 160)})") from error
    module = fx.GraphModule(model, graph)
    modules = dict(module.named_modules())
    targets = [node.target for node in graph.nodes if node.op == "call_module"]
    for node in list(graph.nodes):
        if node.op == "call_module" and node.kwargs and type(modules.get(node.target)) is nn.Identity:
            node.replace_all_uses_with(node.args[0])  # a block that was removed, called with what it would have taken
            graph.erase_node(node)
            continue
        norm = modules.get(node.target) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        if type(norm) not in (nn.BatchNorm2d, BatchNormAct2d):
            continue
        before = node.args[0]
        conv = modules.get(before.target) if before.op == "call_module" else None
        once = len(before.users) == 1 and targets.count(before.target) == targets.count(node.target) == 1
        if isinstance(conv, nn.Conv2d) and once:
            _replace(module, before.target, fuse_conv_bn_eval(conv, norm))
            after = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
            _replace(module, node.target, after)
    module.recompile()
    return module


@torch.inference_mode()
def fix_constant_channels(folded: nn.Module, calibration: Sequence[Tensor], steps: int = 255) -> dict[str, int]:
    """Make channels constant whose variation int8 cannot resolve, in place; returns their number by convolution.

    If pruning has removed most inputs of a channel, batch norm has scaled what variation is left (at borders, for
    example) to unit variance. It scales a step of the 8-bit input by as much, and that step is then larger than the
    signal. A channel is replaced if half a step, passed through its weights, exceeds its standard deviation: it keeps
    its mean as a bias, and its weights become 0. Activations have ``steps`` steps and one scale per tensor.
    """
    convs = {name: module for name, module in folded.named_modules() if isinstance(module, nn.Conv2d)}
    lows, highs = dict.fromkeys(convs, 0.0), dict.fromkeys(convs, 0.0)
    outputs: dict[str, list[Tensor]] = {name: [] for name in convs}

    def note(name: str, images: Tensor, output: Tensor) -> None:
        lows[name], highs[name] = min(lows[name], float(images.min())), max(highs[name], float(images.max()))
        outputs[name].append(output.transpose(0, 1).flatten(1).double())

    hooks = [
        conv.register_forward_hook(lambda _, inputs, output, name=name: note(name, inputs[0], output))
        for name, conv in convs.items()
    ]
    for images in calibration:
        folded(images)
    for hook in hooks:
        hook.remove()
    fixed: dict[str, int] = {}
    for name, conv in convs.items():
        if conv.bias is None or not outputs[name]:
            continue
        values = torch.cat(outputs[name], 1)
        step = (highs[name] - lows[name]) / steps
        drowned = step / 2 * conv.weight.flatten(1).abs().sum(1) > values.std(1)
        if drowned.any():
            conv.weight[drowned] = 0
            conv.bias[drowned] = values.mean(1)[drowned].to(conv.bias.dtype)
            fixed[name] = int(drowned.sum())
    return fixed


class _Tracer(fx.Tracer):
    """Traces into timm's code; modules that are folded later, or that timm marks as not traceable, stay whole."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self._whole = (BatchNormAct2d, *get_notrace_modules())

    def is_leaf_module(self, module: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(module, self._whole) or super().is_leaf_module(module, module_qualified_name)


class _Flatten(nn.Flatten):
    def forward(self, images: Tensor) -> Tensor:
        return torch.flatten(images, self.start_dim, self.end_dim)


def plain_layers(model: nn.Module, image: Tensor) -> nn.Module:
    """Replace layers that quantisers or exporters do not know by equivalent ones that they know, in place.

    timm's ``Linear`` becomes torch's, from which it differs only under autocast. TensorFlow's padding, which timm
    computes from each input's size, becomes fixed at its value for this image. ``Flatten`` becomes the function, which
    needs no floats.
    """
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = nn.Linear  # type: ignore[assignment]  # its base, with the same state
        elif type(module) is nn.Flatten:
            module.__class__ = _Flatten
    sizes: dict[str, tuple[int, ...]] = {}
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Conv2dSame)}
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: sizes.update({name: tuple(inputs[0].shape[-2:])}))
        for name, layer in layers.items()
    ]
    with torch.inference_mode():
        model(image)
    for hook in hooks:
        hook.remove()
    for name, layer in layers.items():
        steps = zip(sizes.get(name, ()), layer.kernel_size, layer.stride, layer.dilation, strict=False)
        both = [get_same_padding(size, kernel, stride, dilation) for size, kernel, stride, dilation in steps]
        if both:
            (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in both)
            plain = nn.utils.skip_init(
                nn.Conv2d, layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride,
                0, layer.dilation, layer.groups, layer.bias is not None,
            )  # fmt: skip
            plain.weight, plain.bias = layer.weight, layer.bias
            _replace(model, name, nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), plain).eval())
    return model


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
