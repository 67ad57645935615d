"""Which changes of its config a study accepts in its folder, and which it refuses.

A key is bound only by work that has been paid for: as soon as an attempt that depends on it has begun. Until then it
may be changed or reverted. Changes that only add jobs (replicates, targets, routes, criteria, controls, exports) or
affect none (the name, budgets, resources) are always accepted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accounting.ledger.records import Kind, Phase, Record
from accounting.words.json_values import Fields
from accounting.words.quantities import macs_text
from harness.config.recipe import RecipeOverride
from harness.config.route_section import RouteSection
from harness.config.study import StudyConfig
from harness.jobs.identity import JobId
from harness.stored.written import as_written

FREE = ("name", "export", "budget", "resources", "plugins", "verdict", "labels", "loggers", "store")
"""Sections whose changes affect no job that was done."""
READING_KEYS = ("dataset.download", "dataset.num_workers")
"""Keys that only say how data is read."""
DECLARED_KEYS = ("parent.declared_cost", "parent.source")
"""The declared cost of the parent and its source; it is charged when a report is made, and spent by no job."""
PLACE_KEYS = ("dataset.path", "parent.checkpoint")
"""Keys that say where something is; :mod:`harness.stored.content` checks whether its content is the same."""


@dataclass(frozen=True)
class Change:
    """One key of the config, with its value in ``study.yaml`` and the one given now; None means that it is left out."""

    key: str
    old: Any
    new: Any

    def as_dict(self) -> Fields:
        """In the form of the ledger's ``study_extended``."""
        return {"key": self.key, "old": self.old, "new": self.new}


@dataclass(frozen=True)
class Paid:
    """The attempts that have begun, from the ledger's ``attempt_started``."""

    attempts: tuple[Record, ...]

    @staticmethod
    def of(records: Iterable[Record]) -> Paid:
        """From the records of a ledger."""
        return Paid(tuple(record for record in records if record["kind"] == Kind.ATTEMPT_STARTED))

    @property
    def anything(self) -> bool:
        """Whether any attempt has begun."""
        return bool(self.attempts)

    def route(self, name: str, *phases: Phase) -> bool:
        """Whether an attempt of a route has begun, in one of ``phases`` if any are given."""
        return any(a["route"] == name and (not phases or a["phase"] in phases) for a in self.attempts)

    def target(self, macs: int) -> bool:
        """Whether an attempt for this target alone has begun."""
        return any(a["target"] == macs for a in self.attempts)

    @property
    def num_replicates(self) -> int:
        """One more than the highest replicate that has begun; 0 if none has."""
        return max((int(a["replicate"]) + 1 for a in self.attempts), default=0)

    def by(self, route: str) -> BegunBy:
        """The attempts of one route."""
        return BegunBy(route, tuple(attempt for attempt in self.attempts if attempt["route"] == route))


@dataclass(frozen=True)
class BegunBy:
    """The attempts of one route that have begun; see :class:`harness.config.begun.Begun`."""

    route: str
    attempts: tuple[Record, ...]

    def phase(self, *phases: Phase) -> bool:
        """See :class:`harness.config.begun.Begun`."""
        return any(attempt["phase"] in phases for attempt in self.attempts)

    def steps(self, phase: Phase) -> frozenset[str]:
        """See :class:`harness.config.begun.Begun`."""
        return frozenset(
            JobId.named(a["job"], self.route, a["replicate"], a["target"]).step
            for a in self.attempts
            if a["phase"] == phase
        )

    def methods(self) -> frozenset[str]:
        """See :class:`harness.config.begun.Begun`."""
        rules = [a["spec"].get("prune") for a in self.attempts if isinstance(a["spec"], dict)]
        return frozenset(str(rule["method"]) for rule in rules if isinstance(rule, dict) and "method" in rule)


def changes_between(held: StudyConfig, given: StudyConfig) -> list[Change]:
    """Every key whose value differs; a route or section that only one of the configs has is one change.

    Criteria are compared as a set, and a phase's recipe by its values after the study's recipe has filled it in.
    """
    old, new = _comparable(held), _comparable(given)
    found = []
    for route in dict.fromkeys([*old["routes"], *new["routes"]]):
        before, after = old["routes"].get(route), new["routes"].get(route)
        if (before is None) != (after is None):
            found.append(Change(f"routes.{route}", before, after))
            old["routes"][route] = new["routes"][route] = None
    found += _differences("", old, new)
    return [change for change in found if not _is_said_only(change.key, held, given)]


def refusals(
    changes: Sequence[Change], held: StudyConfig, paid: Paid, places: Collection[str] = PLACE_KEYS
) -> list[str]:
    """One line for each change of the ``held`` config that is refused, with the old and new values and what to do.

    ``places`` are the keys whose content will be compared.
    """
    moved = [c for c in changes if c.key in places and (c.key not in PLACE_KEYS or (c.old and c.new))]
    sections = held.routes.resolved.powers
    lines = (_refusal(change, sections, paid) for change in changes if change not in moved)
    return [f"{line}, or start another study with --out" for line in lines if line is not None]


