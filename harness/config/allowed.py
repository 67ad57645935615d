"""What a key may have, in words, from the kind of error that a value gave."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import ErrorDetails

from harness.config.section import LABEL_PATTERN, NAME_PATTERN

_SECTION = "a section of keys with values"
_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list, as [a, b]",
    "dict_type": _SECTION,
    "model_type": _SECTION,
    "model_attributes_type": _SECTION,
}
_PATTERNS = {
    NAME_PATTERN: "letters, digits, '.', '_' and '-', with a letter or digit first and no '.' last",
    LABEL_PATTERN: "a letter, then letters, digits, '.', '_' and '-'",
}
UNION_PARTS = frozenset({"bool", "int", "float", "str", "[key]"})
"""Names of the kinds that a value may have, which are given as if they were keys."""


def is_kind(part: int | str) -> bool:
    """Whether a part of an error's place may name a kind of value, or a mapping's key, and not what is in it."""
    return part in UNION_PARTS or (isinstance(part, str) and part.startswith(("list[", "dict[", "literal[")))


def allowed(error: ErrorDetails) -> str | None:
    """What is allowed at the error's key; None if its message says that."""
    facts: Mapping[str, object] = error.get("ctx", {})
    match error["type"]:
        case "greater_than":
            return f"more than {_number(facts['gt'])}"
        case "greater_than_equal":
            return f"{_number(facts['ge'])} or more"
        case "less_than":
            return f"less than {_number(facts['lt'])}"
        case "less_than_equal":
            return f"{_number(facts['le'])} or less"
        case "literal_error":
            return str(facts["expected"])
        case "string_pattern_mismatch":
            return _PATTERNS.get(str(facts["pattern"]))
        case "string_too_short":
            return f"{facts['min_length']} or more characters"
        case "string_too_long":
            return f"{_number(facts['max_length'])} characters at most"
        case "too_short":
            return f"{facts['min_length']} or more entries"
        case "too_long":
            return f"{_number(facts['max_length'])} entries at most"
        case kind:
            return _KINDS.get(kind)


def _number(value: object) -> str:
    number = float(str(value))
    return f"{number:,.0f}" if number.is_integer() else f"{number:g}"
