"""Post-training static int8 quantisation of a delivered network by ONNX Runtime, as a file that it runs on the CPU.

The network is folded (:mod:`harness.delivery.folding`), exported to ONNX, and quantised in QDQ format. Weights have one
symmetric scale per output channel (zero point 0, so a pruned weight stays an exact zero). Activations are unsigned, with
one scale per tensor from the smallest and the largest value over a few training batches. Weights have 7 bits
(``reduce_range``): on processors without VNNI the int8 kernels add pairs of products in 16 bits, which products of 8
bits overflow in silence. Operations that ONNX Runtime does not quantise, such as HardSigmoid, stay in float between a
dequantisation and a quantisation. Needs the extra ``onnx``.

See Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", sections
2 and 3, and Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", section 3.1.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from accounting.ledger.outcomes import Int8Record
from accounting.words.task import CLASSIFICATION
from harness.data.base import Splits
from harness.delivery.folding import CannotQuantise, fix_constant_channels, fold_batch_norms, plain_layers
from harness.delivery.onnx_file import onnx_program, require_onnx
from harness.delivery.onnx_slim import slim, tensors
from harness.errors import typed_line
from harness.paths import replacing
from harness.training.loop import evaluate

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

ENGINE = "onnxruntime"
"""What runs the file; older versions wrote TorchScript files and named one of torch's engines."""

CALIBRATION_BATCHES = 4
CALIBRATION_BATCH_SIZE = 64
CALIBRATION_SEED = 0
NUM_CHECK_IMAGES = 8

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operations whose weights are stored as int8."""

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setting:
    """How activations are calibrated, and whether weights have 7 bits rather than 8."""

    calibration: str = "MinMax"
    percentile: float = 100.0
    reduce_range: bool = True

    @property
    def text(self) -> str:
        """In words."""
        percentile = f" {self.percentile:g}" if self.calibration == "Percentile" else ""
        return f"{self.calibration}{percentile}, weights of {7 if self.reduce_range else 8} bits"


DEFAULT = Setting()
"""The best of those compared on validation splits by ``benchmarks/int8_two_ways.py``."""

METHOD = (
    f"post-training static QDQ, weights per channel (symmetric), activations per tensor, {DEFAULT.text}, ONNX Runtime"
)


def int8_report(model: nn.Module, splits: Splits, path: Path, facts: Mapping[str, str] | None = None) -> Int8Record:
    """Quantise ``model`` (on the CPU, in eval mode; not changed), write it to ``path``, and evaluate the written file.

    ``val_top1`` and ``test_top1`` are fractions (0-1), ``size_bytes`` is the file's size, and ``engine`` names what
    runs it. ``facts`` become the file's ``metadata_props``. Evaluation is on the CPU, where the int8 kernels run, even if
    the study runs on CUDA. If the network does not allow int8, they are None, ``reason`` says why in one line, and there
    is no file.

    Raises:
        InputError: the extra ``onnx`` is not installed.

    """
    report: Int8Record = {"val_top1": None, "test_top1": None, "size_bytes": None, "method": METHOD, "engine": None}
    try:
        program = exported(model, calibration_batches(splits), splits.info.task.words.head)
        save_int8(quantise(program, calibration_batches(splits)), path, facts)
    except CannotQuantise as error:
        log.warning("no int8 network: %s", error)
        report["reason"] = str(error)
        return report
    network = Int8Network(path)
    report["engine"] = ENGINE
    report["val_top1"] = evaluate(network, splits.val, splits.info.task, _CPU)
    report["test_top1"] = evaluate(network, splits.test, splits.info.task, _CPU)
    report["size_bytes"] = path.stat().st_size
    return report


def calibration_batches(splits: Splits) -> list[Tensor]:
    """A few training batches (N, C, H, W) without augmentation, on the CPU.

    They are always the same; torch's random state is not changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(CALIBRATION_SEED)
        batches = splits.train.batches(CALIBRATION_BATCH_SIZE, _CPU, augment="none")
        return [images for images, _ in islice(batches, CALIBRATION_BATCHES)]


def exported(model: nn.Module, calibration: Sequence[Tensor], head: str = CLASSIFICATION.head) -> onnx.ModelProto:
    """The float network as ONNX, with batch norms folded and constant channels fixed; ``model`` is not changed.

    Raises:
        InputError: the extra ``onnx`` is not installed.
        CannotQuantise: the network cannot be traced or exported.

    """
    require_onnx("export.int8")
    folded = fold_batch_norms(plain_layers(copy.deepcopy(model).eval(), calibration[0][:1]))
    try:
        fix_constant_channels(folded, calibration)
    except Exception as error:  # a traced network may fail where the network itself does not
        raise CannotQuantise(f"the traced network does not run ({typed_line(error, 160)})") from error
    try:
        return onnx_program(folded, calibration[0][:NUM_CHECK_IMAGES], head)[0]
    except ValueError as error:
        raise CannotQuantise(str(error).removeprefix("export.onnx: ")) from error


