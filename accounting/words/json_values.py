"""Types of the values that JSON can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypedDict

if TYPE_CHECKING:
    Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
else:
    Json = object  # at run time, the name inside the alias would be looked up in whatever module uses the alias
Fields: TypeAlias = Mapping[str, Json]


class ChangedKey(TypedDict):
    """A key of the config, with dots, and its values before and after."""

    key: str
    old: Json
    new: Json


def changed_text(change: ChangedKey) -> str:
    """``recipe.epochs: 400 -> 2``; ``none`` stands for a value that is absent."""
    old, new = (_shown(change.get(side)) for side in ("old", "new"))
    return f"{change.get('key')}: {old} -> {new}"


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
