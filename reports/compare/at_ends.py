"""Results at the declared rates of GPU models, with how far they go at the ends of the declared ranges.

A study whose rates have ranges is computed at the declared rates and at the ends. Values, such as costs, ratios and
break-evens, are those at the declared rates, and each that depends on the rates has its ends with it. What is claimed to
be shown is shown at all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

from reports.compare.charges import BreakEven, BreakEvenEnds
from reports.statistics import Ends, Estimate

Result = TypeVar("Result")
SAME = 1e-9
"""Values that differ by less than this share do not depend on the rates."""


def with_ends(stated: Result, ends: Sequence[Result]) -> Result:
    """The result, in which every estimate and break-even has its ends; unchanged where they are the same.

    Parts are matched by field, by key, and by place if they have the same labels.
    """
    return cast("Result", _merged(stated, ends)) if ends else stated


def _merged(stated: object, ends: Sequence[object]) -> object:
    if any(type(end) is not type(stated) for end in ends):
        return stated
    if isinstance(stated, Estimate):
        return _estimate(stated, [end for end in ends if isinstance(end, Estimate)])
    if isinstance(stated, BreakEven):
        return _break_even(stated, [end for end in ends if isinstance(end, BreakEven)])
    if isinstance(stated, dict):
        dicts = [end for end in ends if isinstance(end, dict) and end.keys() == stated.keys()]
        is_same = len(dicts) == len(ends)
        return {key: _merged(one, [end[key] for end in dicts]) for key, one in stated.items()} if is_same else stated
    if isinstance(stated, tuple):
        tuples = [end for end in ends if isinstance(end, tuple) and _labels(end) == _labels(stated)]
        is_same = len(tuples) == len(ends)
        return tuple(_merged(one, at) for one, *at in zip(stated, *tuples, strict=True)) if is_same else stated
    if is_dataclass(stated) and not isinstance(stated, type):
        names = [field.name for field in fields(stated)]
        merged = {name: _merged(getattr(stated, name), [getattr(end, name) for end in ends]) for name in names}
        return replace(stated, **merged)
    return stated


def _labels(parts: Iterable[object]) -> list[object]:
    return [getattr(part, "label", None) for part in parts]


def _estimate(stated: Estimate, ends: Sequence[Estimate]) -> Estimate:
    each = [stated, *ends]
    values = _known(one.value for one in each)
    if len(values) < len(each) or math.isclose(min(values), max(values), rel_tol=SAME):
        return stated
    lows, highs = _known(one.low for one in each), _known(one.high for one in each)
    low, high = (min(lows), max(highs)) if len(lows) == len(highs) == len(each) else (None, None)
    return replace(stated, ends=Ends(min(values), max(values), low, high))


def _break_even(stated: BreakEven, ends: Sequence[BreakEven]) -> BreakEven:
    if not stated.n or not all(end.n for end in ends):
        return stated
    each = [stated, *ends]
    values = _known(one.value for one in each)
    never = dict.fromkeys(end.below for end in ends if end.is_never and end.below is not None)
    bounded = [one for one in each if not one.is_shown_everywhere]
    is_moved = 0 < len(values) < len(each) or (
        bool(values) and not math.isclose(min(values), max(values), rel_tol=SAME)
    )
    return replace(
        stated,
        low=_outermost(min, [one.low for one in bounded]) if _is_one(one.below for one in each) else None,
        high=_outermost(max, [one.high for one in bounded]) if _is_one(one.above for one in each) else None,
        is_shown_everywhere=not bounded and _is_one(one.below for one in each),
        ends=BreakEvenEnds(min(values), max(values), tuple(never)) if is_moved else None,
    )


def _outermost(pick: Callable[[Iterable[float]], float], limits: Sequence[float | None]) -> float | None:
    """The limit beyond which something is shown at all ends; None if at one of them it is shown nowhere."""
    known = _known(limits)
    return pick(known) if known and len(known) == len(limits) else None


def _is_one(labels: Iterable[str | None]) -> bool:
    return len(set(labels)) == 1


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
