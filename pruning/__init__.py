"""Pruning a network to a MACs target: criteria, the solver, masks, schedules, structured removal; nothing trains.

``from pruning import prune_to_macs`` works, and imports torch only then: a config that names methods does not need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pruning.criterion import Criterion as Criterion
    from pruning.criterion import ScoreContext as ScoreContext
    from pruning.masks import MaskKeeper as MaskKeeper
    from pruning.masks import apply_masks as apply_masks
    from pruning.solve import UnreachableTarget as UnreachableTarget
    from pruning.solve import prune_to_macs as prune_to_macs
    from pruning.structured import prune_channels_to_macs as prune_channels_to_macs

_HOME = {
    "Criterion": "criterion",
    "MaskKeeper": "masks",
    "ScoreContext": "criterion",
    "UnreachableTarget": "solve",
    "apply_masks": "masks",
    "prune_channels_to_macs": "structured",
    "prune_to_macs": "solve",
}
"""The module of each public name."""


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"pruning.{_HOME[name]}"), name)
    raise AttributeError(f"module 'pruning' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
