"""From a study's folder to data frames, statistics, a verdict, figures and a page. Never imports torch or ray.

``from reports import load, draw`` is for notebooks (:mod:`reports.notebook`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.notebook import draw as draw
    from reports.notebook import load as load

_OF_NOTEBOOK = ("draw", "load")


def __getattr__(name: str) -> Any:
    """:func:`load` and :func:`draw`, imported on first use, so commands that need neither do not pay for them."""
    if name not in _OF_NOTEBOOK:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reports import notebook

    return getattr(notebook, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_OF_NOTEBOOK])
