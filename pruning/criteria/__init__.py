"""The criteria, found by this folder: one file each, holding a class ``Criterion``."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it imports torch, which a config that names methods does not need
    from pruning.criterion import Criterion


def list_criteria() -> list[str]:
    """Names of all criteria, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_criterion(name: str) -> Criterion:
    """Make the criterion of that name.

    Raises:
        ValueError: no such criterion; the message lists the allowed names and the nearest.

    """
    allowed = list_criteria()
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"unknown criterion {name!r}{hint}; allowed: {', '.join(allowed)}")
    criterion: Criterion = importlib.import_module(f"{__name__}.{name}").Criterion()
    return criterion
