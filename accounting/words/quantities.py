"""Numbers with units, as people write them: ``0.5M`` MACs, ``30 min`` of device time."""

from __future__ import annotations

import re

_MACS_SUFFIX = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_HOURS = {"s": 1 / 3600, "sec": 1 / 3600, "min": 1 / 60, "m": 1 / 60, "h": 1.0, "hours": 1.0, "hour": 1.0, "d": 24.0}


def parse_macs(value: str | int | float) -> int:
    """Whole MACs of ``0.5M``, ``400k``, ``1.2G`` or a plain number; ``ValueError`` names what is allowed."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][0-9]+)?)\s*([kKMG]?)(?:MACs)?\s*", str(value))
    macs = 0.0 if isinstance(value, bool) or match is None else float(match[1]) * _MACS_SUFFIX[match[2]]
    if not 1 <= macs < 1e18:
        raise ValueError(f"{value!r} is no number of MACs; write a positive number, such as 400k, 0.5M or 1.2G")
    return round(macs)


def parse_hours(value: str | int | float) -> float:
    """Device-hours of ``30 min``, ``0.5 h`` or ``2 d``; a bare number is refused, since its unit is not known."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]+)\s*", str(value))
    if match is None or match[2] not in _HOURS or float(match[1]) <= 0:
        raise ValueError(
            f"{value!r} is no duration; write a positive number with its unit, such as 30 min, 0.5 h or 2 d"
        )
    return float(match[1]) * _HOURS[match[2]]


def format_macs(macs: int) -> str:
    """``585000`` → ``585k``; ``1170000`` → ``1.17M``."""
    for suffix, unit in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if macs >= unit:
            return f"{macs / unit:.4g}{suffix}"
    return str(macs)
