"""The config in a study's folder: made absolute, written, read again, and compared before a study is resumed."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from accounting.ledger.index import lost_ledger, segments_in
from accounting.ledger.records import DeviceRecord, Kind, Planned, Record
from accounting.ledger.store import read_ledger
from accounting.study.facts import KeptFacts, NotAStudyFile, SearchedTargets, StudyDocument
from accounting.study.folder import StudyFolder
from accounting.study.plugins import in_use
from accounting.study.yaml12 import YamlProblem, read_one
from accounting.words.json_values import ChangedKey
from accounting.words.names import Unit, device_kind
from accounting.words.plain_text import one_line
from accounting.words.quantities import hours_text
from accounting.words.task import TaskWords
from harness.config.resources import ResourcesConfig
from harness.config.route_files import words_in
from harness.config.study import DatasetConfig, StudyConfig, parse_config
from harness.errors import InputError
from harness.gpu_models import KEY, models_in, models_text
from harness.models.build import checkpoint_path
from harness.models.checkpoint_file import PACKAGE
from harness.paths import replacing
from harness.routes.base import Searched
from harness.stored.content import Content
from harness.stored.extension import Change, Paid, changes_between, listed, merged, refusals
from harness.stored.plugin_files import as_documents, keep, places_kept, plugin_changes
from harness.stored.written import runnable

log = logging.getLogger(__name__)

LEFT_BY_SYSTEMS = ("lost+found", ".DS_Store", ".Spotlight-V100", ".Trashes", ".fseventsd", "Thumbs.db", "desktop.ini")
"""What file systems and desktops leave in a folder, such as the root of a new volume."""


@dataclass(frozen=True)
class Standing:
    """A config compared with the study in its folder: what to run, and what has changed.

    ``config`` is the given one, with criteria in the order in which they were added. ``changes`` are the differences
    from ``study.yaml``; a new study has none. ``planned`` is the study's first plan, and ``searched`` has the targets
    of each search.
    """

    config: StudyConfig
    is_new: bool
    changes: tuple[Change, ...]
    planned: Planned
    searched: dict[str, Searched]
    content: Content
    """The recorded content of the data and the checkpoint; empty until an attempt has begun."""
    is_begun: bool = False
    """Whether an attempt has begun."""
    device_kinds: frozenset[str] = frozenset()
    """The kinds of device that attempts have held."""
    gpu_models: frozenset[str] = frozenset()
    """The GPU models that they have held, if the ledger says so."""
    rehearsal: tuple[ChangedKey, ...] | None = None
    """What a rehearsal has changed in the config; None for a study that is not a rehearsal."""


def check_folder(config: StudyConfig, paths: StudyFolder, rehearsal: tuple[ChangedKey, ...] | None = None) -> Standing:
    """Check that ``paths`` is free for a new study, or has one that ``config`` continues or extends.

    A rehearsal (``rehearsal`` is what it has changed) continues only a rehearsal, and a study only a study.

    Raises:
        InputError: the folder cannot be used, or ``config`` does not fit its study (one line per refused difference).

    """
    for parent in (paths.root, *paths.root.parents):
        if parent.exists():
            if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
                raise InputError(f"{parent} is not a folder that can be written to; name another with --out")
            break
    if not paths.root.exists() or not any(p for p in paths.root.iterdir() if not _is_before_study(p, paths)):
        return Standing(config, True, (), planned_of(config), {}, Content(), rehearsal=rehearsal)
    if not paths.config.exists():
        raise InputError(f"{paths.root} has other files but no study; name another folder with --out")
    document = _document(paths)
    held, facts = config_in(document, paths), document.facts
    _check_kind(facts, rehearsal is not None, paths)
    if lost := lost_ledger(paths.ledger, begun=False):
        raise InputError(lost)
    ledger = read_ledger(paths.ledger)
    for finding in ledger.findings:
        log.warning("%s", finding.message)
    records = ledger.records
    paid = Paid.of(records)
    changes = _without_same_files(changes_between(held, config), facts)
    places = _content(facts).places
    lines = refusals(_without_moved(changes, facts, config), held, paid, places) + _changed_spaces(facts, config, paid)
    lines += _changed_rates(held, config, _gpu_models(records, paid))
    lines += plugin_changes(facts.get("plugins"), in_use()) if paid.anything else []
    if lines:
        raise InputError(f"{paths.root} holds a study with other values:\n" + listed(lines))
    try:
        config = merged(held, config)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"{paths.root}: criteria stay in the order in which they were added: {reason}") from None
    return Standing(
        config,
        False,
        tuple(changes),
        _planned_first(records) or planned_of(held) if paid.anything else planned_of(config),
        _searched(held, facts, config, paid),
        _content(facts) if paid.anything else Content(),
        paid.anything,
        _device_kinds(records, paid),
        _gpu_models(records, paid),
        rehearsal,
    )


def _check_kind(facts: KeptFacts, is_rehearsal: bool, paths: StudyFolder) -> None:
    """``InputError`` if a rehearsal would continue a study, or a study a rehearsal."""
    was = facts.get("rehearsal") is not None
    if was and not is_rehearsal:
        raise InputError(
            f"{paths.root} has a rehearsal, which a study cannot continue; give --rehearse, or another folder with --out"
        )
    if is_rehearsal and not was:
        raise InputError(
            f"{paths.root} has a study, which a rehearsal cannot continue; leave out --rehearse, or name another folder "
            "with --out"
        )


def _changed_rates(held: StudyConfig, given: StudyConfig, models: Collection[str]) -> list[str]:
    """One line for each change of what hours count as that would change those that were held, on these ``models``."""
    old, new = held.resources, given.resources
    lines = [
        f"resources.equivalent: {model} {_rate_text(old, model)} in the study, {_rate_text(new, model)} given, and hours "
        "were held on it; keep what is in the study, or start another study with --out"
        for model in sorted(models)
        if old.equivalent.get(model) != new.equivalent.get(model)
    ]
    if old.equivalent and models and old.device_kind != new.device_kind:
        lines.append(
            f"{KEY}: {old.device_kind!r} in the study, {new.device_kind!r} given, and hours were counted in those of the "
            "former; keep it, or start another study with --out"
        )
    return lines


def _rate_text(resources: ResourcesConfig, model: str) -> str:
    said = resources.equivalent.get(model)
    return "not declared" if said is None else ", ".join(f"{key} {value}" for key, value in said.items())


def check_devices(standing: Standing, capacity: Sequence[DeviceRecord], declared: Collection[str] = ()) -> None:
    """``InputError`` if a run would use another kind of device or GPU model, since hours of two are never added up.

    ``declared`` are the models whose hours the study declares to be equivalent, with their reference.
    """
    kinds = {str(device["device_kind"]) for device in capacity}
    if standing.device_kinds and not kinds <= standing.device_kinds:
        then, now = (
            " and ".join(Unit.of(device_kind(kind)).devices for kind in sorted(each))
            for each in (standing.device_kinds, kinds)
        )
        name = "cuda" if "cuda" in standing.device_kinds else "cpu"
        raise InputError(
            f"resources.device: the study has held {then}, this run would hold {now}, and hours of the two are never added "
            f"up; set it to {name} on a machine that has them, or start another study with --out"
        )

    models = set(models_in(capacity))
    if standing.gpu_models and not models <= standing.gpu_models and not models | standing.gpu_models <= set(declared):
        raise InputError(
            f"{KEY}: the study has held {models_text(sorted(standing.gpu_models))}, this run would hold "
            f"{models_text(sorted(models))}, and hours of two models are never added up; run it where there are those of "
            "before, or start another study with --out"
        )


def _gpu_models(records: Sequence[Record], paid: Paid) -> frozenset[str]:
    """The models of the GPUs that attempts held, as listed in the sessions' capacity; old ledgers have none."""
    names = {
        str(device["device"]): str(device.get("name", ""))
        for record in records
        if record["kind"] in (Kind.SESSION_OPENED, Kind.CAPACITY_CHANGED)
        for device in record["capacity"]
        if device["device_kind"] == "cuda"
    }
    held = {device for attempt in paid.attempts for device in attempt["devices"]}
    return frozenset(names[device] for device in held if names.get(device))


