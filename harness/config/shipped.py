"""The studies that come with the package: in a checkout its ``studies/``, else the copies that a wheel brings along."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from accounting.study.plugins import unknown
from harness.errors import InputError

CHECKOUT = Path(__file__).parents[2] / "studies"
DISTRIBUTION = "prune-or-search"
IN_WHEEL = ("prune-or-search", "studies")
"""The last folders of a packaged study's path, as in pyproject.toml."""


def shipped_studies() -> dict[str, Path]:
    """The file of each packaged study by its name, in order; empty where neither a checkout nor a wheel has any."""
    found = CHECKOUT.glob("*.yaml") if (CHECKOUT.parent / "pyproject.toml").is_file() else _in_wheel()
    return {path.stem: path for path in sorted(found)}


def shipped_text(name: str) -> str:
    """The text of the packaged study ``name``; ``InputError`` with the nearest name where there is none of it."""
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
