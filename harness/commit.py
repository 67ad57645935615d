"""Which code is running: the commit of the checkout that the harness runs from, if it runs from one."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 20.0
CHANGED = ", changed since"


def commit(root: Path = ROOT) -> str | None:
    """The checkout's commit (40 hex digits), followed by :data:`CHANGED` if tracked files differ from it.

    None if ``root`` is not the root of a checkout, or if git is missing or cannot read it. An installed package is not a
    checkout, even inside a repository, which is then the user's; its version says which code it is.
    """
    if not (root / ".git").exists():
        return None
    found = _git(root, "rev-parse", "--verify", "HEAD")
    if found is None:
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{found}{CHANGED}" if changes else found


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-c", f"safe.directory={root}", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
