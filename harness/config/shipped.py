"""The studies that come with the package: ``studies/`` in a checkout, or the copies in a wheel."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from accounting.study.plugins import unknown
from harness.errors import InputError

CHECKOUT = Path(__file__).parents[2] / "studies"
DISTRIBUTION = "prune-or-search"
IN_WHEEL = ("prune-or-search", "studies")
"""The last folders in the path of a study inside a wheel, as in pyproject.toml."""


def shipped_studies() -> dict[str, Path]:
    """The file of each packaged study, by name and in order; empty if there are none."""
    found = CHECKOUT.glob("*.yaml") if (CHECKOUT.parent / "pyproject.toml").is_file() else _in_wheel()
    return {path.stem: path for path in sorted(found)}


def shipped_text(name: str) -> str:
    """The text of the packaged study ``name``; ``InputError`` with the nearest name if there is none."""
    studies = shipped_studies()
    if name not in studies:
        raise InputError(f"--study: {unknown('packaged study', name, list(studies))}")
    return studies[name].read_text(encoding="utf-8")


def _in_wheel() -> list[Path]:
    try:
        paths = files(DISTRIBUTION) or []
    except PackageNotFoundError:
        return []
    return [
        Path(str(path.locate())).resolve()
        for path in paths
        if path.suffix == ".yaml" and path.parent.parts[-2:] == IN_WHEEL
    ]
