"""Post-training static int8 quantisation of a delivered network, for int8 kernels of the CPU.

Weights have 8 bits and one symmetric scale per output channel (zero point 0, so a pruned weight stays an exact zero).
Activations are unsigned, with one scale per tensor from histograms over a few training batches. Batch norms are folded
into the convolutions before them. Operations without an int8 kernel, such as SiLU, stay in float between a
dequantisation and a quantisation.

FX graph mode of ``torch.ao.quantization`` is deprecated. But among the alternatives (torch 2.11 to 2.15) only it needs
no other package, runs int8 kernels directly, and gives a file with 8-bit weights that torch alone can load. With a
torch that lacks it, the report has the reason.

See Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", sections
2 and 3, and Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", section 3.1.
"""

from __future__ import annotations

import copy
import io
import logging
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch
from timm.layers import BatchNormAct2d, Conv2dSame, Linear, get_notrace_functions, get_notrace_modules
from timm.layers.padding import get_same_padding
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from accounting.ledger.outcomes import Int8Record
from harness.data.base import Splits
from harness.errors import typed_line
from harness.paths import replacing
from harness.training.loop import evaluate

log = logging.getLogger(__name__)

METHOD = "post-training static, weights per channel (symmetric), activations per tensor, torch.ao FX graph mode"

CALIBRATION_BATCHES = 4
CALIBRATION_BATCH_SIZE = 64
CALIBRATION_SEED = 0

_ENGINES = ("x86", "fbgemm", "onednn")
"""Kernels with a scale per channel, in order of preference."""

_CPU = torch.device("cpu")


class CannotQuantise(RuntimeError):
    """The network, machine or version of torch does not allow int8; the message says in one line which and why."""


def int8_report(model: nn.Module, splits: Splits, path: Path) -> Int8Record:
    """Quantise ``model`` (on the CPU, in eval mode; not changed), write it to ``path``, and evaluate the written file.

    ``val_top1`` and ``test_top1`` are fractions (0-1), ``size_bytes`` is the file's size, and ``engine`` names the
    kernels. Evaluation is on the CPU, where the int8 kernels run, even if the study runs on CUDA. If the network or the
    machine does not allow int8, they are None, ``reason`` says why in one line, and there is no file.
    """
    report: Int8Record = {"val_top1": None, "test_top1": None, "size_bytes": None, "method": METHOD, "engine": None}
    try:
        quantised = quantise(model, calibration_batches(splits))
        save_int8(quantised, splits.info.image_shape, path)
        report["engine"] = engine = choose_engine()
        loaded = load_int8(path, engine)
        with _engine(engine):
            report["val_top1"] = evaluate(loaded, splits.val, splits.info.task, _CPU)
            report["test_top1"] = evaluate(loaded, splits.test, splits.info.task, _CPU)
        report["size_bytes"] = path.stat().st_size
    except CannotQuantise as error:
        log.warning("no int8 network: %s", error)
        report["reason"] = str(error)
    return report


