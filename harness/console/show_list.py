"""The command ``list``: the names that a config may use, and every key that it may have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.console.terminal import say, say_json
from harness.errors import InputError


class Forms(NamedTuple):
    """The requested output forms; plain text if none is set."""

    json: bool
    markdown: bool
    schema: bool


def show_list(kind: str | None, section: str | None, forms: Forms, files: Sequence[Path] = ()) -> None:
    """Print one kind of plug-in, all kinds, or the config's keys; ``InputError`` for options that do not go together.

    ``files`` are the user's own plug-ins, which are listed with the installed ones.
    """
    from harness.config.plugin_files import use_listed

    use_listed([str(path) for path in files])
    if kind == "config":
        _list_config(section, forms, with_files=bool(files))
        return
    if section is not None or forms.markdown or forms.schema:
        given = repr(section) if section is not None else "--markdown" if forms.markdown else "--json-schema"
        raise InputError(f"list: {given} goes with config alone, as in: list config routes.prune")
    from harness.plugins import list_all

    plugins = list_all()
    if kind is not None and kind not in plugins:
        raise InputError(f"list: {kind!r} given; allowed: {', '.join(plugins)}, config")
    shown = plugins if kind is None else {kind: plugins[kind]}
    if forms.json:
        say_json(shown)
        return
    for name, entries in shown.items():
        say(f"{name}: {', '.join(entries)}")


def _list_config(place: str | None, forms: Forms, *, with_files: bool) -> None:
    """Print the config's keys; Markdown or JSON Schema of the whole has the package's keys only, as in ``docs/``."""
    from harness.config.reference import Further, find_section, further_routes, json_schema, sections
    from harness.console.show_config import format_sections, to_markdown

    schema = forms.schema or forms.json
    if forms.markdown and schema:
        raise InputError("--markdown and --json-schema: give one of the two")
    if schema and place is not None:
        raise InputError(f"list config {place}: the JSON Schema is of the whole config; leave {place} out")
    is_stored = schema or (forms.markdown and place is None)
    if is_stored and with_files:
        option = "--markdown" if forms.markdown else "--json-schema" if forms.schema else "--json"
        raise InputError(f"--plugin: list config {option} prints the package's own keys; leave one of the two out")
    if schema:
        say_json(json_schema())
        return
    further = Further() if is_stored else further_routes()
    found = sections(further) if place is None else [find_section(place, further)]
    say(to_markdown(found).rstrip("\n") if forms.markdown else format_sections(found))
