"""How to install an optional extra of this package, as a command that works where the user is.

In a checkout, or after ``pip install .`` from one, the extra comes from that folder; otherwise from a package index.
"""

from __future__ import annotations

import json
import shlex
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "prune-or-search"


def install_extra(extra: str) -> str:
    """``pip install -e '.[structured]'`` in a checkout, ``pip install 'prune-or-search[structured]'`` elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if _is_checkout(root):
        return f"pip install -e '.[{extra}]'" if _is_here(root) else f"pip install -e {shlex.quote(f'{root}[{extra}]')}"
    source = _installed_from()
    if source is not None and _is_checkout(source):
        return f"pip install '.[{extra}]'" if _is_here(source) else f"pip install {shlex.quote(f'{source}[{extra}]')}"
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def _is_checkout(folder: Path) -> bool:
    try:
        return f'name = "{DISTRIBUTION}"' in (folder / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False


def _is_here(root: Path) -> bool:
    try:
        return Path.cwd().resolve() == root.resolve()
    except OSError:  # the working folder was removed
        return False


def _installed_from() -> Path | None:
    """The folder that pip installed from, by PEP 610; None for a package index, a URL or no installation."""
    try:
        text = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
        url = urlsplit(json.loads(text)["url"]) if text else None
    except (metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        return None
    return Path(unquote(url.path)) if url is not None and url.scheme == "file" else None
