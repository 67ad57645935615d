"""The content of ``study.yaml``: a config that ``run`` can read again, and under ``facts`` what else held for it.

This module alone reads and writes the file. Older versions had the config under ``study``, with the facts next to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, cast

from accounting.study.yaml12 import read_written
from accounting.study.yaml_writer import write_yaml
from accounting.words.json_values import ChangedKey
from accounting.words.methods import ONE_SHOT, parse_method
from accounting.words.names import (
    CHALLENGERS,
    PRUNE,
    SEARCH,
    Role,
    RouteWords,
    Unit,
    parse_device_hours,
    route_of,
    route_rank,
)
from accounting.words.plain_text import plain_values
from accounting.words.quantities import parse_hours
from accounting.words.task import CLASSIFICATION, TaskWords

FACTS = "facts"
"""The key of a config that ``run`` ignores."""
OLD_CONFIG = "study"
DEFAULT_MARGIN = 0.01
"""The margin of studies that declare none: one point of accuracy."""
REHEARSAL = "rehearsal: not a measurement"
"""Shown wherever a rehearsal is shown."""


class NotAStudyFile(ValueError):
    """A YAML file that no run has written. The message is one line: what was given, and what is expected."""


class DataFacts(TypedDict, total=False):
    """The data: its fingerprint, and counts, of which old files have fewer."""

    fingerprint: str
    num_train: int
    num_val: int
    num_test: int
    num_classes: int
    notes: list[str]
    """Remarks made about the data before anything was paid for: unused files, images in two splits."""


class SearchedTargets(TypedDict):
    """The targets that a search started with, and those added later."""

    first: list[int]
    added: list[int]


class KeptPlugin(TypedDict):
    """A file of the user's own that the study was started with."""

    name: str
    sha256: str


class KeptFacts(TypedDict, total=False):
    """What a ``study.yaml`` stores besides the config; old ones lack some of it, and may have null."""

    spaces: dict[str, object]
    """Contents of the files of search spaces, by path."""
    searched: dict[str, SearchedTargets]
    """What was searched, by route."""
    plugins: list[KeptPlugin]
    outside_routes: dict[str, str]
    """The role of each route that comes from a file outside the package."""
    routes: dict[str, dict[str, object]]
    """What each route is called (:class:`accounting.words.names.RouteWords`), according to its file."""
    first_methods: dict[str, str]
    """By route that prunes, the first method of its section; older studies only have the config."""
    data: DataFacts | None
    checkpoint_sha256: str | None
    teachers_sha256: dict[str, str]
    """Hashes of teachers that are files, by path."""
    task: dict[str, str | float | None]
    """What its quality is called (:class:`accounting.words.task.TaskWords`); older studies are of classification."""
    environment: dict[str, object]
    rehearsal: list[ChangedKey]
    """What a rehearsal changed in the config that it was given; present in rehearsals only."""


@dataclass(frozen=True)
class StudyDocument:
    """A whole ``study.yaml``: the resolved config, and the facts (spaces, data, environment …) by name."""

    config: dict[str, object]
    facts: KeptFacts

    @classmethod
    def read(cls, path: Path) -> StudyDocument:
        """The document in a file, of any version.

        Raises:
            OSError, UnicodeDecodeError, YamlProblem: it cannot be read.
            NotAStudyFile: it is not the ``study.yaml`` of a run.

        """
        raw = read_written(path.read_text(encoding="utf-8"))
        document = raw if isinstance(raw, dict) else {}
        if isinstance(config := document.get(OLD_CONFIG), dict):
            del document[OLD_CONFIG]
            return cls(config, cast(KeptFacts, document))
        if not isinstance(facts := document.get(FACTS), dict):
            raise NotAStudyFile(f"{path} has no `{FACTS}:` section; is it a config and not the study.yaml of a run?")
        del document[FACTS]
        return cls(document, cast(KeptFacts, facts))

    def text(self) -> str:
        """The document as YAML."""
        return write_yaml({**self.config, FACTS: self.facts})

    def plain(self) -> StudyDocument:
        """The same document with every text safe to show."""
        return StudyDocument(plain_values(self.config), plain_values(self.facts))


