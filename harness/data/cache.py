"""A private folder of this user on this machine, for what takes long to make again: decoded images, file checks.

It is in the system's temporary folder, which other users can write to. So it is used only if it belongs to this user
and nobody else may write to it, and everything read from it is verified by a checksum.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from functools import lru_cache
from pathlib import Path

from harness.paths import replacing

NAME = "prune-or-search"


def cache_folder() -> Path:
    """The folder of this user, created with mode 0700 if missing; if that name is taken, a new private one."""
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    folder = Path(tempfile.gettempdir()) / f"{NAME}-{user}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700)
    return folder if _is_private(folder, user) else _own_folder(f"{folder}-")


@lru_cache
def _own_folder(prefix: str) -> Path:
    """A new private folder, made once per process."""
    return Path(tempfile.mkdtemp(prefix=Path(prefix).name, dir=Path(prefix).parent))


def read_cached(key: str) -> bytes | None:
    """What :func:`write_cached` stored under a key; None if there is nothing, it is damaged, or there is no folder."""
    try:
        content = (cache_folder() / key).read_bytes()
    except OSError:
        return None
    digest, content = content[:64], content[64:]
    return content if hashlib.sha256(content).hexdigest().encode() == digest else None


def write_cached(key: str, content: bytes) -> None:
    """Store ``content`` under a key, atomically. A full or read-only disk is not an error: content can be made again."""
    with contextlib.suppress(OSError), replacing(cache_folder() / key) as temporary:
        temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + content)


def _is_private(folder: Path, user: int) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    is_safe = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and is_safe
