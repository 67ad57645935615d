"""Whether one record is well formed: the check that the writer and the reader of the ledger share.

Only what the derivations rely on is checked: that the fields of the kind are present, their types, and the types of optional
fields that costs depend on. Other extra fields are accepted (:mod:`accounting.ledger.records`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from operator import itemgetter
from typing import NamedTuple, TypeGuard

from accounting.ledger.records import FIELDS, LATEST_T, READINGS, Kind, Phase, Status

DEVICE_KINDS = ("cpu_core", "cuda")
_LARGEST = 2**63 - 1
"""The largest whole number that fits a table's column. JSON has no limit, and that of floats differs."""


def problem_of(record: Mapping[str, object]) -> str | None:
    """What is wrong with the record, as half a sentence; None if it is well formed."""
    kind_value, t = record.get("kind"), record.get("t")
    if type(t) is float and -LATEST_T < t < LATEST_T and type(kind_value) is str and kind_value in _QUICK:
        quick = _QUICK[kind_value]
        try:
            quick.whole(record)
            texts = quick.texts(record)
            if _TEXTS.issuperset(map(type, texts)) and "" not in texts:
                for name, is_fine in quick.checks:
                    if not is_fine(record[name]):
                        break
                else:
                    if all(is_fine(record[name]) for name, is_fine in quick.optional if name in record):
                        return None
        except KeyError:
            pass
    return _said_of(record, kind_value, t)


def are_well_formed(records: Sequence[Mapping[str, object]]) -> bool:
    """Whether :func:`problem_of` finds nothing wrong with any of these, by columns: many records have few kinds."""
    by_kind: dict[object, list[Mapping[str, object]]] = {}
    try:
        for record in records:
            by_kind.setdefault(record["kind"], []).append(record)
        return all(_are_alike_and_fine(str(kind), alike) for kind, alike in by_kind.items())
    except (KeyError, TypeError):  # a field is missing, or a kind is no word
        return False


def _are_alike_and_fine(kind: str, records: Sequence[Mapping[str, object]]) -> bool:
    times = [record["t"] for record in records]
    if kind not in _QUICK or set(map(type, times)) != {float}:
        return False
    if not all(-LATEST_T < t < LATEST_T for t in times):  # type: ignore[operator]
        return False
    quick = _QUICK[kind]
    columns = dict(zip(quick.order, zip(*map(quick.whole, records), strict=True), strict=True))
    if not all(set(map(type, columns[name])) == _TEXTS and "" not in columns[name] for name in quick.names):
        return False
    return all(
        _ALWAYS.get(name, _NOTHING).issuperset(map(type, columns[name])) or all(map(is_fine, columns[name]))
        for name, is_fine in quick.checks
    ) and all(is_fine(record[name]) for name, is_fine in quick.optional for record in records if name in record)


def _said_of(record: Mapping[str, object], kind_value: object, t: object) -> str | None:
    """The same by a slower check that words the problem."""
    kind = _KINDS.get(str(kind_value))
    if kind is None:
        return f"unknown kind {_short(kind_value)} (known: {', '.join(Kind)})"
    if not _is_time(t):
        return f"{kind}: t must be {_SECONDS[1]}, got {_short(t)}"
    if not record.keys() >= _REQUIRED[kind]:
        missing = [name for name in FIELDS[kind] if name not in record]
        return f"{kind}: missing field{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
    for name, (is_fine, what) in _CHECKED[kind]:
        if not is_fine(record[name]):
            return f"{kind}: {name} must be {what}, got {_short(record[name])}"
    for name, (is_fine, what) in _OPTIONAL[kind].items():
        if name in record and not is_fine(record[name]):
            return f"{kind}: {name} must be {what}, got {_short(record[name])}"
    if kind is Kind.ALLOCATION_OPENED and record["allocation"] is None:
        return f"{kind}: allocation must be a string, got None"
    return None


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _is_time(value: object) -> bool:
    return _is_number(value) and -LATEST_T < value < LATEST_T


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_amount(value: object) -> bool:
    return _is_number(value) and value >= 0


