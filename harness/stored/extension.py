"""What a study may become in the folder that it has: which changes of its config are taken, and which are refused.

What was paid for binds, and nothing else does. A key of the config is bound as soon as an attempt was begun that hangs
on it; until then it may be changed or taken back. What only adds jobs (replicates, targets, routes, criteria, controls,
exports) or changes none (the name, budgets, resources) is always taken.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from accounting.ledger.records import Kind, Phase, Record
from accounting.words.methods import Method
from harness.config.routes import PruneConfig, RoutesConfig
from harness.config.study import StudyConfig
from harness.routes.scratch import STRUCTURES, structure_control
from harness.stored.written import as_written
from pruning.methods import checked_method

FREE = ("name", "export", "budget", "resources", "plugins", "verdict", "labels")
"""Sections that change no job that was done."""
READING_KEYS = ("dataset.download", "dataset.num_workers")
"""How data is read."""
DECLARED_KEYS = ("parent.declared_cost", "parent.source")
"""What somebody says that the parent cost; charged when a report is made, and spent by no job."""
PLACE_KEYS = ("dataset.path", "parent.checkpoint")
"""Where something is; whether its content is the same is seen by :mod:`harness.stored.content`."""
CONTROLS = ("family", *STRUCTURES)
"""Switches of the route ``scratch``."""


@dataclass(frozen=True)
class Change:
    """One key of the config with its value in ``study.yaml`` and the one given now; None: the section is left out."""

    key: str
    old: Any
    new: Any

    def as_dict(self) -> dict[str, Any]:
        """As the ledger's ``study_extended`` holds it."""
        return {"key": self.key, "old": self.old, "new": self.new}


@dataclass(frozen=True)
class Paid:
    """What attempts were begun for, from the ledger's ``attempt_started``."""

    attempts: tuple[Record, ...]

    @staticmethod
    def of(records: Iterable[Record]) -> Paid:
        """Read from the records of a ledger."""
        return Paid(tuple(record for record in records if record["kind"] == Kind.ATTEMPT_STARTED))

    @property
    def anything(self) -> bool:
        """Whether any attempt was begun."""
        return bool(self.attempts)

    def route(self, name: str, *phases: Phase) -> bool:
        """Whether one was begun for a route, in one of ``phases`` where some are given."""
        return any(a["route"] == name and (not phases or a["phase"] in phases) for a in self.attempts)

    def target(self, macs: int) -> bool:
        """Whether one was begun for this target alone."""
        return any(a["target"] == macs for a in self.attempts)

    @property
    def num_replicates(self) -> int:
        """One more than the highest replicate that was begun; 0 where none was."""
        return max((int(a["replicate"]) + 1 for a in self.attempts), default=0)

    def methods(self, route: str) -> set[str]:
        """Pruning methods that were begun by a route."""
        rules = [a["spec"].get("prune") for a in self.attempts if a["route"] == route and isinstance(a["spec"], dict)]
        return {str(rule["method"]) for rule in rules if isinstance(rule, dict) and "method" in rule}

    def control(self, switch: str) -> bool:
        """Whether the controls of a switch of ``scratch`` were begun."""
        trained = [a for a in self.attempts if a["route"] == "scratch" and a["phase"] == Phase.RETRAIN]
        if switch == "family":
            return any(a["spec"].get("structure_from") is None for a in trained if isinstance(a["spec"], dict))
        kind = STRUCTURES[switch]
        return any(a["job"] == str(structure_control(kind, a["replicate"], a["target"])) for a in trained)


def changes_between(held: StudyConfig, given: StudyConfig) -> list[Change]:
    """Every key whose value differs; a route that only one of them has is one change. Criteria are compared as a set."""
    old, new = _comparable(held), _comparable(given)
    found = []
    for route in dict.fromkeys([*old["routes"], *new["routes"]]):
        before, after = old["routes"].get(route), new["routes"].get(route)
        if (before is None) != (after is None):
            found.append(Change(f"routes.{route}", before, after))
            old["routes"][route] = new["routes"][route] = None
    flat_old, flat_new = _flat("", old), _flat("", new)
    keys = dict.fromkeys([*flat_old, *flat_new])
    return found + [
        Change(k, flat_old.get(k), flat_new.get(k)) for k in keys if flat_old.get(k) != flat_new.get(k)
    ]  # fmt: skip


def refusals(changes: Sequence[Change], paid: Paid, places: Collection[str] = PLACE_KEYS) -> list[str]:
    """One line for each change that cannot be taken, with old and new value and the way out.

    ``places`` are the keys that lead to a content that will be compared.
    """
    moved = [c for c in changes if c.key in places and (c.key not in PLACE_KEYS or (c.old and c.new))]
    lines = (_refusal(change, paid) for change in changes if change not in moved)
    return [f"{line}, or start another study with --out" for line in lines if line is not None]


