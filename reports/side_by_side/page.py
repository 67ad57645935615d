"""The comparison of studies as a single self-contained page, which opens from disk."""

from __future__ import annotations

from pathlib import Path

from accounting.words.names import unit_text
from reports.errors import NotReplaceable
from reports.page.html import PAPER_COLOURS, page_of, text_of
from reports.side_by_side.text import (
    AGREEMENT_TEXT,
    ratio_line,
    row_cells,
    row_headers,
    subject_text,
    title_text,
    why_text,
)
from reports.side_by_side.values import SideBySide
from reports.words.wording import number

MARK = "prune-or-search compare"
"""Text in the first lines of a comparison page; only a file that has it is overwritten."""


def write_page(found: SideBySide, out: Path) -> None:
    """Write the page to a file, atomically.

    Raises:
        NotReplaceable: ``out`` exists and is not such a page, or its folder does not exist.

    """
    check_place(out)
    fresh = out.with_name(f".{out.name}.part")
    try:
        fresh.write_text(page_html(found), encoding="utf-8")
        fresh.replace(out)
    finally:
        fresh.unlink(missing_ok=True)


def check_place(out: Path) -> None:
    """Check that a page may be written to ``out``; raises what :func:`write_page` raises."""
    if not out.parent.is_dir():
        raise NotReplaceable(f"--out {out}: {out.parent} is not a folder; make it, or name another file")
    if out.exists() and not (out.is_file() and MARK in out.read_bytes()[:200].decode("utf-8", "replace")):
        raise NotReplaceable(f"--out {out}: exists and is not an earlier comparison; name another file or move it away")


def page_html(found: SideBySide) -> str:
    """The page as HTML text. Everything that comes from a study is escaped."""
    light, dark = (" ".join(f"--{key}: {pair[place]};" for key, pair in PAPER_COLOURS.items()) for place in (0, 1))
    studies = found.studies
    return page_of("reports.side_by_side").render(
        found=found,
        mark=MARK,
        names=[study.name for study in studies],
        warnings=[f"{study.name}: {warning}" for study in studies for warning in study.warnings],
        findings=[(subject_text(finding), finding.can, why_text(finding)) for finding in found.findings],
        ratios=[ratio_line(apart) for apart in found.ratios],
        aspects=[(title_text(a.key), AGREEMENT_TEXT[a.agreement], a.values) for a in found.aspects],
        headers=row_headers(),
        rows=[row_cells(row, study.challenger) for study in studies for row in study.rows],
        totals=[f"{number(study.total_h)} {unit_text(study.unit)}" for study in studies],
        light=light,
        dark=dark,
        css=text_of("page.css"),
    )
