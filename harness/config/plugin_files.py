"""The user's own files that a config names: under ``plugins``, or in place of a plug-in's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from accounting.study import plugins
from accounting.study.yaml12 import Place
from harness.config.paths import beside
from harness.config.places import ANY, at, matching
from harness.errors import InputError

NAMED: tuple[Place, ...] = (
    ("dataset", "name"),
    ("routes", ANY, "strategy", "name"),
    ("routes", ANY, ANY, "strategy", "name"),
)
"""Places where a file may be given instead of a name."""


def use_plugins(raw: object, config: Path) -> Iterator[tuple[Place, str]]:
    """Register the files that a config names, and replace them in ``raw`` by names and absolute paths.

    Yields (place, what is wrong) for each file that cannot be used. No file is executed here.
    """
    if not isinstance(raw, dict):
        return
    listed = raw.get("plugins")
    places: list[tuple[Place, object]] = [(("plugins", i), given) for i, given in enumerate(listed or [])] if isinstance(
        listed, list
    ) else []  # fmt: skip
    named = [place for place in matching(raw, NAMED) if str(at(raw, place)).endswith(".py")]
    places += [(place, at(raw, place)) for place in named]
    files: dict[str, plugins.PluginFile] = {}
    for place, given in places:
        if not isinstance(given, str):
            continue  # a wrong type is reported later, with the fields
        try:
            file = plugins.read_plugin(beside(config, given))
        except (plugins.PluginError, InputError) as error:
            yield place, str(error)
            continue
        files[file.path] = file
        if place in named:
            at(raw, place[:-1])[place[-1]] = file.name
        else:
            raw["plugins"][place[1]] = file.path
    if files:
        raw["plugins"] = list(files)
    try:
        plugins.use(list(files.values()))
    except plugins.PluginError as error:
        plugins.use([])
        yield ("plugins",), str(error)


def use_listed(paths: Sequence[str]) -> tuple[plugins.PluginFile, ...]:
    """Register the files of one study (``StudyConfig.plugins``) in place of all others; ``InputError`` for a bad file."""
    try:
        files = tuple(plugins.read_plugin(Path(path)) for path in paths)
        plugins.use(files)
    except plugins.PluginError as error:
        raise InputError(str(error)) from None
    return files
