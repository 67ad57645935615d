"""Settings of studies that no other aspect tells: the keys of their configs that differ, and their own plug-in files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from accounting.study.facts import StudyDocument
from reports.side_by_side.values import Agreement, Aspect, OwnKey

ELSEWHERE = frozenset(
    {
        "name", "seed", "replicates", "targets", "target", "labels", "loggers", "plugins", "verdict", "export",
        "dataset.name", "dataset.path", "parent.family", "parent.variant", "parent.timm", "parent.pretrained",
        "parent.checkpoint", "parent.declared_cost", "parent.source", "resources.device", "resources.device_kind",
        "resources.equivalent",
    }
)  # fmt: skip
"""Keys that other aspects tell, or that change no network and no cost of one."""
ENDS_ELSEWHERE = ("epochs", "criterion", "space", "strategy.name", "strategy.num_trials")
"""Ends of keys that other aspects tell."""
MOST_SHOWN = 12
"""Most keys that are named."""
NO_DIFFERENCE = "the same in all"
ABSENT, NONE = "not on record", "none"


def settings(documents: Sequence[StudyDocument]) -> Aspect:
    """Whether all other settings agree. A key that some study does not have, since an older version wrote it, is unknown.

    A route that some study does not have is left out: it changes nothing of what the others cost.
    """
    flat = [dict(_settings(document)) for document in documents]
    common = {None, *_common_routes(documents)}
    keys = sorted({key for one in flat for key in one if _route_of(key) in common})
    for one in flat:
        one.update({key: NONE for key in keys if key.startswith("budget.") and key not in one})
    differing = [key for key in keys if len({one.get(key, ABSENT) for one in flat}) > 1]
    known = [key for key in differing if all(key in one for one in flat)]
    agreement = Agreement.DIFFERENT if known else Agreement.UNKNOWN if differing else Agreement.SAME
    return Aspect(OwnKey.SETTINGS, tuple(_text(one, [*known, *_without(differing, known)]) for one in flat), agreement)


def _route_of(key: str) -> str | None:
    """The route to whose section a key belongs."""
    section, _, rest = key.partition(".")
    return rest.partition(".")[0] if section == "routes" else None


def _common_routes(documents: Sequence[StudyDocument]) -> set[str]:
    routes = [document.config.get("routes") for document in documents]
    each = [
        {str(name) for name, section in one.items() if isinstance(section, Mapping)}
        for one in routes
        if isinstance(one, Mapping)
    ]
    return set.intersection(*each) if len(each) == len(documents) else set()


def _without(keys: Sequence[str], others: Sequence[str]) -> list[str]:
    return [key for key in keys if key not in others]


def _text(found: Mapping[str, str], keys: Sequence[str]) -> str:
    shown = [f"{key}: {found.get(key, ABSENT)}" for key in keys[:MOST_SHOWN]]
    more = len(keys) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])]) or NO_DIFFERENCE


def _settings(document: StudyDocument) -> Iterator[tuple[str, str]]:
    for key, value in document.config.items():
        yield from _flat(str(key), value)
    for plugin in document.facts.get("plugins") or []:
        yield f"plug-in {plugin['name']}", str(plugin["sha256"])[:12]


def _flat(key: str, value: object) -> Iterator[tuple[str, str]]:
    """The settings below a key, with dots."""
    if key in ELSEWHERE or key.endswith(tuple(f".{end}" for end in ENDS_ELSEWHERE)):
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}", inner)
    else:
        yield key, NONE if value is None else value if isinstance(value, str) else json.dumps(value, sort_keys=True)