def listed(lines: Sequence[str]) -> str:
    """One difference per line; several end with full stops, since a terminal may show them on one line."""
    return lines[0] if len(lines) == 1 else "\n".join(f"{line}." for line in lines)


def merged(held: StudyConfig, given: StudyConfig) -> StudyConfig:
    """``given`` with its criteria in the order in which they were added, since controls use the first one's structure.

    Raises:
        ValidationError: the config is invalid in this order.

    """
    ordered = {}
    for name, new in given.routes.prunings.items():
        old, section = held.routes.prunings.get(name), given.routes.powers[name]
        if old is None or section.part(section.PRUNING) is None:
            continue  # new, or the section of another route, which is handled there
        kept = [method for method in old.methods if method in new.methods]
        order = [*kept, *(method for method in new.methods if method not in kept)]
        if order != new.methods:
            ordered[name] = new.in_order(order)
    if not ordered:
        return given
    config = given.model_copy(update={"routes": given.routes.with_prunings(ordered)})
    StudyConfig.model_validate(as_written(config))
    return config  # not the validated copy, in which every key would count as given


def _comparable(config: StudyConfig) -> dict[str, Any]:
    """The config as nested values, with the searches and prunings that each route actually uses."""
    raw: dict[str, Any] = config.model_dump(mode="json")
    return raw | {"routes": raw["routes"] | {n: s.compared() for n, s in config.routes.resolved.powers.items()}}


def _differences(key: str, old: Any, new: Any) -> Iterator[Change]:
    """The differences by dotted key; a section that only one side has is one difference."""
    if isinstance(old, dict) and isinstance(new, dict):
        for inner in dict.fromkeys([*old, *new]):
            yield from _differences(f"{key}.{inner}" if key else str(inner), old.get(inner), new.get(inner))
    elif old != new:
        yield Change(key, old, new)


def _is_said_only(key: str, held: StudyConfig, given: StudyConfig) -> bool:
    """Whether a key of a phase's recipe was only added or removed, with the same resulting value."""
    *place, field = key.split(".")
    old, new = (_at(config, place) for config in (held, given))
    if field not in RecipeOverride.model_fields or not all(isinstance(each, RecipeOverride) for each in (old, new)):
        return False
    return bool(getattr(old.over(held.recipe), field) == getattr(new.over(given.recipe), field))


def _at(config: StudyConfig, place: Sequence[str]) -> Any:
    """The section at a place; None if there is none."""
    found: object = config
    if place[:1] == ["routes"]:
        found, place = config.routes.resolved.powers.get("".join(place[1:2])), place[2:]
    for name in place:
        found = getattr(found, name, None)
    return found


def _refusal(change: Change, sections: Mapping[str, RouteSection], paid: Paid) -> str | None:
    key, top = change.key, change.key.partition(".")[0]
    if top in FREE or key in (*READING_KEYS, *DECLARED_KEYS):
        return None
    if key == "replicates":
        return _fewer_replicates(change, paid)
    if key == "targets":
        lost = [target for target in change.old if target not in change.new and paid.target(target)]
        return _left_out(key, [f"{macs_text(target)} MACs" for target in lost])
    if key == "target.latency_ms" and change.old and change.new:
        return None  # the targets in MACs are compared instead
    if top == "routes":
        return _route_refusal(change, sections, paid)
    if key in PLACE_KEYS and change.old and change.new and paid.anything:
        return f"{_changed(change)} for one run, after which the study knows what was there"
    return _changed(change) if paid.anything else None


def _route_refusal(change: Change, sections: Mapping[str, RouteSection], paid: Paid) -> str | None:
    _, route, *rest = change.key.split(".")
    if not paid.route(route):
        return None
    if not rest:
        return _left_out("routes", [route])
    key, begun = ".".join(rest), paid.by(route)
    section = sections.get(route)
    if section is None:
        return _changed(change)
    lost = section.lost(key, change.old, change.new, begun)
    if lost is not None:
        return _left_out(change.key, lost)
    is_bound = section.is_bound(key, change.old, begun)
    return _changed(change) if is_bound or _is_bound_by_others(route, key, sections, paid) else None


def _is_bound_by_others(route: str, key: str, sections: Mapping[str, RouteSection], paid: Paid) -> bool:
    return any(section.binds_elsewhere(route, key, paid.by(name)) for name, section in sections.items())


def _fewer_replicates(change: Change, paid: Paid) -> str | None:
    if change.new >= min(change.old, paid.num_replicates):
        return None
    return (
        f"replicates: {change.old} in the study, {change.new} given, and replicate {paid.num_replicates - 1} (from 0) "
        f"was begun; name at least {paid.num_replicates}"
    )


def _left_out(key: str, lost: Sequence[str]) -> str | None:
    if not lost:
        return None
    kept = "it" if len(lost) == 1 else "them"
    return f"{key}: {', '.join(sorted(lost))} left out, for which attempts were paid; keep {kept}"


def _changed(change: Change) -> str:
    old, new = _shown(change.old), _shown(change.new)
    return f"{change.key}: {old} in the study, {new} given; keep {old}"


def _shown(value: object) -> str:
    if value is None:
        return "none"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
