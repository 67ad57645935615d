"""The keys of a config as text for a terminal, and as ``docs/config.md``."""

from __future__ import annotations

import textwrap

from harness.config.reference import STUDY, Key, Section

WIDTH = 100
INTRODUCTION = """\
# Config

Every key of a study's YAML file. This page is written by `prune-or-search list config --markdown`, and `prune-or-search list
config routes.prune` prints one section of it.

`plan` and `run` take any key as `--set routes.prune.finetune.lr=0.05`, also more than once: the value is read as if it were
in the file, in each of its studies; a list is given as a whole (`--set 'targets=[0.5M]'`).

An editor that has the YAML language server (VS Code's YAML extension, Neovim, Emacs) completes and checks a config whose
first line names the JSON Schema, [study.schema.json](study.schema.json):

```yaml
# yaml-language-server: $schema=study.schema.json
```

The path begins at the config's folder; `prune-or-search list config --json-schema` prints the file.
"""


def format_sections(found: list[Section]) -> str:
    """Sections for a terminal: a line for each key, with its description below."""
    return "\n\n".join(_text(section) for section in found)


def to_markdown(found: list[Section]) -> str:
    """Sections as a Markdown page, with a table for each."""
    return "\n".join([INTRODUCTION, *(_table(section) for section in found)])


def _text(section: Section) -> str:
    lines = [", ".join(section.places) + ":"]
    lines += _indented(section.description, "  ") if section.description else []
    for key in section.keys:
        lines.append(f"  {key.name}: {_facts(key)}")
        lines += _indented(key.description, "      ")
    return "\n".join(lines)


def _facts(key: Key) -> str:
    default = "required" if key.is_required else f"default {key.default}" if key.default else ""
    return "; ".join(part for part in (key.kind, key.span, default) if part)


def _indented(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text.replace("``", "`"), WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )


def _table(section: Section) -> str:
    title = "The study" if section.places == (STUDY,) else f"`{section.places[0]}`"
    also = ", ".join(f"`{place}`" for place in section.places[1:])
    rows = [
        f"| `{key.name}` | {_cell(key.kind)} | {'required' if key.is_required else _code(key.default)} | {_cell(key.span)} "
        f"| {_cell(key.description)} |"
        for key in section.keys
    ]
    lines = [f"## {title}", "", section.description.replace("``", "`"), ""]
    lines += [f"The same keys in {also}.", ""] if also else []
    return "\n".join([*lines, "| key | type | default | range | what it is |", "|---|---|---|---|---|", *rows, ""])


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")
