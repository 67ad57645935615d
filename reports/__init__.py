"""From a study folder to frames, statistics, a verdict, figures and one page. Never imports torch or ray.

``from reports import load, draw`` is for notebooks (:mod:`reports.notebook`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.notebook import draw, load

__all__ = ["draw", "load"]


def __getattr__(name: str) -> Any:
    """:func:`load` and :func:`draw`, imported when they are asked for: a command that needs neither pays for neither."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reports import notebook

    return getattr(notebook, name)
