"""The page without a browser: as Markdown, and its tables as LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reports.export.latex import latex_table
from reports.export.markdown import escaped, markdown_table
from reports.page.content import NETWORKS, VERDICT, PageContent
from reports.page.section import Captioned, Section

LATEX = {VERDICT: "verdict", NETWORKS: "networks"}
"""Sections whose first table is also written as LaTeX, with the file's name."""


def markdown_report(content: PageContent) -> str:
    """The page except for folded parts: headline, tables, pictures (separate files) and lines."""
    parts = [
        f"# {escaped(content.headline)}",
        f"{escaped(content.study)} on {escaped(content.dataset)}; costs in {content.unit}.",
    ]
    parts += [f"> {escaped(line)}" for line in content.warnings]
    for section in content.sections:
        parts += [f"## {escaped(section.title)}", *_section(section)]
    return "\n\n".join(parts) + "\n"


def write_latex(content: PageContent, folder: Path) -> None:
    """Write the tables of the verdict and of the delivered networks, if there are any."""
    folder.mkdir(parents=True, exist_ok=True)
    for section in content.sections:
        if section.title in LATEX and section.tables and section.tables[0].table.rows:
            name, captioned = LATEX[section.title], section.tables[0]
            table = captioned.table
            text = latex_table(table.headers, table.all_rows, table.text_columns, captioned.caption, f"tab:{name}")
            (folder / f"{name}.tex").write_text(text, encoding="utf-8")


def _section(section: Section) -> Iterator[str]:
    yield from (f"> {escaped(line)}" for line in section.warnings)
    for figure in section.figures:
        if figure.wide:
            yield f"![{escaped(figure.alternative)}]({figure.png_link})"
        yield escaped(figure.caption)
    yield from (_table(captioned) for captioned in section.tables if captioned.table.rows and not captioned.fold)
    if section.lines:
        yield "\n".join(f"- {escaped(line)}" for line in section.lines)


def _table(captioned: Captioned) -> str:
    table = captioned.table
    headers = table.headers if table.has_headers else ["what", "how"]
    caption = f"{escaped(captioned.caption)}\n\n" if captioned.caption else ""
    return caption + markdown_table(headers, table.all_rows, table.text_columns)
