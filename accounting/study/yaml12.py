"""Reads YAML by the rules of YAML 1.2, and gives the line of every key.

ruamel.yaml parses, and this module builds the values from its nodes. So all duplicate keys of a file are found at once,
an unknown tag runs nothing, and a small file cannot grow into a large value. By the core schema (YAML 1.2.2, section
10.3), ``yes`` and ``on`` are text, ``010`` is ten, ``1e-3`` is a number, and a date is text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node, ScalarNode, SequenceNode

MAX_LETTERS = 100_000
MAX_VALUES = 5_000
"""The most values in a text, which can be read in half a second; those of an alias count wherever it is used."""
MAX_WRITTEN_LETTERS = 10_000_000
MAX_WRITTEN_VALUES = 100_000
"""The most values in a file that this package wrote itself."""
MAX_DEPTH = 60
MAX_DIGITS = 400

Place = tuple[str | int, ...]
"""The keys and indices that lead to a value."""

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WRITTEN_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*|[0-9]+\.[0-9]*([eE][-+][0-9]+)?)|\.[0-9]+([eE][-+][0-9]+)?")
"""A number in YAML 1.1 and 1.2 alike."""
_A_TAB = "a tab, where only spaces may be; write spaces"
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_TEXT_TAG = "tag:yaml.org,2002:str"


class YamlProblem(ValueError):
    """Problems with a text: ``found`` has (line from 1, or None; what is wrong) for each of them."""

    def __init__(self, *found: tuple[int | None, str]) -> None:
        super().__init__("; ".join(f"line {line}: {what}" if line else what for line, what in found))
        self.found = found


@dataclass(frozen=True)
class Document:
    """One document: its value, and where each key or item was written, by place.

    That is a line (from 1) or, if the value comes from elsewhere, a description of its source.
    """

    value: object
    lines: Mapping[Place, int | str]


def read_yaml(text: str) -> list[Document]:
    """All documents of a text.

    Raises:
        YamlProblem: it is not YAML, has duplicate keys, unknown tags or circular aliases, or is too large.

    """
    return _documents(text, MAX_LETTERS, MAX_VALUES, _plain)


def read_one(text: str) -> object:
    """The value of a text with one document; None for an empty one. Raises YamlProblem."""
    return _only(read_yaml(text))


def read_written(text: str) -> object:
    """The value of a ``study.yaml``, of any version, as it was when written. Raises YamlProblem.

    Older versions wrote YAML 1.1, in which ``1e3``, ``0o7`` and ``09`` without quotes are texts.
    """
    return _only(_documents(text, MAX_WRITTEN_LETTERS, MAX_WRITTEN_VALUES, _plain_in_both))


def means_text(text: str) -> bool:
    """Whether a text is read as a text when it has no quotes."""
    return isinstance(_plain(text), str)


def _only(documents: list[Document]) -> object:
    if len(documents) > 1:
        raise YamlProblem((None, f"{len(documents)} documents, where one is expected"))
    return documents[0].value if documents else None


def _documents(text: str, max_letters: int, max_values: int, plain: Callable[[str], object]) -> list[Document]:
    if len(text) > max_letters:
        raise YamlProblem((None, f"{len(text):,} letters; at most {max_letters:,} are read"))
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True  # found below, all at once
    yaml.Composer = partial(_Composer, max_values)  # type: ignore[assignment]
    try:
        nodes = list(yaml.compose_all(text))
    except YamlProblem:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(str(error.problem or error.context).split())
        reason = _A_TAB if r"character '\t'" in reason else reason
        raise YamlProblem((mark.line + 1 if mark else None, f"not valid YAML: {reason}")) from None
    except YAMLError as error:
        raise YamlProblem((None, f"not valid YAML: {' '.join(str(error).split())}")) from None
    except (
        AssertionError,
        AttributeError,
        IndexError,
        TypeError,
        ValueError,
    ) as error:  # ruamel's, on an odd directive
        raise YamlProblem((None, f"not valid YAML: {' '.join(str(error).split()) or 'an unknown directive'}")) from None
    except RecursionError:
        raise YamlProblem((None, _TOO_DEEP)) from None
    return [_document(node, max_values, plain) for node in nodes]


class _Composer(Composer):
    """Stops at the first value beyond the limits on number and depth, before it looks at the rest of the text."""

    def __init__(self, max_values: int, loader: object = None) -> None:
        super().__init__(loader=loader)
        self._max_values, self._count = max_values, 0

    def compose_node(self, parent: object, index: object) -> object:
        """Compose one value with everything in it."""
        self._count += 1
        if self._count > self._max_values or self.depth > MAX_DEPTH:
            line = self.parser.peek_event().start_mark.line + 1
            raise YamlProblem((line, _too_many(self._max_values) if self.depth <= MAX_DEPTH else _TOO_DEEP))
        return super().compose_node(parent, index)


def _too_many(max_values: int) -> str:
    return f"more than {max_values:,} values, aliases counted wherever they are used"


def _document(node: Node | None, max_values: int, plain: Callable[[str], object]) -> Document:
    maker = _Maker(max_values, plain)
    value = None if node is None else maker.value(node, (), ())
    if maker.problems:
        raise YamlProblem(*sorted(maker.problems, key=lambda problem: problem[0] or 0))
    return Document(value, maker.lines)


@dataclass
class _Maker:
    """Builds values from nodes."""

    max_values: int
    plain: Callable[[str], object]
    """Gives the value of a text without quotes."""
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[tuple[int | None, str]] = field(default_factory=list)
    count: int = 0

    def value(self, node: Node, place: Place, above: tuple[int, ...]) -> object:
        line = node.start_mark.line + 1
        self.count += 1
        if self.count > self.max_values:
            raise YamlProblem((line, _too_many(self.max_values)))
        if len(above) > MAX_DEPTH:
            raise YamlProblem((line, _TOO_DEEP))
        if id(node) in above:
            raise YamlProblem((line, "an alias inside its own anchor"))
        self.lines.setdefault(place, line)
        if isinstance(node, ScalarNode):
            return self._scalar(node, line)
        if isinstance(node, SequenceNode):
            self._check_tag(node, line, "seq")
            return [self.value(item, (*place, i), (*above, id(node))) for i, item in enumerate(node.value)]
        self._check_tag(node, line, "map")
        return self._mapping(node, place, (*above, id(node)))

    def _mapping(self, node: Node, place: Place, above: tuple[int, ...]) -> dict[Hashable, object]:
        merged: dict[Hashable, object] = {}
        own: dict[Hashable, object] = {}
        first: dict[Hashable, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.value == "<<" and key_node.style is None:
                merged = self._merged(value_node, place, above) | merged
                continue
            key = self.value(key_node, (*place, "?"), above)
            if not isinstance(key, str | int | float | bool | None):
                self.problems.append((line, "a key that is itself a list or a mapping"))
                continue
            if key in first:
                self.problems.append(
                    (line, f"duplicate key {_joined(place, key)}, first on line {first[key]}; keep one")
                )
                continue
            first[key] = line
            self.lines[(*place, key if isinstance(key, int) else str(key))] = line
            own[key] = self.value(value_node, (*place, key if isinstance(key, int) else str(key)), above)
        return merged | own

    def _merged(self, node: Node, place: Place, above: tuple[int, ...]) -> dict[Hashable, object]:
        """What ``<<`` merges in: a mapping, or a list of mappings, of which the first has precedence."""
        value = self.value(node, (*place, "<<"), above)
        found: dict[Hashable, object] = {}
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, dict):
                self.problems.append((node.start_mark.line + 1, "<< takes a mapping, or a list of mappings"))
                return {}
            found = part | found
        return found

    def _scalar(self, node: ScalarNode, line: int) -> object:
        text = str(node.value)
        tag = _tag_of(node)
        if tag is not None and tag != _TEXT_TAG:
            self.problems.append((line, f"the tag {tag} is not known; leave it out"))
        if node.style is not None or tag == _TEXT_TAG:
            return text
        if len(text) > MAX_DIGITS and (_FLOAT.fullmatch(text) or _INT.fullmatch(text)):
            self.problems.append((line, f"a number of more than {MAX_DIGITS} digits"))
            return None
        return self.plain(text)

    def _check_tag(self, node: Node, line: int, expected: str) -> None:
        tag = _tag_of(node)
        if tag is not None and tag != f"tag:yaml.org,2002:{expected}":
            self.problems.append((line, f"the tag {tag} is not known; leave it out"))


def _tag_of(node: Node) -> str | None:
    """The tag written at a node; None if there is none."""
    written = getattr(node, "ctag", None)
    text = str(written) if written is not None else ""
    anonymous = not text or text == "None"
    if anonymous or getattr(written, "handle", None) is None:
        return None
    return str(node.tag)


def _plain(text: str) -> object:
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return math.nan if text[1].lower() == "n" and text[2].lower() == "a" else float(text.replace(".", ""))
    return text


def _plain_in_both(text: str) -> object:
    """Like :func:`_plain`, but a number must also be one in YAML 1.1; otherwise it stays a text."""
    value = _plain(text)
    is_written = not isinstance(value, int | float) or isinstance(value, bool) or _WRITTEN_NUMBER.fullmatch(text)
    return value if is_written or _INFINITE.fullmatch(text) else text


def _joined(place: Place, key: object) -> str:
    return repr(".".join(map(str, (*place, key))))