def _device_kinds(records: Sequence[Record], paid: Paid) -> frozenset[str]:
    """The kinds of device of the sessions in which an attempt has begun."""
    sessions = {attempt["session"] for attempt in paid.attempts}
    return frozenset(
        str(device["device_kind"])
        for record in records
        if record["kind"] == Kind.SESSION_OPENED and record["session"] in sessions
        for device in record["capacity"]
    )


def _is_before_study(path: Path, paths: StudyFolder) -> bool:
    """Whether a run killed before it wrote ``study.yaml`` may have left this, the user (a file of prices), or a system."""
    return (
        path.name == ".lock"
        or path.name in LEFT_BY_SYSTEMS
        or path.name.startswith(("._", ".nfs"))
        or path == paths.prices
        or path.suffix == ".part"
        or (path == paths.ledger and not segments_in(path))
    )


def planned_of(config: StudyConfig) -> Planned:
    """The plan that ``session_opened`` records: values that may be extended after results have been seen."""
    criteria = {name: [str(m) for m in section.methods] for name, section in config.routes.prunings.items()}
    return {
        "replicates": config.replicates,
        "targets": config.targets,
        "routes": config.routes.names,
        "criteria": criteria,
    }


def _planned_first(records: Sequence[Record]) -> Planned | None:
    """The plan that the first session to have one recorded; None if there is none."""
    found = (record.get("planned") for record in records if record["kind"] == Kind.SESSION_OPENED)
    return next((planned for planned in found if isinstance(planned, dict)), None)


