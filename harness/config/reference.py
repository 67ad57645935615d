"""Every key that a config may have, with its type, default, range and description: as sections, and as a JSON Schema.

Both are derived from the config's classes. The schema is for editors, so it allows what people write in YAML (``0.5M``), and
never null, which a config refuses as empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from pydantic import BaseModel, Field, create_model
from pydantic.errors import PydanticUserError
from pydantic.json_schema import CoreModeRef, CoreRef, DefsRef, GenerateJsonSchema

from accounting.study.plugins import Kind
from accounting.words.plain_text import one_line
from harness.config.errors import nearest
from harness.config.route_files import section_class, words_in
from harness.config.routes import BudgetConfig, RoutesConfig, more_routes, with_keys
from harness.config.study import StudyConfig
from harness.errors import InputError

_Schema: TypeAlias = dict[str, Any]
"""A JSON Schema, or a part of one."""
STUDY = "study"
"""The name of the outermost section."""
_KINDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
_ANY = "any value"
_MANY = {"whole number": "whole numbers", "number": "numbers", "text": "texts", "section": "sections", _ANY: "values"}
_FORMATS = {"target": "MACs or a share of the parent's", "hours": "time"}


@dataclass(frozen=True)
class Key:
    """One key of a section: what may be written there, in words. ``default`` is empty if there is none."""

    name: str
    kind: str
    default: str
    span: str
    description: str
    is_required: bool


@dataclass(frozen=True)
class Section:
    """A section: its keys, and every place where it may be given, such as ``routes.prune``; the outermost is ``study``."""

    places: tuple[str, ...]
    description: str
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Further:
    """Routes of installed packages and of a user's own files: those whose keys can be shown, and why others cannot."""

    shown: tuple[str, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()
    """(route, why)."""


@cache
def json_schema() -> _Schema:
    """The JSON Schema of a study with the routes of the package, whatever files a study names; so it is remembered."""
    return _json_schema(StudyConfig)


def further_routes() -> Further:
    """The routes beyond the package's that a config may name now. Their files are executed."""
    shown, faults = [], []
    for name in more_routes(RoutesConfig):
        try:
            words_in(name)
            section_class(name).model_json_schema(schema_generator=_Untitled)
            shown.append(name)
        except (ValueError, PydanticUserError) as error:
            faults.append((name, one_line(error)))
    return Further(tuple(shown), tuple(faults))


def sections(further: Further = Further()) -> list[Section]:
    """Every section, in the order of a config; a section that may be given at several places is listed once.

    ``further`` routes are included; one that cannot be shown has a section without keys.
    """
    document = _document(further.shown)
    places: dict[str, list[str]] = {}
    for place, name in _walk(document, "", STUDY):
        places.setdefault(name, []).append(place or STUDY)
    found = [_section(document, name, tuple(at)) for name, at in places.items()]
    return found + [Section((f"routes.{name}",), f"Cannot be shown: {why}", ()) for name, why in further.faults]


def find_section(place: str, further: Further = Further()) -> Section:
    """The section at a place, or a section of one key; ``InputError`` names the nearest place."""
    if (why := {f"routes.{name}": why for name, why in further.faults}.get(place)) is not None:
        raise InputError(f"list config {place}: {why}")
    found = {each: section for section in sections(further) for each in section.places}
    if place in found:
        return found[place]
    holder, _, name = place.rpartition(".")
    section = found.get(holder or STUDY)
    if section is not None and (keys := tuple(key for key in section.keys if key.name == name)):
        return Section((place,), "", keys)
    if section is not None and holder:  # by the last word: any two keys of a section begin alike
        near = nearest(name, [key.name for key in section.keys]).replace("'", f"'{holder}.", 1)
        shows = f"`prune-or-search list config {holder}`"
    else:
        near, shows = nearest(place, list(found)), "`prune-or-search list config`"
    raise InputError(f"list config: no section or key {place!r}{near}; {shows} shows all")


def section_name(model: type[BaseModel]) -> str:
    """The name of a section's class in the schema: ``Config`` of the route ``analysis`` is ``AnalysisConfig``."""
    title, home = model.model_config.get("title") or model.__name__, model.__module__
    return _named(home, title)


def _named(home: str, name: str) -> str:
    route = home.rpartition(".")[2].title().replace("_", "") if home.startswith(f"{Kind.ROUTE.package}.") else ""
    return route + name


class _Untitled(GenerateJsonSchema):
    """Writes no title for a field, as that would repeat its name."""

    def get_defs_ref(self, core_mode_ref: CoreModeRef) -> DefsRef:
        """Name a class ``Config`` after its route."""
        core_ref, mode = core_mode_ref
        path, mark, rest = core_ref.partition(":")
        home, _, name = path.rpartition(".")
        return super().get_defs_ref((CoreRef(f"{home}.{_named(home, name)}{mark}{rest}"), mode))

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def _json_schema(study: type[BaseModel]) -> _Schema:
    schema = _cleaned(study.model_json_schema(schema_generator=_Untitled))
    for name, section in schema["$defs"].items():
        section["title"] = name
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A study of prune-or-search", **schema}


def _document(more: Sequence[str]) -> _Schema:
    """The schema with ``more`` routes; what is not one of their sections is written where it is used."""
    if not more:
        return json_schema()
    described = {key: field.description for key, field in StudyConfig.model_fields.items()}
    routes, budget = with_keys(RoutesConfig, more), with_keys(BudgetConfig, more)
    study = create_model(
        "StudyConfig",
        __base__=StudyConfig,
        __doc__=StudyConfig.__doc__,
        routes=(routes, Field(description=described["routes"])),
        budget=(budget, Field(default_factory=budget, description=described["budget"])),
    )
    document = _json_schema(study)
    values = {f"#/$defs/{name}": value for name, value in document["$defs"].items() if "properties" not in value}
    return _inlined(document, values) if values else document


def _inlined(node: Any, values: _Schema) -> Any:
    """With the definition itself for each reference to one of ``values``."""
    if isinstance(node, list):
        return [_inlined(item, values) for item in node]
    if not isinstance(node, dict):
        return node
    rest = {key: _inlined(value, values) for key, value in node.items() if key != "$ref" or value not in values}
    return {**values[node["$ref"]], **rest} if node.get("$ref") in values else rest


def _cleaned(node: Any) -> Any:
    """A schema without null, and without defaults that say nothing."""
    if isinstance(node, list):
        return [_cleaned(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "anyOf" in node:
        options = [option for option in node["anyOf"] if option != {"type": "null"}]
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        node = {**rest, **(options[0] if len(options) == 1 else {"anyOf": options})}
    node = {key: _cleaned(value) for key, value in node.items() if value is not None}
    if node.get("default") in ({}, []):
        del node["default"]
    return node


def _target(prop: _Schema) -> str | None:
    """The name of the section under a property; None if the property is a value."""
    options = [prop, *prop.get("anyOf", ())]
    reference = next((option["$ref"] for option in options if "$ref" in option), None)
    return str(reference).rsplit("/", 1)[-1] if reference else None


def _object(document: _Schema, name: str) -> _Schema:
    found: _Schema = document if name == STUDY else document["$defs"][name]
    return found


def _walk(document: _Schema, place: str, name: str, within: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Each (place, section), but none within itself."""
    yield place, name
    for key, prop in _object(document, name)["properties"].items():
        if (target := _target(prop)) is not None and target not in (*within, name):
            yield from _walk(document, f"{place}.{key}" if place else key, target, (*within, name))


def _section(document: _Schema, name: str, places: tuple[str, ...]) -> Section:
    found = _object(document, name)
    required = found.get("required", [])
    keys = tuple(_key(document, key, prop, key in required) for key, prop in found["properties"].items())
    return Section(places, " ".join(found.get("description", "").split()), keys)


def _key(document: _Schema, name: str, prop: _Schema, is_required: bool) -> Key:
    default = prop.get("default")
    if (target := _target(prop)) is not None and isinstance(default, dict):  # what the section's own table does not say
        own = {each: field.get("default") for each, field in _object(document, target)["properties"].items()}
        default = {each: value for each, value in default.items() if value not in (own.get(each), {}, [])} or None
    default = "" if default is None else _words(default)
    return Key(name, _kind(prop), default, _span(prop), " ".join(prop.get("description", "").split()), is_required)


def _kind(prop: _Schema) -> str:
    if "$ref" in prop:
        return "section"
    if "anyOf" in prop:
        return " or ".join(_kind(option) for option in prop["anyOf"])
    if "const" in prop:
        return str(prop["const"])
    if "enum" in prop:
        return "one of " + ", ".join(map(str, prop["enum"]))
    if prop.get("format") in _FORMATS:
        return f"{_FORMATS[prop['format']]}, as {' or '.join(prop['examples'])}"
    if prop.get("type") == "array":
        kind = _kind(prop.get("items", {}))
        return f"list of {_MANY.get(kind, kind)}"
    if prop.get("type") == "object":
        return "names, with a value each"
    return _KINDS.get(prop.get("type", ""), _ANY)


def _span(prop: _Schema) -> str:
    """The range of a number or of a list's items, and how many items there may be."""
    parts = []
    for option in prop.get("anyOf", [prop]):
        number = option.get("items", option)
        low = [f"at least {number['minimum']:,}"] if "minimum" in number else []
        low += [f"above {number['exclusiveMinimum']:,}"] if "exclusiveMinimum" in number else []
        high = [f"at most {number['maximum']:,}"] if "maximum" in number else []
        high += [f"below {number['exclusiveMaximum']:,}"] if "exclusiveMaximum" in number else []
        parts.append(", ".join([*low, *high]))
        count = [f"at least {option['minItems']}"] if "minItems" in option else []
        count += [f"at most {option['maxItems']:,}"] if "maxItems" in option else []
        if count:
            parts.append(" and ".join(count) + " of them")
        if "maxLength" in option:
            parts.append(f"at most {option['maxLength']:,} characters")
    return "; ".join(dict.fromkeys(part for part in parts if part))


def _words(value: object) -> str:
    """A default as YAML has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_words(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_words, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
