"""Config errors, one line per problem: file and line, the key, what was given, what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from accounting.study.yaml12 import Place
from accounting.words.plain_text import one_line
from harness.config.allowed import allowed, is_kind
from harness.config.routes import as_found, more_routes
from harness.config.section import parts_of

SECTION_OR_WORD = ("Distill", "function-after[_some_choice(), Tune]")
"""Classes of sections in whose place a word may be given."""
MAX_PROBLEMS = 20
MAX_SHOWN = 80
"""Characters of a given value that are shown."""


def explain(
    error: ValidationError,
    model: type[BaseModel],
    given: object,
    source: str,
    lines: Mapping[Place, int | str],
    told: Collection[Place] = (),
) -> list[str]:
    """One line per error of a model, in the order of the file, except at places whose problem has been ``told`` already.

    ``given`` is what was read, in which a key that is called as a kind of value (``int``) is told from that kind.

    If anything has been told, rules about the study as a whole are left out, as that may be why they are broken.
    """
    by_place: dict[Place, list[ErrorDetails]] = {}
    for each in (_at_key(each, given) for each in error.errors()):
        if each is not None and (not told or (each["loc"] and each["loc"] not in told)):
            by_place.setdefault(each["loc"] or _named(each, model), []).append(each)
    found = {
        at_line(source, lines, place, text): line_of(lines, place)
        for place, errors in by_place.items()
        for text in _texts(errors, model)
    }
    ordered = sorted(found, key=lambda text: line if isinstance(line := found[text], int) else 0)
    more = len(ordered) - MAX_PROBLEMS
    return [*ordered[:MAX_PROBLEMS], *([f"{source}: and {more} more problems"] if more > 0 else [])]


def at_line(source: str | Path, lines: Mapping[Place, int | str], place: Place, text: str) -> str:
    """A problem, preceded by the file and line of its place or of the nearest section around it, or by its ``--set``."""
    line = line_of(lines, place)
    if isinstance(line, str):
        return one_line(f"{line}: {text}", 600)
    return one_line(f"{source}:{line}: {text}" if line else f"{source}: {text}", 600)


def line_of(lines: Mapping[Place, int | str], place: Place) -> int | str | None:
    """The line of a place, or of the nearest section around it; None if no lines are known."""
    for length in range(len(place), 0, -1):
        if place[:length] in lines:
            return lines[place[:length]]
    return None


def nearest(given: str, allowed: list[str]) -> str:
    """`` (did you mean 'x'?)`` if an allowed word is close to the given one, otherwise nothing."""
    match = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    return f" (did you mean {match[0]!r}?)" if match else ""


def _at_key(error: ErrorDetails, given: object) -> ErrorDetails | None:
    """An error at its key; None for one that only says that a mapping or list is not the word that its key may also have."""
    if isinstance(error["input"], dict | list) and any(str(part).startswith("literal[") for part in error["loc"]):
        return None
    place: list[int | str] = []
    for part in error["loc"]:
        inner = _inside(given, part)
        if inner is not _NOTHING or not (is_kind(part) or part in SECTION_OR_WORD):
            place.append(part)
            given = inner
    return {**error, "loc": tuple(place)}


_NOTHING = object()


def _inside(given: object, part: int | str) -> object:
    """What a mapping or list has at a key or index; ``_NOTHING`` if it has none there."""
    if isinstance(given, dict):
        return given.get(part, _NOTHING)
    if isinstance(given, list) and isinstance(part, int) and part < len(given):
        return given[part]
    return _NOTHING


def _texts(errors: Sequence[ErrorDetails], model: type[BaseModel]) -> list[str]:
    """What is wrong at one place: one text if a value is of none of the kinds that it may have, unless a rule says more."""
    kinds = [kind for error in errors if (kind := allowed(error)) is not None]
    if len(errors) == 1 or len(kinds) < len(errors):
        return [_what(error, model) for error in errors if len(errors) == 1 or allowed(error) is None]
    return [f"{_where(errors[0])}: {_short(errors[0]['input'])} given; allowed is {', '.join(dict.fromkeys(kinds))}"]


def _what(error: ErrorDetails, model: type[BaseModel]) -> str:
    where = _where(error)
    if error["type"] == "extra_forbidden":
        keys = _allowed_keys(error["loc"][:-1], model)
        key = str(error["loc"][-1])
        return f"unknown key {_short(where)}{nearest(key, keys)}; allowed here: {', '.join(keys)}"
    if error["type"] == "missing":
        return f"{where!r} is missing; add it"
    message = error["msg"].removeprefix("Value error, ")
    given = error["input"]
    if not error["loc"] and _named(error, model):
        return message
    hint = _HINTS.get((error["type"], type(given)), "")
    if (kinds := allowed(error)) is not None:
        return f"{where}: {_short(given)} given; allowed is {kinds}{hint}"
    shown = (
        ""
        if isinstance(given, dict | list | BaseModel) or repr(given)[:MAX_SHOWN] in message
        else f", given {_short(given)}"
    )
    return f"{where}: {message}{shown}{hint}"


def _where(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"]) or "study"


def _named(error: ErrorDetails, model: type[BaseModel]) -> Place:
    """The place, such as ``routes.search``, with which the message of a rule about the whole study begins; empty if none."""
    begun = _PLACE.match(error["msg"].removeprefix("Value error, "))
    place = tuple(begun[0].split(".")) if begun else ()
    return place if place and place[0] in keys_of(model) else ()


_PLACE = re.compile(r"[a-z_0-9]+(\.[a-z_0-9]+)*(?=[: ])")
_HINTS = {
    ("int_type", str): ", without quotes",
    ("float_type", str): ", without quotes",
    ("bool_type", str): ", without quotes",
    ("string_type", int): ", in quotes",
    ("string_type", float): ", in quotes",
}


def _short(given: object) -> str:
    text = "null" if given is None else str(given).lower() if isinstance(given, bool) else repr(given)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text):,} characters)"


def _allowed_keys(place: Place, model: type[BaseModel]) -> list[str]:
    found: type[BaseModel] = model
    for part in place:
        keys = as_found(found).model_fields
        if isinstance(part, int) or part not in keys:
            continue
        if parts := parts_of(keys[part].annotation):
            found = parts[0]
    return keys_of(found)


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a section may have; those of routes outside the package come last."""
    own = [key for key, field in as_found(model).model_fields.items() if not field.exclude]
    return own + more_routes(model)