def _searched(
    held: StudyConfig, document: KeptFacts, config: StudyConfig, paid: Paid
) -> dict[str, Searched]:  # fmt: skip
    """The targets of each search that has begun: first those on record, then the new ones."""
    stored = document.get("searched") or {}
    found = {}
    for route in config.routes.keeping_targets:
        if not paid.route(route):
            continue
        raw: SearchedTargets = stored.get(route) or {"first": held.targets, "added": []}
        added = [target for target in raw["added"] if target in config.targets]
        new = [target for target in config.targets if target not in raw["first"] and target not in added]
        found[route] = Searched(tuple(raw["first"]), (*added, *new))
    return found


def _content(document: KeptFacts) -> Content:
    return Content(
        document.get("data"),
        document.get("checkpoint_sha256"),
        document.get("teachers_sha256") or {},
        TaskWords.read(document.get("task")),
    )


def _without_moved(changes: Sequence[Change], document: KeptFacts, config: StudyConfig) -> list[Change]:
    """The changes, except those to a search space file with the same content at another place."""
    held, now = document.get("spaces") or {}, _space_files(config)
    return [
        c
        for c in changes
        if not (c.key.endswith(".space") and c.old in held and _same_space(held[c.old], now.get(c.new)))
    ]


def _without_same_files(changes: Sequence[Change], document: KeptFacts) -> list[Change]:
    """The changes, except that of ``plugins`` if the files' content is the same: the study has its own copies."""
    held = {each["name"]: each["sha256"] for each in document.get("plugins") or []}
    is_same = held == {file.name: file.sha256 for file in in_use()}
    return [change for change in changes if not (change.key == "plugins" and is_same)]


def _changed_spaces(document: KeptFacts, config: StudyConfig, paid: Paid) -> list[str]:
    """One line for each search space whose file has changed since a search began with it."""
    held, now = document.get("spaces") or {}, _space_files(config)
    used = {search.space for route, search in config.routes.searches.items() if paid.route(route)}
    return [
        f"routes: the file of the search space {path} was changed since; restore it, or start another study with --out"
        for path in sorted(used)
        if path in held and not _same_space(held[path], now.get(path))
    ]


def stored_config(paths: StudyFolder) -> StudyConfig:
    """The config of the study in a folder; ``InputError`` if there is none."""
    return config_in(_document(paths), paths)


def _document(paths: StudyFolder) -> StudyDocument:
    try:
        return StudyDocument.read(paths.config)
    except FileNotFoundError:
        raise InputError(f"{paths.root} is not a study: it has no study.yaml; name a folder that `run` made") from None
    except NotAStudyFile as error:
        raise InputError(one_line(error)) from None
    except (OSError, UnicodeDecodeError, YamlProblem) as error:
        raise InputError(f"{paths.config} cannot be read: {' '.join(str(error).split())}") from None