def quantise(program: onnx.ModelProto, calibration: Sequence[Tensor], setting: Setting = DEFAULT) -> onnx.ModelProto:
    """The int8 version of a float network as ONNX.

    Raises:
        CannotQuantise: ONNX Runtime cannot quantise the network, or a zero weight would become non-zero.

    """
    with _quiet(), tempfile.TemporaryDirectory() as temporary:
        try:
            plain, quantised = _quantised(program, calibration, setting, Path(temporary))
        except Exception as error:  # the quantiser raises whatever its parts do; the float network is delivered anyway
            raise CannotQuantise(f"ONNX Runtime cannot quantise the network ({typed_line(error, 160)})") from error
    weights, floats = int8_weights(quantised), tensors(plain)
    if not weights:
        raise CannotQuantise("ONNX Runtime found no layer that it can quantise")
    broken = [name for name, weight in weights.items() if weight[floats[name] == 0].any()]
    if broken:
        raise CannotQuantise(f"pruned weights of {broken[0]} would not stay zero")
    return quantised


def int8_weights(quantised: onnx.ModelProto) -> dict[str, npt.NDArray[np.int8]]:
    """The 8-bit weights of convolutions and linear layers, by the name of the float tensor, in its shape."""
    stored = tensors(quantised)
    made = {node.output[0]: node for node in quantised.graph.node}
    found = {}
    for node in quantised.graph.node:
        source = made.get(node.input[1]) if node.op_type in LAYERS else None
        if source is not None and source.op_type == "DequantizeLinear" and source.input[0] in stored:
            found[source.input[0]] = stored[source.input[0]]
    return found


def save_int8(quantised: onnx.ModelProto, path: Path, facts: Mapping[str, str] | None = None) -> None:
    """Write a file for any batch size, completely or not at all; equal networks give equal files."""
    for key, value in (facts or {}).items():
        quantised.metadata_props.add(key=key, value=value)
    with replacing(path) as temporary:
        temporary.write_bytes(quantised.SerializeToString(deterministic=True))


class Int8Network(nn.Module):
    """A file that ONNX Runtime runs on the CPU, called like a torch network on float images (N, C, H, W)."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads or torch.get_num_threads(), 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def forward(self, images: Tensor) -> Tensor:
        """The outputs, one row an image."""
        (outputs,) = self._session.run(None, {"images": images.contiguous().numpy()})
        return torch.from_numpy(outputs)


class _Reader:
    """Calibration batches as ONNX Runtime reads them."""

    def __init__(self, batches: Sequence[Tensor]) -> None:
        self._left = iter(batches)

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        images = next(self._left, None)
        return None if images is None else {"images": images.contiguous().numpy()}

    def __iter__(self) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        return iter(self.get_next, None)


def _quantised(
    program: onnx.ModelProto, calibration: Sequence[Tensor], setting: Setting, folder: Path
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The network as the quantiser saw it, and its int8 version."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    given, prepared, made = (str(folder / f"{name}.onnx") for name in ("given", "prepared", "made"))
    onnx.save(program, given)
    quant_pre_process(given, prepared, skip_symbolic_shape=True)
    plain = onnx.load(prepared)
    options: dict[str, object] = {"TensorQuantOverrides": _empty_channels(plain, setting)}
    if setting.calibration == "Percentile":
        options["CalibPercentile"] = setting.percentile
    quantize_static(
        prepared, made, _Reader(calibration), quant_format=QuantFormat.QDQ, per_channel=True,
        reduce_range=setting.reduce_range, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[setting.calibration], extra_options=options,
    )  # fmt: skip
    return plain, slim(onnx.load(made), keep=tensors(plain))


def _empty_channels(plain: onnx.ModelProto, setting: Setting) -> dict[str, list[dict[str, object]]]:
    """Scales of weights some of whose output channels are all zero: these get the largest scale of any channel.

    ONNX Runtime would give them the scale 1, and round the channel's bias to whole steps of the layer's input.
    """
    stored, steps = tensors(plain), 64 if setting.reduce_range else 127
    found: dict[str, list[dict[str, object]]] = {}
    for node in plain.graph.node:
        by_rows = node.op_type == "Conv" or (node.op_type == "Gemm" and _is_transposed(node))
        weight = stored.get(node.input[1]) if by_rows else None
        if weight is None:
            continue
        largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
        if largest.any() and not largest.all():
            largest[largest == 0] = largest.max()
            found[node.input[1]] = [
                {"axis": 0, "scale": np.float32(value / steps), "zero_point": np.int8(0)} for value in largest
            ]
    return found


def _is_transposed(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i == 1 for attribute in node.attribute)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser, which warns through the root logger about its own choices."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
