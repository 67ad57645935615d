"""The pruning methods: scopes, with the criteria that each takes and the schedules that it can follow."""

from __future__ import annotations

import difflib

from accounting.words.methods import (
    BLOCK_SCOPES,
    CHANNEL_SCOPES,
    DISTILLED,
    MASK_SCOPES,
    ONE_SHOT,
    SCHEDULES,
    Method,
    parse_method,
)
from pruning.criteria import list_criteria


def list_methods() -> list[str]:
    """Every scope combined with every criterion it takes, without schedules."""
    scored = [f"{scope}_{criterion}" for scope in (*MASK_SCOPES, *CHANNEL_SCOPES) for criterion in list_criteria()]
    return scored + [f"{scope}_magnitude" for scope in BLOCK_SCOPES]


def checked_method(text: str, default_schedule: str = ONE_SHOT) -> Method:
    """Parse a known method: ``<scope>_<criterion>``, optionally followed by ``+<schedule>`` and ``+distilled``.

    Raises:
        ValueError: a part is unknown (the message has the allowed ones, and the nearest method), or the scope cannot
            follow the schedule.

    """
    base, *marks = text.split("+")
    named = [mark for mark in marks if mark != DISTILLED]
    allowed = list_methods()
    if base not in allowed:
        near = difflib.get_close_matches(base, allowed, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"unknown criterion {base!r}{hint}; allowed: {', '.join(allowed)}")
    schedule = "+".join(named) if named else default_schedule
    if schedule not in SCHEDULES:
        raise ValueError(
            f"unknown schedule {schedule!r} of {text!r}; allowed: {', '.join(SCHEDULES)}, each also with +{DISTILLED}"
        )
    method = Method(*_parts(base), schedule, DISTILLED in marks)
    if method.schedule == "gradual" and method.scope not in ("global", "uniform"):
        raise ValueError(
            f"{text!r}: gradual takes masks of any size, which {method.scope} does not give; use iterative"
        )
    if method.schedule == "iterative" and method.scope == "nm":
        raise ValueError(f"{text!r}: 2 of 4 has no steps in between; use one_shot")
    return method


def _parts(base: str) -> tuple[str, str]:
    method = parse_method(base)
    return method.scope, method.criterion
