"""Writes to standard output and error, whatever their encoding, and even if nobody reads them any more.

Characters that the encoding lacks are spelled with others. Control characters in names and reasons are shown, not
obeyed. A closed pipe (``| head``) ends the output and nothing else.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from accounting.words.columns import in_columns
from accounting.words.plain_text import plain

SPELLED = {"×": "x", "÷": "/", "±": "+/-", "–": "-", "—": "-", "…": "...", "·": "*", "→": "->", "“": '"', "”": '"',
           "‘": "'", "’": "'", "≤": "<=", "≥": ">=", "µ": "u", "█": "#", "░": "."}  # fmt: skip
"""What is written for a character that the encoding lacks; any other such character is written as an escape."""

HANDLER = "prune_or_search.spelled"


class CannotWrite(RuntimeError):
    """Standard output cannot be written to, for another reason than a closed pipe; the message is one line."""


def prepare() -> None:
    """Make standard output and error accept every character."""
    codecs.register_error(HANDLER, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)


def say(text: str = "") -> None:
    """Write text and a line break to standard output.

    Raises:
        CannotWrite: such as on a full disk.

    """
    _write(sys.stdout, plain(text, keep="\n") + "\n")


def say_json(value: object) -> None:
    """Write a value as indented JSON, which itself escapes control characters."""
    _write(sys.stdout, json.dumps(value, indent=1, default=str, allow_nan=False) + "\n")


def complain(line: str) -> None:
    """Write one line to standard error; if that fails, the line is lost."""
    try:
        _write(sys.stderr, plain(" ".join(line.split())) + "\n")
    except CannotWrite:
        return


def finish() -> None:
    """Flush standard output now, while a failure can still be handled.

    Raises:
        CannotWrite: such as on a full disk.

    """
    _write(sys.stdout, "")


def give_up() -> None:
    """Flush what can still be written after a command has failed; the rest is dropped silently."""
    try:
        finish()
    except CannotWrite:
        return


def can_redraw() -> bool:
    """Whether standard output is a terminal that can move its cursor."""
    stream = sys.stdout
    return stream is not None and stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], num_text_columns: int = 1) -> str:
    """A table without lines: text left-aligned, numbers right-aligned, columns two spaces apart."""
    return "\n".join(in_columns([[plain(cell) for cell in row] for row in (header, *rows)], num_text_columns))


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None or stream.closed:  # closed before the command began
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _to_nowhere(stream)
    except OSError as error:
        _to_nowhere(stream)
        raise CannotWrite(f"the output cannot be written: {error.strerror or error}") from None


def _to_nowhere(stream: TextIO) -> None:
    """Drop whatever is still buffered, so that the interpreter's last flush does not fail again."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device
        os.dup2(nowhere.fileno(), stream.fileno())


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    spelled = "".join(SPELLED.get(char) or char.encode("ascii", "backslashreplace").decode() for char in wrong)
    return spelled, error.end
