"""The page as HTML: one self-contained file with its style, script and drawings."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from accounting.words.task import task
from reports.page.content import PageContent
from reports.page.theme import DARK_PAPER, palette, variable

PAPER_COLOURS = {
    "ink": ("#1b1f24", "#e8eaed"),
    "soft": ("#565e67", "#a9b1ba"),
    "paper": ("#ffffff", DARK_PAPER),
    "line": ("#dde2e7", "#2d3339"),
    "edge": ("#9aa3ad", "#5b646e"),
    "hover": ("#f5f7f9", "#1c2126"),
    "link": ("#0b5cad", "#7db8f5"),
    "warn": ("#fff6dd", "#2f2812"),
    "warn-edge": ("#c99a17", "#b58a1b"),
}
"""Colours of the page itself, in the light and in the dark scheme."""


def page_html(content: PageContent) -> str:
    """The page of a study. All text from the study is escaped; drawings are made safe when they are drawn."""
    script = text_of("page.js")
    figures = [figure for section in content.sections for figure in section.figures]
    marks = [mark for section in content.sections for table in section.tables for mark in table.table.marks]
    colours = {colour for figure in figures for colour in figure.colours} | {mark.colour for mark in marks}
    schemes = {
        name: " ".join(
            [*(f"--{key}: {pair[place]};" for key, pair in PAPER_COLOURS.items()), palette(colours, is_dark=place == 1)]
        )
        for place, name in enumerate(("light", "dark"))
    }
    return page_of("reports.page").render(
        vars(content)
        | schemes
        | {
            "css": text_of("page.css"),
            "script": script,
            "script_hash": _hash(script),
            "variable": variable,
            "task": task(),
        }
    )


def page_of(package: str) -> Template:
    """``page.html`` of a package, filled in; it may import ``head.html``. Everything that is inserted is escaped."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("reports.page", ".")]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def text_of(name: str) -> str:
    """The text of a file next to this module, such as the page's style."""
    return resources.files("reports.page").joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """The hash by which a content security policy allows this script and no other."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
