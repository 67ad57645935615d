"""The config of a study as its folder holds it: made absolute, written, read again, compared before a resume."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import yaml

from accounting.ledger import read_ledger
from harness.config import StudyConfig, parse_config
from harness.errors import InputError
from harness.models import checkpoint_path
from harness.paths import StudyPaths, replacing
from harness.routes.config import SearchThenPruneConfig

SEARCHES = ("search", "supernet", "search_then_prune")
"""Sections of ``routes`` with a search space."""


def check_folder(config: StudyConfig, paths: StudyPaths) -> None:
    """``InputError`` unless ``paths`` is free for a new study or holds this one; budget and resources may differ."""
    for parent in (paths.root, *paths.root.parents):
        if parent.exists():
            if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
                raise InputError(f"{parent} is not a folder that can be written to; name another with --out")
            break
    if not paths.root.exists() or not any(p for p in paths.root.iterdir() if p.name != ".lock" and p.suffix != ".part"):
        return
    if not paths.config.exists():
        raise InputError(f"{paths.root} holds other files and no study; name another folder with --out")
    held = stored_config(paths)
    if (stored := _stored_spaces(paths)) is not None and stored != _space_files(config):
        raise InputError(
            f"{paths.root} holds a study of another search space: its file was changed since; "
            "name another folder with --out, or restore the file to resume"
        )
    differ = sorted(
        key for key in StudyConfig.model_fields
        if key not in ("budget", "resources") and getattr(held, key) != getattr(config, key)
    )  # fmt: skip
    if differ:
        raise InputError(
            f"{paths.root} holds another study: {', '.join(differ)} differ from its study.yaml; "
            "name another folder with --out, or make them equal to resume"
        )
    read_ledger(paths.ledger)


def stored_config(paths: StudyPaths) -> StudyConfig:
    """The config of the study in a folder; ``InputError`` if there is none."""
    try:
        raw: Any = yaml.safe_load(paths.config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{paths.root} is no study: it has no study.yaml; name a folder that `run` made") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{paths.config} cannot be read: {' '.join(str(error).split())}") from None
    study = raw.get("study") if isinstance(raw, dict) else raw
    if isinstance(study, dict) and isinstance(study.get("budget"), dict):  # written resolved, as device-hours
        hours = {route: f"{h:.12f} h" if isinstance(h, float) else h for route, h in study["budget"].items()}
        study = {**study, "budget": hours}
    return parse_config(study, str(paths.config))


def absolute(config: StudyConfig) -> StudyConfig:
    """Paths made absolute, since jobs run in other working folders."""
    dataset, parent = config.dataset, config.parent
    if dataset.path is not None:
        dataset = dataset.model_copy(update={"path": str(Path(dataset.path).expanduser().resolve())})
    if parent.checkpoint is not None:
        parent = parent.model_copy(update={"checkpoint": str(checkpoint_path(parent.checkpoint))})
    routes = config.routes
    for name in SEARCHES:
        section = getattr(routes, name)
        search = section.search if isinstance(section, SearchThenPruneConfig) else section
        if search is not None and search.space.endswith((".yaml", ".yml")):
            search = search.model_copy(update={"space": str(Path(search.space).expanduser().resolve())})
            both = isinstance(section, SearchThenPruneConfig)
            section = section.model_copy(update={"search": search}) if both else search
            routes = routes.model_copy(update={name: section})
    return config.model_copy(update={"dataset": dataset, "parent": parent, "routes": routes})


def write_study(config: StudyConfig, facts: dict[str, Any], paths: StudyPaths) -> None:
    """Write ``study.yaml``: the resolved config, what its search space files say, and the environment."""
    text = yaml.safe_dump(
        {"study": config.model_dump(mode="json"), "spaces": _space_files(config), "environment": facts},
        sort_keys=False,
        allow_unicode=True,
    )
    with replacing(paths.config) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _space_files(config: StudyConfig) -> dict[str, Any]:
    """What stands in the files of the config's search spaces, by path; the spaces of the package have none."""
    paths = {search.space for search in config.routes.searches.values() if search.space.endswith((".yaml", ".yml"))}
    found = {}
    for path in sorted(paths):
        with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):  # refused where the space is loaded
            found[path] = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return found


def _stored_spaces(paths: StudyPaths) -> dict[str, Any] | None:
    document: Any = yaml.safe_load(paths.config.read_text(encoding="utf-8"))
    return document.get("spaces") if isinstance(document, dict) else None