def calibration_batches(splits: Splits) -> list[Tensor]:
    """A few training batches (N, C, H, W) without augmentation, on the CPU.

    They are always the same; torch's random state is not changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(CALIBRATION_SEED)
        batches = splits.train.batches(CALIBRATION_BATCH_SIZE, _CPU, augment="none")
        return [images for images, _ in islice(batches, CALIBRATION_BATCHES)]


def choose_engine() -> str:
    """The int8 kernels to use; ``CannotQuantise`` if this torch has none with a scale per channel."""
    supported = torch.backends.quantized.supported_engines
    for name in _ENGINES:
        if name in supported:
            return name
    raise CannotQuantise(
        f"this torch has none of the int8 kernels {', '.join(_ENGINES)}; it has {', '.join(supported)}"
    )


def quantise(model: nn.Module, calibration: Sequence[Tensor]) -> fx.GraphModule:
    """The int8 version of a float network on the CPU, which is not changed.

    Raises:
        CannotQuantise: torch cannot trace or quantise the network, or a zero weight would become non-zero.

    """
    engine = choose_engine()
    folded = fold_batch_norms(_plain_layers(copy.deepcopy(model).eval(), calibration[0][:1]))
    fix_constant_channels(folded, calibration)
    try:
        quantised = _converted(folded, calibration, engine)
    except (
        Exception
    ) as error:  # the converters raise whatever their parts do; the float network is delivered all the same
        raise CannotQuantise(f"torch.ao cannot quantise the network ({typed_line(error, 160)})") from error
    weights = int8_weights(quantised)
    if not weights:
        raise CannotQuantise("torch.ao found no layer that it can quantise")
    floats = dict(folded.named_modules())
    broken = [name for name, weight in weights.items() if weight[floats[name].weight == 0].any()]
    if broken:
        raise CannotQuantise(f"pruned weights of {broken[0]} would not stay zero")
    return quantised


def int8_weights(quantised: nn.Module) -> dict[str, Tensor]:
    """The 8-bit weights by layer name, each in the shape of its float weight; layers left in float are not included."""
    with _engine(choose_engine()):
        return {
            name: module.weight().int_repr()
            for name, module in quantised.named_modules()
            if callable(getattr(module, "weight", None)) and module.weight().is_quantized
        }


def save_int8(quantised: fx.GraphModule, image_shape: tuple[int, ...], path: Path) -> None:
    """Write a TorchScript file for any batch size, completely or not at all.

    :func:`load_int8` or ``torch.jit.load`` reads it. Debug records, which name source files of this machine, and
    numbers that count the networks scripted by this process are left out, so that equal networks give equal files.

    Raises:
        CannotQuantise: torch cannot trace the network, or the traced one gives other outputs for another batch size.

    """
    example, other = torch.zeros(2, *image_shape), torch.ones(3, *image_shape)
    with _engine(choose_engine()), _quiet(), torch.inference_mode():
        try:
            scripted = torch.jit.freeze(torch.jit.trace(quantised, example).eval(), optimize_numerics=False)
            same = torch.equal(scripted(other), quantised(other))
        except Exception as error:  # as above
            raise CannotQuantise(f"torch.jit cannot trace the int8 network ({typed_line(error, 160)})") from error
        if not same:
            raise CannotQuantise("the traced int8 network gives other outputs for another batch size")
        buffer = io.BytesIO()
        torch.jit.save(scripted, buffer)
    with replacing(path) as temporary, zipfile.ZipFile(buffer) as source, zipfile.ZipFile(temporary, "w") as target:
        for entry in source.infolist():
            if not entry.filename.endswith((".debug_pkl", "/serialization_id")):
                name = re.sub(r"/___torch_mangle_\d+", "", entry.filename)
                content = source.read(entry)
                if name.endswith((".py", ".pkl")):
                    content = re.sub(rb"\.___torch_mangle_\d+", b"", content)
                target.writestr(zipfile.ZipInfo(name), content, entry.compress_type)


def load_int8(path: Path, engine: str) -> torch.jit.ScriptModule:
    """Load a file written by :func:`save_int8`."""
    with _engine(engine), _quiet():
        loaded: torch.jit.ScriptModule = torch.jit.load(path)
    return loaded


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
def fix_constant_channels(folded: nn.Module, calibration: Sequence[Tensor]) -> dict[str, int]:
    """Make channels constant whose variation int8 cannot resolve, in place; returns their number by convolution.

    If pruning has removed most inputs of a channel, batch norm has scaled what variation is left (at borders, for
    example) to unit variance. It scales a step of the 8-bit input by as much, and that step is then larger than the
    signal. A channel is replaced if half a step, passed through its weights, exceeds its standard deviation: it keeps
    its mean as a bias, and its weights become 0. Activations have 7 bits (torch.ao's ``reduce_range``) and one scale
    per tensor.
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
        step = (highs[name] - lows[name]) / 127
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


def _plain_layers(model: nn.Module, image: Tensor) -> nn.Module:
    """Replace layers that torch.ao does not support by equivalent ones that it supports, in place.

    timm's ``Linear`` becomes torch's, from which it differs only under autocast. TensorFlow's padding, which timm
    computes from each input's size, becomes fixed at its value for this image. ``Flatten`` becomes the function, which
    torch.ao knows to need no floats.
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


def _converted(folded: fx.GraphModule, calibration: Sequence[Tensor], engine: str) -> fx.GraphModule:
    # Later versions of torch may not have these.
    from torch.ao.quantization import PerChannelMinMaxObserver, QConfig, get_default_qconfig_mapping
    from torch.ao.quantization.fx.custom_config import PrepareCustomConfig
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    class Observer(PerChannelMinMaxObserver):
        """Gives output channels whose weights are all zero the largest scale of any channel.

        Their own scale would be the smallest possible, and the bias in steps of it would not fit into 32 bits.
        """

        def calculate_qparams(self) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # as the class above
            scales, zero_points = super().calculate_qparams()
            is_empty = (self.min_val == 0) & (self.max_val == 0)
            return torch.where(is_empty, scales.max(), scales), zero_points

    mapping = get_default_qconfig_mapping(engine)
    if mapping.global_qconfig is None:
        raise CannotQuantise(f"torch.ao has no settings for {engine}")
    weight = Observer.with_args(dtype=torch.qint8, qscheme=torch.per_channel_symmetric)
    mapping.set_global(QConfig(activation=mapping.global_qconfig.activation, weight=weight))
    whole = PrepareCustomConfig().set_non_traceable_module_classes(list(get_notrace_modules()))
    with _engine(engine), _quiet(), torch.no_grad():
        prepared = prepare_fx(folded, mapping, (calibration[0],), whole)
        for images in calibration:
            prepared(images)
        converted: fx.GraphModule = convert_fx(prepared)
    return converted.eval()


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)


@contextmanager
def _engine(name: str) -> Iterator[None]:
    """Select int8 kernels while the block runs: a setting of the process, both for packing weights and running them."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings: known deprecations (see the module's docstring) would be printed for every network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