@dataclass(frozen=True)
class DeclaredParent:
    """The declared cost of a published parent; this program has measured none of it.

    ``hours`` are device-hours of ``unit``; ``text`` and ``source`` are as written in the config.
    """

    hours: float
    unit: Unit
    text: str
    source: str

    def as_dict(self) -> dict[str, str | float]:
        """The same as a dictionary for JSON."""
        return {"hours": self.hours, "unit": self.unit.value, "text": self.text, "source": self.source}


@dataclass(frozen=True)
class StudyFacts:
    """What readers of a study need to know about it.

    ``targets`` are MACs, ascending; ``is_by_latency``: they were derived from latencies. ``routes`` are those
    configured. ``budget_h`` are device-hours per replicate, by route, for routes with a budget. ``num_classes`` is None
    if the file does not say.
    """

    name: str
    dataset: str
    targets: tuple[int, ...]
    replicates: int
    routes: tuple[str, ...]
    budget_h: dict[str, float]
    is_by_latency: bool = False
    num_classes: int | None = None
    challengers: tuple[str, ...] = CHALLENGERS
    """Routes that are compared with pruning besides search, if the study has them; plug-ins of that role come last."""
    pair: tuple[str, str] = (PRUNE, SEARCH)
    """The contenders of the headline, as declared: pruning, and what it is compared with."""
    margin: float = DEFAULT_MARGIN
    """How far below the lower of the two median final accuracies costs are compared, as a fraction."""
    first_methods: dict[str, str] = field(default_factory=dict)
    """By route that prunes, the first method of its section."""
    epochs: dict[str, int] = field(default_factory=dict)
    """Epochs of each phase that trains a network in full, by the dotted key of the config."""
    declared_parent: DeclaredParent | None = None
    """What the parent is declared to have cost; in comparisons of costs it replaces the parent's pretraining."""
    words: dict[str, RouteWords] = field(default_factory=dict)
    """What the routes are called, if the file says; for old files, :mod:`accounting.words.names` has a table."""
    task: TaskWords = CLASSIFICATION
    """What its networks do, and the words for their quality."""
    rehearsal: tuple[ChangedKey, ...] | None = None
    """What a rehearsal changed in the config that it was given; None if the study is not a rehearsal."""

    @property
    def listed_pair(self) -> tuple[str, ...]:
        """The pair in the order in which contenders are listed: search before pruning, another challenger after it."""
        return tuple(sorted(self.pair, key=lambda label: route_rank(route_of(label))))

    @property
    def num_targets(self) -> int:
        """How many targets share what is spent on all of them."""
        return len(self.targets)

    @classmethod
    def of(cls, document: StudyDocument, path: Path) -> StudyFacts:
        """The facts in a document; ``path`` is the file that it was read from.

        Raises:
            NotAStudyFile: targets or replicates are not what a run writes.

        """
        config = document.config
        targets = config.get("targets")
        if not isinstance(targets, list) or not targets or not all(type(target) is int for target in targets):
            raise NotAStudyFile(f"{path}: targets is {targets!r}; expected a list of MACs as integers")
        replicates = config.get("replicates", 1)
        if type(replicates) is not int or replicates < 1:
            raise NotAStudyFile(f"{path}: replicates is {replicates!r}; expected an integer of at least 1")
        verdict, routes = _mapping(config.get("verdict")), _mapping(config.get("routes"))
        dataset, data = config.get("dataset"), _mapping(document.facts.get("data"))
        named = dataset.get("name") if isinstance(dataset, Mapping) else dataset
        said = _mapping(document.facts.get("routes"))
        words = {str(name): RouteWords.read(str(name), of_it) for name, of_it in said.items()}
        return cls(
            name=str(config.get("name", path.parent.name)),
            dataset=str(named or "unknown"),
            targets=tuple(sorted(targets)),
            replicates=replicates,
            routes=tuple(name for name, section in routes.items() if section is not None),
            budget_h=_budget_h(_mapping(config.get("budget"))),
            is_by_latency=config.get("target") is not None,
            num_classes=_num_classes(data.get("num_classes")),
            challengers=_challengers(words, document.facts.get("outside_routes")),
            pair=_pair(verdict.get("pair")),
            margin=_share(verdict.get("margin")),
            first_methods=_kept_methods(document.facts.get("first_methods")) or _first_methods(routes),
            epochs=_epochs(config),
            declared_parent=_declared(_mapping(config.get("parent")), path),
            words=words,
            task=TaskWords.read(document.facts.get("task")),
            rehearsal=_rehearsal(document.facts),
        )


