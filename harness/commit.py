"""Which code this is: the commit of the harness's own checkout, where it runs from one."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 20.0
CHANGED = ", changed since"


def commit(root: Path = ROOT) -> str | None:
    """The checkout's commit (40 digits), with :data:`CHANGED` behind it where tracked files are not as committed.

    None where ``root`` is no checkout of its own, as an installed package is none (its version says which code it is; a
    repository that the environment happens to be in is the user's), and where git is absent or cannot read it.
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
