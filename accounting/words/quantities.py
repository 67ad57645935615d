"""Numbers with units as people write them, parsed and printed: ``0.5M`` MACs, ``30 min`` of device time.

What is printed parses back to the same number, unless fewer figures were asked for.
"""

from __future__ import annotations

import itertools
import re
from decimal import Decimal
from fractions import Fraction

HOUR_S = 3600.0
"""Seconds in an hour."""
_MACS_SUFFIX = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_UNITS = {
    1 / HOUR_S: ("s", "sec", "secs", "second", "seconds"),
    1 / 60: ("m", "min", "mins", "minute", "minutes"),
    1.0: ("h", "hr", "hrs", "hour", "hours"),
    24.0: ("d", "day", "days"),
}
_HOURS = {word: hours for hours, words in _UNITS.items() for word in words}
MAX_HOURS = 1e8
MAX_LETTERS = 100
"""The longest text that is parsed as a duration."""
_NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
"""Such as 30, 0.5 or .5. It can match a text in one way alone: with two for each number, a slip after many takes hours."""
AXIS_FIGURES = 3
"""Significant figures of MACs in axes and tables."""


def parse_macs(value: str | int | float) -> int:
    """Whole MACs from ``0.5M``, ``400k``, ``1.2G`` or a plain number; ``ValueError`` says what is allowed."""
    match = re.fullmatch(rf"\s*({_NUMBER}(?:[eE][0-9]+)?)\s*([kKMG]?)(?:MACs)?\s*", str(value))
    macs = 0.0 if isinstance(value, bool) or match is None else float(match[1]) * _MACS_SUFFIX[match[2]]
    if not 1 <= macs < 1e18:
        raise ValueError(
            f"{_short(value)} is not a number of MACs; write a positive number, such as 400k, 0.5M or 1.2G"
        )
    return round(macs)


def parse_percent(value: object) -> float | None:
    """``50%`` → 50.0; None if it is not a percentage. ``ValueError`` unless it is above 0 and below 100."""
    match = re.fullmatch(rf"\s*({_NUMBER})\s*%\s*", value) if isinstance(value, str) else None
    if match is None:
        return None
    if not 0 < float(match[1]) < 100:
        raise ValueError(f"{_short(value)} of the parent's MACs; write a share above 0% and below 100%, such as 50%")
    return float(match[1])


def percent_of(percent: float, macs: int) -> int:
    """That share of a network's MACs, rounded down to an integer, so that it is not exceeded."""
    return int(Fraction(repr(percent)) * macs / 100)


def macs_text(macs: float, figures: int | None = None) -> str:
    """``600000`` → ``0.6M``, the shortest form that parses back to the same number; rounded to ``figures`` if given."""
    for suffix, scale in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if macs >= scale or (suffix != "k" and macs >= scale / 10):
            scaled = macs / scale
            exact = f"{scaled:.9f}".rstrip("0").rstrip(".")
            return (exact if figures is None else f"{float(f'{scaled:.{figures}g}'):g}") + suffix
    return f"{macs:.0f}"


def macs_short(macs: float) -> str:
    """``612345`` → ``0.612M``: :func:`macs_text` with three figures, for axes and tables."""
    return macs_text(macs, AXIS_FIGURES)


def parse_hours(value: str | int | float) -> float:
    """Device-hours from ``30 min``, ``0.5 h``, ``1h30m`` or ``2 days``; a number without a unit is refused."""
    text = str(value) if len(str(value)) <= MAX_LETTERS else ""
    parts = re.findall(rf"({_NUMBER})\s*([a-z]+)\s*", text)
    is_whole = re.fullmatch(rf"\s*(?:{_NUMBER}\s*[a-z]+\s*)+", text) is not None
    units = [_HOURS.get(unit, 0.0) for _, unit in parts]
    is_falling = all(first > then for first, then in itertools.pairwise(units))  # 1h30m, but not 30m1h or 1h1h
    total = sum(float(number) * unit for (number, _), unit in zip(parts, units, strict=True))
    if not (is_whole and is_falling and all(units) and 0 < total <= MAX_HOURS):
        raise ValueError(
            f"{_short(value)} is not a duration; write a positive number with its unit, such as 30 min, 0.5 h or 2 d; "
            "units: " + "; ".join(", ".join(words) for words in _UNITS.values())
        )
    return total


def hours_text(hours: float) -> str:
    """``0.5`` → ``0.5 h``, which a config parses back to the same number of hours."""
    digits = f"{Decimal(repr(float(hours))):f}"
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits} h"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_LETTERS else f"{text[:MAX_LETTERS]}… ({len(text):,} characters)"


def duration_text(hours: float) -> str:
    """A duration for people, with at most three figures, in a unit of which there are two or more: ``0.05`` → ``3 min``."""
    for unit, size in (("years", 8766), ("days", 24), ("h", 1), ("min", 1 / 60)):
        if hours >= 2 * size:
            return f"{hours / size:.3g} {unit}"
    return f"{hours * HOUR_S:.0f} s"
