"""From a network spec or a checkpoint to a module with weights.

Names are imported on first use, so that :mod:`harness.models.checkpoint_file` can be used without timm.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.models.build import build_network as build_network
    from harness.models.build import fit_checkpoint as fit_checkpoint
    from harness.models.build import load_checkpoint as load_checkpoint

_HOME = {"build_network": "build", "fit_checkpoint": "build", "load_checkpoint": "build"}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"harness.models.{_HOME[name]}"), name)
    raise AttributeError(f"module 'harness.models' has no attribute {name!r}")
