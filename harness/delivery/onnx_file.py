"""Exports a network to one ONNX file for any batch size, checked against torch with ONNX Runtime (extra ``onnx``)."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from accounting.words.extras import install_extra
from accounting.words.task import CLASSIFICATION
from harness.errors import InputError, one_line
from harness.paths import replacing

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-3
"""Allowed difference between ONNX Runtime's and torch's outputs, as a share of torch's largest (but at least of 1)."""

_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def require_onnx(key: str = "export.onnx") -> None:
    """Check that the packages of the extra ``onnx`` are installed; otherwise ``InputError`` names ``key`` and the extra."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise InputError(f"{key}: the package {name} is not installed; {install_extra('onnx')}") from None


def export_onnx(
    model: nn.Module,
    images: Tensor,
    path: Path,
    facts: Mapping[str, str] | None = None,
    head: str = CLASSIFICATION.head,
) -> float:
    """Write ``model`` to ``path``, completely or not at all, and return its largest absolute difference from torch.

    ``model`` is on the CPU in eval mode; outputs are compared on the batch ``images`` (N, C, H, W; N ≥ 1). The file has
    one input, ``images``, and one output, named by ``head``. N is free in both; C, H and W are fixed. ``facts`` become
    the file's ``metadata_props``.

    Raises:
        InputError: the extra ``onnx`` is not installed.
        ValueError: torch cannot export the network, or the outputs differ by more than ``TOLERANCE``.

    """
    proto, error = onnx_program(model, images, head)
    for key, value in (facts or {}).items():
        proto.metadata_props.add(key=key, value=value)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
    return error


def onnx_program(model: nn.Module, images: Tensor, head: str) -> tuple[onnx.ModelProto, float]:
    """``model`` as ONNX, and its largest absolute difference from torch; arguments and errors as in :func:`export_onnx`."""
    require_onnx()
    proto = _export(model, images.shape[1:], head)
    return proto, _max_abs_error(model, images, proto)


def _export(model: nn.Module, image_shape: torch.Size, head: str) -> onnx.ModelProto:
    example = torch.zeros(2, *image_shape)  # a batch size of one would be taken as a constant
    with _quiet():
        try:
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=["images"],
                output_names=[head],
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # the exporter raises a dozen kinds, one for each of its steps
            raise ValueError(f"export.onnx: torch cannot export the network: {one_line(error, 200)}") from error
    if program is None:
        raise ValueError("export.onnx: torch gave no program for the network")
    return _without_sources(program.model_proto)


def _max_abs_error(model: nn.Module, images: Tensor, proto: onnx.ModelProto) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        expected = model(images)
    error, allowed = (
        float((torch.from_numpy(logits) - expected).abs().max()),
        TOLERANCE * max(1.0, float(expected.abs().max())),
    )
    if not error <= allowed:
        raise ValueError(
            f"export.onnx: ONNX Runtime's outputs differ from torch's by {error:.3g}; allowed: {allowed:.3g}"
        )
    return error


def _without_sources(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Remove what the exporter records for debugging: torch's graph and source files of this machine."""
    graphs: list[Any] = [proto.graph, *proto.functions]
    for graph in graphs:
        for part in (graph, *graph.node, *graph.value_info):
            del part.metadata_props[:]
    for part in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del part.metadata_props[:]
    return proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings, which are about its own actions."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