def _rehearsal(facts: KeptFacts) -> tuple[ChangedKey, ...] | None:
    said = facts.get("rehearsal")
    return tuple(change for change in said if isinstance(change, Mapping)) if isinstance(said, list) else None


def _epochs(section: Mapping[str, object], prefix: str = "") -> dict[str, int]:
    """Every ``epochs`` above 0 in a config, except those of candidates, which are only partly trained."""
    found: dict[str, int] = {}
    for key, value in section.items():
        if isinstance(value, Mapping) and key != "candidate":
            found |= _epochs(value, f"{prefix}{key}.")
        elif key == "epochs" and type(value) is int and value > 0:
            found[f"{prefix}{key}"] = value
    return found


def _declared(parent: Mapping[str, object], path: Path) -> DeclaredParent | None:
    said, source = parent.get("declared_cost"), parent.get("source")
    if said is None:
        return None
    try:
        hours, unit = parse_device_hours(str(said))
    except ValueError as error:
        raise NotAStudyFile(f"{path}: parent.declared_cost: {error}") from None
    return DeclaredParent(hours, unit, str(said), str(source or "no source given"))


def _challengers(words: Mapping[str, RouteWords], outside: object) -> tuple[str, ...]:
    """The challengers of the table, then others that the study declares; old studies declare only outside routes."""
    said = [str(name) for name, role in _mapping(outside).items() if role == Role.CHALLENGER]
    said += sorted((n for n, w in words.items() if w.role is Role.CHALLENGER), key=lambda n: (words[n].rank, n))
    return tuple(dict.fromkeys((*CHALLENGERS, *said)))


def _pair(said: object) -> tuple[str, str]:
    if isinstance(said, list) and len(said) == 2 and all(isinstance(name, str) for name in said):
        return said[0], said[1]
    return PRUNE, SEARCH


def _share(said: object) -> float:
    if isinstance(said, (int, float)) and not isinstance(said, bool) and 0 <= said <= 1:
        return float(said)
    return DEFAULT_MARGIN


def _kept_methods(said: object) -> dict[str, str]:
    return {str(route): str(method) for route, method in _mapping(said).items()}


def _first_methods(routes: Mapping[str, object]) -> dict[str, str]:
    """The same for older studies: of the two routes that could prune, of which one may use the other's section."""
    found = {}
    for route, section in (
        (PRUNE, _mapping(routes.get(PRUNE))),
        ("search_then_prune", _mapping(_mapping(routes.get("search_then_prune")).get("prune") or routes.get("prune"))),
    ):
        named, schedule = section.get("criterion"), section.get("schedule", ONE_SHOT)
        first = named[0] if isinstance(named, list) and named else named
        if isinstance(first, str):
            found[route] = str(parse_method(first, str(schedule)))
    return found


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _num_classes(said: object) -> int | None:
    return said if isinstance(said, int) and not isinstance(said, bool) and said >= 2 else None


def _budget_h(budget: Mapping[str, object]) -> dict[str, float]:
    """Budgets in hours; older versions wrote numbers of hours, and before that keys that ended in ``_h``."""
    found: dict[str, float] = {}
    for route, value in budget.items():
        if isinstance(value, str):
            found[str(route)] = parse_hours(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[str(route).removesuffix("_h")] = float(value)
    return found