def _is_duration(value: object) -> bool:
    return _is_number(value) and 0 <= value < LATEST_T


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _or_null(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


def _is_devices(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    for key, n in value.items():  # noqa: SIM110 (all() takes twice as long, and there are many)
        if not (_is_text(key) and _is_number(n) and n >= 0):
            return False
    return True


def _is_amounts(value: object) -> bool:
    return _is_devices(value) and isinstance(value, dict) and value.keys() <= set(DEVICE_KINDS)


def _is_capacity(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict)
        and _is_text(item.get("device"))
        and item.get("device_kind") in DEVICE_KINDS
        and _is_number(item.get("amount"))
        and item["amount"] >= 0
        for item in value
    )


def _is_changes(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict) and _is_text(item.get("key")) and "old" in item and "new" in item for item in value
    )


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_readings(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_text(device)
        and isinstance(values, list)
        and len(values) == len(READINGS)
        and all(each is None or _is_number(each) for each in values)
        for device, values in value.items()
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_PHASES = frozenset(Phase)
_TEXT = (_is_text, "a non-empty string")
_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "session": _TEXT,
    "attempt": _TEXT,
    "job": _TEXT,
    "route": _TEXT,
    "meter": _TEXT,
    "allocation": (_or_null(_is_text), "a non-empty string or null"),
    "phase": (lambda value: isinstance(value, str) and value in _PHASES, f"one of {', '.join(Phase)}"),
    "status": (lambda value: value in (Status.OK, Status.FAILED), "ok or failed"),
    "target": (_or_null(_is_whole), "MACs, a whole number, or null"),
    "replicate": (_is_whole, "a whole number"),
    "network_macs": (_or_null(_is_number), "MACs or null"),
    "epoch": (_is_number, "a number of epochs"),
    "num_epochs": (_is_number, "a number of epochs"),
    "val_top1": (_or_null(_is_number), "a fraction or null"),
    "train_loss": (_or_null(_is_number), "a finite number or null"),
    "checkpointed": (lambda value: isinstance(value, bool), "true or false"),
    "reason": (_or_null(lambda value: isinstance(value, str)), "a string or null"),
    "spec": (lambda value: isinstance(value, dict), "an object"),
    "outcome": (_or_null(lambda value: isinstance(value, dict)), "an object or null"),
    "measurement": (_or_null(lambda value: isinstance(value, dict)), "an object or null"),
    "work_end_t": (_or_null(_is_time), "Unix seconds or null"),
    "budget_h": (_is_amount, "a number of at least 0"),
    "duration_s": (_is_duration, "seconds, at least 0"),
    "node": _TEXT,
    "writer": _TEXT,
    "host": _TEXT,
    "study": _TEXT,
    "pid": (_is_whole, "a whole number"),
    "environment": (lambda value: isinstance(value, dict), "an object"),
    "attempts": (_is_names, "a list of non-empty strings"),
    "readings": (_is_readings, f"an object of device: [{', '.join(READINGS)}], each a number or null"),
    "changes": (_is_changes, "a list of {key, old, new}"),
    "devices": (_is_devices, "an object of device: amount, amounts at least 0"),
    "capacity": (_is_capacity, f"a list of {{device, device_kind: {'|'.join(DEVICE_KINDS)}, amount, name, node}}"),
}
_SECONDS = (_is_time, "Unix seconds, a finite number")
_DURATION = (_is_duration, "seconds, at least 0")
_COUNT = (lambda value: _is_whole(value) and value >= 0, "a whole number of at least 0")
_SOMETIMES: dict[Kind, dict[str, tuple[Callable[[object], bool], str]]] = {
    Kind.SEGMENT_OPENED: {"format": _COUNT},
    Kind.SESSION_CLOSED: {"segments": _COUNT},
    Kind.ALLOCATION_OPENED: {
        "looked_t": _SECONDS,
        "amounts": (_is_amounts, f"an object of {' or '.join(DEVICE_KINDS)}: amount, amounts at least 0"),
    },
    Kind.ALLOCATION_CLOSED: {"looked_t": _SECONDS},
    Kind.ATTEMPT_STARTED: {"heartbeat_s": _DURATION},
}
"""Optional fields on which costs or the reading itself depend, by kind of record; others are used only if they are fine."""
_OPTIONAL = {kind: {"written_t": _SECONDS, **_SOMETIMES.get(kind, {})} for kind in Kind}
_KINDS = {str(kind): kind for kind in Kind}
_REQUIRED = {kind: frozenset(names) for kind, names in FIELDS.items()}
_CHECKED = {
    kind: [
        (name, _CHECKS[name]) for name in names if name in _CHECKS and (name != "reason" or kind is Kind.ATTEMPT_ENDED)
    ]
    for kind, names in FIELDS.items()
}
"""By kind of record: the fields whose values are checked, each with its check and the words for what it requires."""


_TEXTS = {str}
_NOTHING: frozenset[type] = frozenset()
_ALWAYS = {
    "reason": frozenset({str, type(None)}), "outcome": frozenset({dict, type(None)}),
    "measurement": frozenset({dict, type(None)}), "checkpointed": frozenset({bool}), "target": frozenset({type(None)}),
}  # fmt: skip
"""By field: types of which every value passes its check."""


class _Quick(NamedTuple):
    """The fast check of a kind: all fields are present, text fields hold non-empty strings, the others pass a check."""

    order: tuple[str, ...]
    whole: Callable[[Mapping[str, object]], tuple[object, ...]]
    texts: Callable[[Mapping[str, object]], tuple[object, ...]]
    checks: tuple[tuple[str, Callable[[object], bool]], ...]
    names: tuple[str, ...]
    """The text fields."""
    optional: tuple[tuple[str, Callable[[object], bool]], ...]
    """Fields that may be absent, each with its check."""


def _quick(kind: Kind) -> _Quick:
    checked = {name: is_fine for name, (is_fine, _) in _CHECKED[kind]}
    if kind is Kind.ALLOCATION_OPENED:
        checked["allocation"] = _is_text
    texts = [name for name, is_fine in checked.items() if is_fine is _is_text]
    names = FIELDS[kind]
    return _Quick(
        (*names, names[0]),
        itemgetter(*names, names[0]),  # repeated, because with a single name it would return no tuple
        itemgetter(*texts, texts[0]),
        tuple((name, is_fine) for name, is_fine in checked.items() if is_fine is not _is_text),
        tuple(texts),
        tuple((name, is_fine) for name, (is_fine, _) in _OPTIONAL[kind].items()),
    )


_QUICK = {str(kind): _quick(kind) for kind in FIELDS}
"""If a record fails this check, :func:`_said_of` words the problem."""
