"""Divide what a study held by route, phase, target, replicate, owner and label; each entry counts once per division."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from accounting.cost.entries import OWNER, START_UP, Amount, Entry
from accounting.ledger.records import Phase
from accounting.words.names import Unit, route_rank
from reports.cost_report.values import Part, Partition

KEYS = ("route", "phase", "target", "replicate", "owner")
_PHASE_ORDER = [*(phase.value for phase in Phase), START_UP]
Value = str | int | None


def totals(entries: Sequence[Entry], unit: Unit, *, priced: bool) -> dict[Unit, Amount]:
    """Totals by unit: the study's own first, even without entries, then other units in which something was held."""
    units = [unit, *sorted({entry.unit for entry in entries} - {unit})]
    return {each: Amount.sum((e.amount for e in entries if e.unit == each), priced=priced) for each in units}


def divide(entries: Sequence[Entry], unit: Unit) -> tuple[Partition, ...]:
    """A division for each of :data:`KEYS`, and one, ``label:NAME``, for each label that any session had.

    The label ``owner`` has no division of its own besides the key ``owner``.
    """
    found = [
        _divided("route", entries, unit, lambda e: e.route or None, _by_route),
        _divided("phase", entries, unit, lambda e: e.phase, _ranked(_PHASE_ORDER)),
        _divided("target", entries, unit, lambda e: e.target, _as_number),
        _divided("replicate", entries, unit, lambda e: e.replicate, _as_number),
        _divided("owner", entries, unit, lambda e: e.whose.owner, _as_text),
    ]
    for name in sorted({name for entry in entries for name in entry.whose.labels} - {OWNER}):
        found.append(_divided(f"label:{name}", entries, unit, _label(name), _as_text))
    return tuple(found)


def _divided(
    key: str,
    entries: Iterable[Entry],
    unit: Unit,
    value_of: Callable[[Entry], Value],
    rank: Callable[[Value], tuple[bool, int, str]],
) -> Partition:
    amounts: dict[tuple[Unit, Value], Amount] = {}
    for entry in entries:
        place = entry.unit, value_of(entry)
        amounts[place] = amounts[place] + entry.amount if place in amounts else entry.amount
    order = sorted(amounts, key=lambda place: (place[0] != unit, place[0], rank(place[1])))
    return Partition(key, tuple(Part(value, each, amounts[each, value]) for each, value in order))


def _label(name: str) -> Callable[[Entry], Value]:
    return lambda entry: entry.whose.labels.get(name)


def _ranked(order: Sequence[str]) -> Callable[[Value], tuple[bool, int, str]]:
    return lambda value: (value is None, order.index(str(value)) if value in order else len(order), str(value))


def _by_route(value: Value) -> tuple[bool, int, str]:
    return value is None, *route_rank(str(value))


def _as_number(value: Value) -> tuple[bool, int, str]:
    return value is None, int(value or 0), ""


def _as_text(value: Value) -> tuple[bool, int, str]:
    return value is None, 0, str(value)