def config_in(document: StudyDocument, paths: StudyFolder) -> StudyConfig:
    """The config in a document of any version; ``InputError`` if it is invalid."""
    study = dict(document.config)
    if isinstance(dataset := study.get("dataset"), dict):  # written with keys that were not given
        unset = {key: field.default for key, field in DatasetConfig.model_fields.items()}
        study["dataset"] = {k: v for k, v in dataset.items() if k == "name" or v != unset.get(k)}
    if isinstance(budget := study.get("budget"), dict):  # written as numbers of device-hours
        study["budget"] = {r: hours_text(h) if isinstance(h, float) else h for r, h in budget.items()}
    return parse_config(study, str(paths.config))


def absolute(config: StudyConfig) -> StudyConfig:
    """The config with absolute paths, since jobs run in other working folders; files of packages keep their names."""
    dataset, parent = config.dataset, config.parent
    if dataset.path is not None:
        dataset = dataset.model_copy(update={"path": str(Path(dataset.path).expanduser().resolve())})
    if parent.checkpoint is not None and not parent.checkpoint.startswith(PACKAGE):
        parent = parent.model_copy(update={"checkpoint": str(checkpoint_path(parent.checkpoint))})
    routes = config.routes
    written = {
        name: search for name, search in routes.searches.items() if routes.is_written(name, routes.powers[name].SEARCH)
    }
    moved = {
        name: search.model_copy(update={"space": str(Path(search.space).expanduser().resolve())})
        for name, search in written.items()
        if search.space.endswith((".yaml", ".yml"))
    }
    return config.model_copy(update={"dataset": dataset, "parent": parent, "routes": routes.with_searches(moved)})


def write_study(standing: Standing, content: Content, facts: dict[str, object], paths: StudyFolder) -> None:
    """Write ``study.yaml``: the resolved config, what it depends on (spaces, data, weights), and the environment."""
    config = standing.config
    view = {route: Searched(tuple(config.targets)) for route in config.routes.keeping_targets} | standing.searched
    searched: dict[str, SearchedTargets] = {
        route: {"first": list(s.first), "added": list(s.added)} for route, s in view.items()
    }
    found: KeptFacts = {
        "spaces": _space_files(config),
        "searched": searched,
        "plugins": as_documents(in_use()),
        "outside_routes": {name: str(words_in(name).role) for name in config.routes.outside},
        "routes": {name: words.as_dict() for name, words in config.routes.words.items()},
        "first_methods": {name: str(pruning.methods[0]) for name, pruning in config.routes.prunings.items()},
        **content.as_facts(),
        "environment": facts,
    }
    if standing.rehearsal is not None:
        found["rehearsal"] = list(standing.rehearsal)
    keep(in_use(), paths)
    text = StudyDocument(runnable(config) | places_kept(in_use()), found).text()
    with replacing(paths.config) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _space_files(config: StudyConfig) -> dict[str, object]:
    """The contents of the config's search space files, by path; the package's own spaces are not included."""
    paths = {search.space for search in config.routes.searches.values() if search.space.endswith((".yaml", ".yml"))}
    found: dict[str, object] = {}
    for path in sorted(paths):
        with contextlib.suppress(OSError, UnicodeDecodeError, YamlProblem):  # refused when the space is loaded
            found[path] = read_one(Path(path).read_text(encoding="utf-8"))
    return found


def _same_space(held: object, now: object) -> bool:
    """Whether two readings of a space file are equal; older versions read ``1e-3`` as text."""
    if isinstance(held, dict) and isinstance(now, dict):
        return held.keys() == now.keys() and all(_same_space(held[key], now[key]) for key in held)
    if isinstance(held, list) and isinstance(now, list):
        return len(held) == len(now) and all(map(_same_space, held, now))
    if isinstance(held, str) and isinstance(now, float):
        with contextlib.suppress(ValueError):
            return float(held) == now
    return bool(held == now)