def listed(lines: Sequence[str]) -> str:
    """One difference a line; sentences where there are several, since a terminal may show them in one line."""
    return lines[0] if len(lines) == 1 else "\n".join(f"{line}." for line in lines)


def merged(held: StudyConfig, given: StudyConfig) -> StudyConfig:
    """``given`` with criteria in the order in which they were added: the controls take the first one's structure.

    Raises ``ValidationError`` where the config cannot be in this order.
    """
    routes = given.routes
    for name in ("prune", "search_then_prune"):
        old, new = held.routes.prunings.get(name), given.routes.prunings.get(name)
        if old is None or new is None:
            continue
        kept = [method for method in old.methods if method in new.methods]
        order = [*kept, *(method for method in new.methods if method not in kept)]
        if order != new.methods:
            routes = _with_criteria(routes, name, new, order)
    if routes is given.routes:
        return given
    ordered = given.model_copy(update={"routes": routes})
    StudyConfig.model_validate(as_written(ordered))
    return ordered  # and not what was validated, in which every key would count as given


def _with_criteria(routes: RoutesConfig, name: str, section: PruneConfig, order: list[Method]) -> RoutesConfig:
    update = {"criterion": [str(method) for method in order], "schedule": "one_shot"}
    prune = section.model_copy(update=update)
    both = routes.search_then_prune
    if name == "prune":
        return routes.model_copy(update={"prune": prune})
    if both is None or both.prune is None:
        return routes  # the study's own prune section, which has its turn before
    return routes.model_copy(update={name: both.model_copy(update={"prune": prune})})


def _comparable(config: StudyConfig) -> dict[str, Any]:
    """The config as nested values, with the searches and prunings that each route really uses."""
    raw: dict[str, Any] = config.model_dump(mode="json")
    routes, searches, prunings = raw["routes"], config.routes.searches, config.routes.prunings
    if config.routes.prune is not None:
        routes["prune"] = _pruning(config.routes.prune)
    if config.routes.search_then_prune is not None:
        for key, found in (("search", searches), ("prune", prunings)):
            section = found.get("search_then_prune")
            shown = None if section is None else section.model_dump(mode="json")
            routes["search_then_prune"][key] = _pruning(section) if isinstance(section, PruneConfig) else shown
    return raw


def _pruning(section: PruneConfig) -> dict[str, Any]:
    raw = section.model_dump(mode="json")
    raw.pop("schedule")
    return raw | {"criterion": sorted(str(method) for method in section.methods)}


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    """Leaves by dotted key."""
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    return flat


def _refusal(change: Change, paid: Paid) -> str | None:
    key, top = change.key, change.key.partition(".")[0]
    if top in FREE or key in (*READING_KEYS, *DECLARED_KEYS):
        return None
    if key == "replicates":
        return _fewer_replicates(change, paid)
    if key == "targets":
        lost = [target for target in change.old if target not in change.new and paid.target(target)]
        return _left_out(key, [f"{target:,} MACs" for target in lost])
    if key == "target.latency_ms" and change.old and change.new:
        return None  # the targets in MACs that they stand for are compared
    if top == "routes":
        return _route_refusal(change, paid)
    if key in PLACE_KEYS and change.old and change.new and paid.anything:
        return f"{_changed(change)} for one run, after which the study knows what was there"
    return _changed(change) if paid.anything else None


def _route_refusal(change: Change, paid: Paid) -> str | None:
    _, route, *rest = change.key.split(".")
    if not paid.route(route):
        return None
    if not rest:
        return _left_out("routes", [route])
    if route == "scratch" and rest[0] in CONTROLS:
        return _changed(change) if change.old and paid.control(rest[0]) else None
    if route == "prune" or rest[0] == "prune":
        return _pruning_refusal(change, paid, route, rest[0 if route == "prune" else 1])
    is_retrain = rest[0] == "retrain" or rest[:2] == ["search", "retrain"]
    return _changed(change) if not is_retrain or paid.route(route, Phase.RETRAIN) else None


def _pruning_refusal(change: Change, paid: Paid, route: str, field: str) -> str | None:
    """Of a section that prunes: only what a method that was begun uses is bound."""
    begun = [checked_method(name) for name in paid.methods(route)]
    if field == "criterion":
        return _left_out(change.key, [str(m) for m in begun if str(m) in change.old and str(m) not in change.new])
    is_used = {
        "deliver": False,
        "rounds": any(method.schedule == "iterative" for method in begun),
        "gradual_end": any(method.schedule == "gradual" for method in begun),
        "floor": any(not method.is_structured for method in begun),
        "channel_floor": any(method.is_structured for method in begun),
        "round_to": any(method.is_structured for method in begun),
        "finetune": paid.route(route, Phase.FINETUNE) or (route == "prune" and _takes_its_epochs(paid)),
    }
    return _changed(change) if is_used.get(field, bool(begun)) else None


def _takes_its_epochs(paid: Paid) -> bool:
    return any(paid.control(switch) for switch in CONTROLS if switch != "family")


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


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
