"""A study's YAML file before its fields are checked: relative paths are made absolute, and empty values refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from accounting.study.yaml12 import Document, Place, YamlProblem, read_yaml
from harness.config.blocks import StrategyConfig
from harness.config.distill import is_teacher_file
from harness.config.errors import at_line
from harness.config.paths import beside
from harness.config.places import ANY, at, matching
from harness.config.plugin_files import use_plugins
from harness.config.route_files import section_class
from harness.config.section import parts_of
from harness.errors import InputError, one_line
from nas_baseline.strategies import name_problem, option_problems

MAX_BYTES = 100_000
PATHS: tuple[Place, ...] = (
    ("dataset", "path"),
    ("parent", "checkpoint"),
    ("routes", ANY, "space"),
    ("routes", ANY, ANY, "space"),
)
"""Keys whose value may be a path; a search may be a route's section or part of one."""
STRATEGIES: tuple[Place, ...] = (("routes", ANY, "strategy"), ("routes", ANY, ANY, "strategy"))
"""Places where a strategy may be given."""


def read_documents(path: Path) -> list[Document]:
    """The YAML documents of a config file; ``InputError`` with one line per problem."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path}: {size:,} bytes; a config has at most {MAX_BYTES:,}")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)  # a device or pipe has no size
        if len(content) > MAX_BYTES:
            raise InputError(f"{path}: a config has at most {MAX_BYTES:,} bytes")
        text = content.decode("utf-8-sig")
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"no config at {path}; name a YAML file, or write one with `prune-or-search init`") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} cannot be read as text in UTF-8; save it as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise InputError(f"{one_line(str(path), 120)} cannot be read as a text file: {reason}") from None
    try:
        documents = read_yaml(text)
    except YamlProblem as error:
        lines = (f"{path}:{line}: {what}" if line else f"{path}: {what}" for line, what in error.found)
        raise InputError(*(one_line(line, 600) for line in lines)) from None
    return [document for document in documents if document.value is not None] or [Document(None, {})]


def prepared(document: Document, path: Path) -> tuple[object, dict[Place, str]]:
    """A document's value with absolute paths, and the problems that can be found without its fields, by place."""
    raw = copy.deepcopy(document.value)
    problems: dict[Place, str] = {}
    for place, value in _values(raw, ()):
        where = ".".join(map(str, place))
        if value is None and place:
            is_section = place[0] == "routes" and isinstance(place[-1], str)
            route = f"write {place[-1]}: {{}} for its defaults" if is_section else "give a value"
            problems[place] = at_line(path, document.lines, place, f"{where}: empty; {route}, or remove it")
        elif isinstance(value, str) and any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            problems[place] = at_line(
                path, document.lines, place, f"{where}: holds a control character; write plain text"
            )
    for place in (*matching(raw, PATHS), *_teachers(raw, ())):
        holder = at(raw, place[:-1])
        given = holder.get(place[-1]) if isinstance(holder, dict) else None
        if isinstance(given, str) and _is_path(place, given):
            try:
                holder[place[-1]] = str(beside(path, given))
            except InputError as error:
                problems[place] = at_line(path, document.lines, place, f"{'.'.join(map(str, place))}: {error}")
    for place, text in (*use_plugins(raw, path), *_strategies(raw)):
        problems.setdefault(place, at_line(path, document.lines, place, f"{'.'.join(map(str, place))}: {text}"))
    return raw, problems


def _strategies(raw: object) -> Iterator[tuple[Place, str]]:
    """(place, what is wrong) for names and options of strategies; wrong types are found later, with the fields."""
    for place in matching(raw, STRATEGIES):
        section = at(raw, place)
        if not isinstance(section, dict):
            continue
        name, options = section.get("name", _default_strategy(place)), section.get("options")
        if not isinstance(name, str):
            continue
        if problem := name_problem(name):
            yield (*place, "name"), problem
        elif isinstance(options, dict) and options:
            for key, text in option_problems(name, options):
                yield (*place, "options", *(() if key is None else (key,))), text


def _default_strategy(place: Place) -> str | None:
    """The default name of a strategy at a place; None if the place does not take a strategy."""
    _, route, *keys = map(str, place)
    try:
        model: type[BaseModel] = section_class(route)
    except ValueError:  # refused later, with the routes
        return None
    for key in keys:
        field = model.model_fields.get(key)
        parts = [] if field is None else parts_of(field.annotation)
        if field is None or not parts:
            return None
        if isinstance(field.default, StrategyConfig):
            return field.default.name
        model = parts[0]
    return None


def _teachers(raw: object, place: Place) -> Iterator[Place]:
    """Every place where a teacher is named."""
    for key, value in raw.items() if isinstance(raw, dict) else ():
        if key in ("distill", "distilled") and isinstance(value, dict):
            yield (*place, key, "teacher")
        elif isinstance(value, dict):
            yield from _teachers(value, (*place, key))


def _is_path(place: Place, given: str) -> bool:
    if "\0" in given:
        return False
    if place[-1] == "teacher" and not given.startswith("package:"):
        return is_teacher_file(given)
    return given.endswith((".yaml", ".yml")) if place[-1] == "space" else not given.startswith("package:")


def _values(raw: object, place: Place) -> Iterator[tuple[Place, object]]:
    """Every value that is neither a mapping nor a list, with its place."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            yield from _values(value, (*place, key if isinstance(key, int) else str(key)))
    elif isinstance(raw, list):
        for index, value in enumerate(raw):
            yield from _values(value, (*place, index))
    else:
        yield place, raw
