"""A quantised ONNX file made as small as its weights allow: short names, equal tensors once, no records of inner shapes."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

_QUANTISED = "_quantized"
"""What ONNX Runtime appends to the name of a tensor that it has quantised."""


def tensors(program: onnx.ModelProto) -> dict[str, npt.NDArray[Any]]:
    """The stored tensors of a network, by name."""
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in program.graph.initializer}


def slim(quantised: onnx.ModelProto, keep: Container[str]) -> onnx.ModelProto:
    """The same network in place, whose quantised tensors have the float tensors' names in ``keep``, others short ones.

    In a network of 100 thousand weights, the names that a quantiser makes take as many bytes as half of the weights.
    """
    graph = quantised.graph
    del graph.value_info[:]
    first = _share_equal(quantised)
    ends = {part.name for part in (*graph.input, *graph.output)}
    short: dict[str, str] = {"": ""}

    def renamed(name: str) -> str:
        name = first.get(name, name)
        plain = name.removesuffix(_QUANTISED)
        if name in ends:
            return name
        if plain != name and plain in keep:
            return plain
        return short.setdefault(name, f"{len(short):x}")

    for node in graph.node:
        node.name = node.doc_string = ""
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
    return quantised


def _share_equal(quantised: onnx.ModelProto) -> dict[str, str]:
    """Leave one of several equal scales or zero points; returns the name of the one left for each that is gone."""
    from onnx import numpy_helper

    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    gone, left = {}, []
    for tensor in quantised.graph.initializer:
        plain = numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)
        key = (plain.data_type, tuple(plain.dims), plain.raw_data)
        if key in first and not plain.name.endswith(_QUANTISED):
            gone[plain.name] = first[key]
        else:
            first.setdefault(key, plain.name)
            left.append(plain)
    del quantised.graph.initializer[:]
    quantised.graph.initializer.extend(left)
    return gone
