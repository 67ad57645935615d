"""Int8 by FX graph mode of ``torch.ao.quantization``, as studies delivered it before ONNX Runtime; for comparison only.

Weights have 8 bits and one symmetric scale per output channel. Activations are unsigned, with 7 bits and one scale per
tensor from histograms over the calibration images. The file is TorchScript.
"""

from __future__ import annotations

import copy
import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from timm.layers import get_notrace_modules
from torch import Tensor, fx, nn

from harness.delivery.folding import CannotQuantise, fix_constant_channels, fold_batch_norms, plain_layers
from harness.errors import typed_line
from harness.paths import replacing

_ENGINES = ("x86", "fbgemm", "onednn")
"""Kernels with a scale per channel, in order of preference."""


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
    folded = fold_batch_norms(plain_layers(copy.deepcopy(model).eval(), calibration[0][:1]))
    fix_constant_channels(folded, calibration, steps=127)
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
    with using(choose_engine()):
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
    with using(choose_engine()), _quiet(), torch.inference_mode():
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
    with using(engine), _quiet():
        loaded: torch.jit.ScriptModule = torch.jit.load(path)
    return loaded


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
    with using(engine), _quiet(), torch.no_grad():
        prepared = prepare_fx(folded, mapping, (calibration[0],), whole)
        for images in calibration:
            prepared(images)
        converted: fx.GraphModule = convert_fx(prepared)
    return converted.eval()


@contextmanager
def using(name: str) -> Iterator[None]:
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
