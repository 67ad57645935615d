"""A compact file for a sparse network: one bit per weight that says whether it is non-zero, and the non-zero values.

A plain safetensors file of the same state dict stores every zero. Here a tensor is stored as two tensors if that is
smaller: ``NAME``, its non-zero values in order, and ``NAME.nonzero``, one bit per element (first element in the highest
bit). Its shape is in the metadata. Everything else is stored unchanged. Values are restored bit for bit, except that
-0.0 becomes +0.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

_SUFFIX = ".nonzero"
_SHAPES = "sparse_shapes"


def save_sparse(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a state dict compactly.

    Raises:
        ValueError: a tensor's name has the ending that is reserved for the bits.

    """
    tensors: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in state.items():
        if name.endswith(_SUFFIX):
            raise ValueError(f"a tensor cannot be called {name!r}: the ending {_SUFFIX!r} is taken")
        flat = tensor.detach().cpu().contiguous().flatten()
        nonzero = flat != 0
        bits = torch.from_numpy(np.packbits(nonzero.numpy()))
        num_bytes_saved = int((~nonzero).sum()) * flat.element_size()
        if num_bytes_saved > len(bits):
            tensors[name], tensors[name + _SUFFIX] = flat[nonzero], bits
            shapes[name] = list(tensor.shape)
        else:
            tensors[name] = flat.view(tensor.shape).clone()  # shared tensors are stored twice
    save_file(tensors, path, {**(metadata or {}), _SHAPES: json.dumps(shapes)})


def load_sparse(path: Path) -> dict[str, Tensor]:
    """Read a state dict that :func:`save_sparse` wrote, with all zeros in place.

    Raises:
        ValueError: the file was not written by :func:`save_sparse`.

    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if _SHAPES not in metadata:
            raise ValueError(f"{path} is not a sparse file: its metadata has no {_SHAPES!r}")
        shapes: dict[str, list[int]] = json.loads(metadata[_SHAPES])
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    state = {}
    for name, tensor in stored.items():
        if name in shapes:
            whole = torch.zeros(int(np.prod(shapes[name])), dtype=tensor.dtype)
            bits = np.unpackbits(stored[name + _SUFFIX].numpy(), count=len(whole))
            whole[torch.from_numpy(bits).bool()] = tensor
            state[name] = whole.view(shapes[name])
        elif not name.endswith(_SUFFIX):
            state[name] = tensor
    return state
