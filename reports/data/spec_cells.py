"""The specs of attempts as cells of a table: JSON with sorted keys, made from their lines in the ledger.

Most specs have the same fields in the same order. So the text of the values is put in the place where it belongs, instead
of parsing and writing each spec again, which would take most of the time of a table of many attempts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from accounting.cost.attempts import Attempt
from accounting.ledger.packed import PackedSpec

AS_JSON = json.JSONEncoder(default=str, sort_keys=True).encode
MOST_FORMS, MOST_KNOWN = 200, 10_000
"""Most forms and values that are kept, which bounds the memory."""
_FLAT = r'\[(?:[^\[\]{}"]|"[^"]*")*\]'
_ARRAY = rf'\[(?:[^\[\]{{}}"]|"[^"]*"|{_FLAT})*\]'
PARTS = re.compile(rf'((?:[\]{{}},]|"[^"]*":)*)({_ARRAY}|"[^"]*"|[^"\[\]{{}},]+|\[|\Z)')
"""Keys and brackets, then the value after them: an array of arrays at most, a word, or anything else up to a comma."""
MARK = re.compile(r'"\\u001f(\d+)"')


class SpecCells:
    """Writes specs as cells, and keeps what it learned of their forms."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str, ...], _Form | None] = {}
        self._known = _Known()

    def cells(self, attempts: Iterable[Attempt]) -> list[str | None]:
        """The specs of these attempts."""
        return [self._cell(attempt) for attempt in attempts]

    def _cell(self, attempt: Attempt) -> str | None:
        kept = vars(attempt)["spec"]
        if isinstance(kept, PackedSpec):
            return self.of_line(kept.line)
        return kept if kept is None or isinstance(kept, str) else AS_JSON(kept)

    def of_line(self, line: str) -> str:
        """The spec in a line of the ledger, which is printable ASCII without escapes."""
        structure, values = zip(*PARTS.findall(line), strict=True)
        form = self._forms.get(structure)
        if form is None and structure not in self._forms:
            form = self._learned(line, structure, values)
        if form is not None:
            try:
                return form.filled(values, self._known)
            except ValueError:  # a part that is not one value
                pass
        return _parsed(line)

    def _learned(self, line: str, structure: tuple[str, ...], values: tuple[str, ...]) -> _Form | None:
        if len(self._forms) >= MOST_FORMS:
            self._forms.clear()
        form = _form(structure, values)
        try:
            is_right = form is not None and form.filled(values, self._known) == _parsed(line)
        except ValueError:
            is_right = False
        self._forms[structure] = form if is_right else None
        return self._forms[structure]


class _Known(dict[str, str]):
    """Values as written in cells, by how they are written in the ledger; each is converted once while there is room."""

    def __missing__(self, value: str) -> str:
        if not value.isdecimal() or value[0] == "0":  # otherwise a whole number, which is written alike
            found = AS_JSON(json.loads(value))
            if len(self) < MOST_KNOWN:
                self[value] = found
            return found
        return value


@dataclass(frozen=True)
class _Form:
    """A spec's cell with gaps, and which value of the line each gap gets."""

    text: str
    places: Sequence[int]

    def filled(self, values: Sequence[str], known: _Known) -> str:
        """The cell; ``ValueError`` if a value is not JSON."""
        found = [values[place] for place in self.places]
        return self.text % tuple([value if value[0] == '"' else known[value] for value in found])


def _form(structure: Sequence[str], values: Sequence[str]) -> _Form | None:
    """The form of lines with these keys and brackets; None if there is none."""
    marked = "".join(
        f'{keys}"\\u001f{place}"' if value else keys
        for place, (keys, value) in enumerate(zip(structure, values, strict=True))
    )
    try:
        text = AS_JSON(json.loads(marked)["spec"])
    except (ValueError, KeyError, TypeError):
        return None
    pieces = MARK.split(text)
    return _Form("%s".join(piece.replace("%", "%%") for piece in pieces[::2]), [int(place) for place in pieces[1::2]])


def _parsed(line: str) -> str:
    return AS_JSON(json.loads(line)["spec"])
