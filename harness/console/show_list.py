"""The command ``list``: what a config may name, and every key that it may have."""

from __future__ import annotations

from typing import NamedTuple

from harness.console.terminal import say, say_json
from harness.errors import InputError


class Forms(NamedTuple):
    """The forms in which it is asked for; plain text where it is none of them."""

    json: bool
    markdown: bool
    schema: bool


def show_list(kind: str | None, section: str | None, forms: Forms) -> None:
    """Print one kind of plug-in, or all, or the config's keys; ``InputError`` for what does not go together."""
    if kind == "config":
        _list_config(section, markdown=forms.markdown, schema=forms.schema or forms.json)
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


def _list_config(place: str | None, *, markdown: bool, schema: bool) -> None:
    from harness.config.reference import find_section, json_schema, sections
    from harness.console.show_config import format_sections, to_markdown

    if markdown and schema:
        raise InputError("--markdown and --json-schema: give one of the two")
    if schema:
        if place is not None:
            raise InputError(f"list config {place}: the JSON Schema is of the whole config; leave {place} out")
        say_json(json_schema())
        return
    found = sections() if place is None else [find_section(place)]
    say(to_markdown(found).rstrip("\n") if markdown else format_sections(found))
