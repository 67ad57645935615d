"""``--set routes.prune.finetune.lr=0.05``: one key of a config, as if written in the file.

The value is read as YAML, and passes through the same checks as a file.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from accounting.study.yaml12 import Document, Place, YamlProblem, read_one
from accounting.words.plain_text import one_line
from harness.errors import InputError

EXAMPLE = "--set routes.prune.finetune.lr=0.05"


@dataclass(frozen=True)
class Setting:
    """A place in a config and the value to write there; ``text`` is how errors name it."""

    place: Place
    value: object
    text: str


def parse_setting(given: str) -> Setting:
    """The setting in ``key.key=value``; ``InputError`` names what is wrong with it."""
    text = one_line(f"--set {given}", 120)
    key, equals, written = given.partition("=")
    place = tuple(key.strip().split("."))
    if not equals or not all(place):
        raise InputError(f"{text}: a key, = and a value are expected, as in {EXAMPLE}")
    try:
        return Setting(place, read_one(written), text)
    except YamlProblem as error:
        raise InputError(f"{text}: {error.found[0][1]}") from None


def with_settings(document: Document, settings: Sequence[Setting]) -> Document:
    """The document with every setting in it, later ones over earlier ones.

    Missing sections on the way are added; ``InputError`` if something other than a section is in the way.
    """
    value, lines = copy.deepcopy(document.value), dict(document.lines)
    for setting in settings:
        if not isinstance(value, dict):
            break  # refused later, as it is not a study
        section = value
        for depth, key in enumerate(setting.place[:-1], start=1):
            if section.get(key) is None:
                section[key] = {}
                lines[setting.place[:depth]] = setting.text
            section = section[key]
            if not isinstance(section, dict):
                where = ".".join(map(str, setting.place[:depth]))
                kind = (
                    "a list; set it as a whole, as in --set 'targets=[0.5M]'"
                    if isinstance(section, list)
                    else "not a section"
                )
                raise InputError(f"{setting.text}: {where} is {kind}")
        section[setting.place[-1]] = copy.deepcopy(setting.value)
        for place in [each for each in lines if each[: len(setting.place)] == setting.place]:
            del lines[place]
        lines[setting.place] = setting.text
    return Document(value, lines)
