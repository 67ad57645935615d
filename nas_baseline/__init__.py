"""Search spaces, predictors and strategies: which network to try next, without training any."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_baseline.offline import SearchResult as SearchResult
    from nas_baseline.offline import search as search

_HOME = {"SearchResult": "offline", "search": "offline"}
"""The module of each public name. It is imported on first use, so that reading a config stays fast."""


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"nas_baseline.{_HOME[name]}"), name)
    raise AttributeError(f"module 'nas_baseline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
