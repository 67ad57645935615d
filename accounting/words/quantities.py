"""Numbers with units, as people write them: ``0.5M`` MACs, ``30 min`` of device time."""

from __future__ import annotations

import itertools
import re

_MACS_SUFFIX = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_UNITS = {
    1 / 3600: ("s", "sec", "secs", "second", "seconds"),
    1 / 60: ("m", "min", "mins", "minute", "minutes"),
    1.0: ("h", "hr", "hrs", "hour", "hours"),
    24.0: ("d", "day", "days"),
}
_HOURS = {word: hours for hours, words in _UNITS.items() for word in words}
MAX_HOURS = 1e8
MAX_LETTERS = 100
"""Of a duration."""


def parse_macs(value: str | int | float) -> int:
    """Whole MACs of ``0.5M``, ``400k``, ``1.2G`` or a plain number; ``ValueError`` names what is allowed."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][0-9]+)?)\s*([kKMG]?)(?:MACs)?\s*", str(value))
    macs = 0.0 if isinstance(value, bool) or match is None else float(match[1]) * _MACS_SUFFIX[match[2]]
    if not 1 <= macs < 1e18:
        raise ValueError(f"{value!r} is no number of MACs; write a positive number, such as 400k, 0.5M or 1.2G")
    return round(macs)


def parse_hours(value: str | int | float) -> float:
    """Device-hours of ``30 min``, ``0.5 h``, ``1h30m`` or ``2 days``; a bare number is refused, its unit is not known."""
    text = str(value) if len(str(value)) <= MAX_LETTERS else ""
    parts = re.findall(r"([0-9]*\.?[0-9]+)\s*([a-z]+)\s*", text)
    is_whole = re.fullmatch(r"\s*(?:[0-9]*\.?[0-9]+\s*[a-z]+\s*)+", text) is not None
    units = [_HOURS.get(unit, 0.0) for _, unit in parts]
    is_falling = all(first > then for first, then in itertools.pairwise(units))  # 1h30m, and not 30m1h or 1h1h
    total = sum(float(number) * unit for (number, _), unit in zip(parts, units, strict=True))
    if not (is_whole and is_falling and all(units) and 0 < total <= MAX_HOURS):
        raise ValueError(
            f"{value!r} is no duration; write a positive number with its unit, such as 30 min, 0.5 h, 1h30m or 2 d; units: "
            + "; ".join(", ".join(words) for words in _UNITS.values())
        )
    return total


def format_macs(macs: int) -> str:
    """``585000`` → ``585k``; ``1170000`` → ``1.17M``."""
    for suffix, unit in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if macs >= unit:
            return f"{macs / unit:.4g}{suffix}"
    return str(macs)
