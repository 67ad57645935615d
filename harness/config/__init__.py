"""What a study's YAML may say, checked in one place, with one line for each error.

Submodules are imported on first use, since a section does not need the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.config.study import DatasetConfig as DatasetConfig
    from harness.config.study import StudyConfig as StudyConfig
    from harness.config.study import load_configs as load_configs

_HOME = {"DatasetConfig": "study", "StudyConfig": "study", "load_configs": "study"}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"harness.config.{_HOME[name]}"), name)
    raise AttributeError(f"module 'harness.config' has no attribute {name!r}")
