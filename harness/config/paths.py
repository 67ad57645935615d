"""Paths as a config gives them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from harness.errors import InputError, one_line


def beside(config: Path, given: str) -> Path:
    """The absolute path: ``~`` is the home folder, and a relative path begins at the config's folder."""
    try:
        path = (config.parent / Path(given).expanduser()).resolve()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            path.lstat()  # a name that is too long, or links in a circle
        str(path).encode()  # a folder on the way may have a name that is no text
        return path
    except UnicodeEncodeError:
        raise InputError(
            f"{given[:80]!r} leads to {one_line(str(path), 120)}, a name that is not UTF-8 and cannot be kept; rename it"
        ) from None
    except RuntimeError as error:
        reason = "no such user" if given.startswith("~") else one_line(error)
        raise InputError(f"{given!r} is not a path ({reason})") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{given[:80]!r} is not a path ({getattr(error, 'strerror', None) or one_line(error)})"
        ) from None
