"""Text that is safe to show: no terminal escapes, control characters, direction overrides or lone surrogates.

Names and reasons come from configs, file names, other libraries and ledgers. All code that shows them passes them
through here.
"""

from __future__ import annotations

import unicodedata
from typing import TypeVar, cast

T = TypeVar("T")

MAX_CHARS = 300
"""Length of :func:`one_line`: enough for a path and a sentence."""

_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that are shown as escapes: controls, formats, surrogates, private, unassigned, line breaks."""
_JOINERS = "\u200c\u200d"
"""Format characters that scripts and emoji need."""


def plain(text: str, keep: str = "") -> str:
    r"""``text`` with every harmful character as a visible escape, such as ``\x1b``; characters in ``keep`` stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in keep or char in _JOINERS or unicodedata.category(char) not in _HARMFUL else _escaped(char)
        for char in text
    )


def one_line(error: BaseException | str, max_chars: int = MAX_CHARS) -> str:
    """The message of an exception, in one line that is safe to print.

    This is the first non-empty line of its text, or the name of its type, cut at ``max_chars`` characters.
    """
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if not text:
        text = "" if isinstance(error, str) else type(error).__name__
    shown = plain(text)
    return shown if len(shown) <= max_chars else shown[: max_chars - 1] + "…"


def typed_line(error: BaseException, max_chars: int = MAX_CHARS) -> str:
    """:func:`one_line` after the type of the exception, such as ``ValueError: no such layer``."""
    kind, line = type(error).__name__, one_line(error, max_chars)
    return kind if line == kind else f"{kind}: {line}"


def plain_values(value: T) -> T:
    """A JSON-able value with every text in it, including keys, passed through :func:`plain`, so each is one line.

    Types are kept, except that a tuple becomes a list.
    """
    return cast(T, _plain_value(value))


def _plain_value(value: object) -> object:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {_plain_value(key): _plain_value(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_value(inner) for inner in value]
    return value


def _escaped(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
