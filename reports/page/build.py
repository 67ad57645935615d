"""Build a study's report: one self-contained page, its figures and tables, and the answers as JSON."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from accounting.ledger.uncollected import return_memory
from accounting.study.folder import ANSWERS, StudyFolder
from reports.answers.whole import WholeAnswer
from reports.data.frames import load_frames
from reports.errors import NotReplaceable
from reports.export.tables import long_makers_of, makers_of, write_made
from reports.measure.unusable import unusable
from reports.page.beside import SecondProcess, second_process
from reports.page.content import page_content
from reports.page.html import page_html
from reports.page.plain_report import markdown_report, write_latex
from reports.sentences.unusable import unusable_sentence

log = logging.getLogger(__name__)

PAGE, MARKDOWN = "index.html", "report.md"


def build_report(folder: Path, out: Path | None = None, *, beside: bool = False) -> Path:
    """Write the report of a study's folder to ``out`` (by default ``<folder>/report``), and return the path of its page.

    Everything is written to a new folder next to ``out``, which then takes its place, so readers never find half a report.
    The same ledger gives the same bytes. ``beside``: figures may be drawn in a second process meanwhile.

    Raises:
        NotAStudy: ``folder`` is not a study.
        NotReplaceable: ``out`` exists and is not an earlier report.

    """
    out = StudyFolder(Path(folder)).report if out is None else Path(out)
    check_replaceable(out)
    with second_process(wanted=beside) as second:  # it is ready when the ledger has been read
        left_out = _build(Path(folder), out, second)
    for line in left_out:
        log.warning("%s", line)
    return out / PAGE


def _build(folder: Path, out: Path, second: SecondProcess | None) -> Sequence[str]:
    """Build the report; returns sentences about files that could not be used."""
    frames = load_frames(folder).audited()
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        fresh.chmod(0o755)
        tables = fresh / "tables"
        return_memory()
        from reports.page.render import Rendering  # imports Matplotlib, if anything is drawn

        whole = WholeAnswer(frames)
        rendering = Rendering(frames, fresh / "figures", second)
        return_memory()
        write_made(long_makers_of(frames), tables)
        write_made(makers_of(frames, whole.answers), tables)
        figures = rendering.finished()
        content = page_content(whole, figures, left_out := [unusable_sentence(found) for found in unusable(frames)])
        (fresh / ANSWERS).write_text(json.dumps(content.answer_json, indent=2) + "\n", encoding="utf-8")
        (fresh / PAGE).write_text(page_html(content), encoding="utf-8")
        (fresh / MARKDOWN).write_text(markdown_report(content), encoding="utf-8")
        write_latex(content, fresh / "tables")
        _replace(out, fresh)
    except BaseException:
        if second is not None:
            second.end()  # it may still write into the folder
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return left_out


def told_sentences(page: Path) -> list[str]:
    """The sentences with which a report's page begins, for a terminal."""
    content = json.loads(page.with_name(ANSWERS).read_text(encoding="utf-8"))
    return [content["sentence"], *content["lines"]]


def check_replaceable(out: Path) -> None:
    """Check that a report may be written to ``out``: it does not exist, is empty, or is an earlier report.

    Raises:
        NotReplaceable: it is something else.

    """
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / PAGE).is_file()):
        raise NotReplaceable(f"{out} exists and is not an earlier report; name another folder or move it away")


def _replace(out: Path, fresh: Path) -> None:
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
        out.rename(old / out.name)
        fresh.rename(out)
        shutil.rmtree(old)
    else:
        fresh.rename(out)
