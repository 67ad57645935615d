"""Writes new config files; existing ones are never overwritten."""

from __future__ import annotations

from pathlib import Path

from harness.errors import InputError


def write_new(file: Path, text: str) -> None:
    """Write a new file; ``InputError`` if it exists or cannot be created."""
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise exists(file) from None
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror}); name another file with --out") from None


def exists(file: Path) -> InputError:
    """The error for a file that already exists."""
    return InputError(f"{file} exists already and was left as it is; name another file with --out")
