"""The command ``compare``: several studies side by side, in a terminal, as JSON, or as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.console.terminal import say, say_json
from harness.errors import InputError


def show_compare(folders: Sequence[Path], out: Path | None, *, as_json: bool) -> None:
    """Print the comparison, and write its page to ``out`` if given.

    Raises:
        InputError: there are fewer than two studies, one is given twice, or one is a rehearsal.

    """
    if len(folders) < 2:
        raise InputError("compare: two studies or more are expected, as compare runs/a runs/b")
    seen: set[Path] = set()
    for folder in folders:
        if (place := folder.resolve()) in seen:
            raise InputError(f"compare: {folder} is given twice; name each study once")
        seen.add(place)
    from accounting.ledger.index import read_index
    from accounting.study.facts import REHEARSAL
    from accounting.study.folder import StudyFolder
    from reports.data.study import read_study
    from reports.side_by_side.page import check_place, write_page

    ledgers: dict[str, Path] = {}
    for folder in folders:
        facts, _ = read_study(folder)
        if facts.rehearsal is not None:
            raise InputError(f"compare: {folder} is a {REHEARSAL}; leave it away, or name the study's own folder")
        index = read_index(StudyFolder(folder).ledger)
        ledger = index.ledger if index is not None else ""  # older ledgers have no index
        if ledger in ledgers:
            raise InputError(
                f"compare: {folder} is a copy of {ledgers[ledger]}, by its ledger's id; name each study once"
            )
        if ledger:
            ledgers[ledger] = folder
    if out is not None:
        check_place(out)
    from reports.side_by_side.as_json import as_json as compared_json
    from reports.side_by_side.build import side_by_side
    from reports.side_by_side.text import as_text

    found = side_by_side(folders)
    if out is not None:
        write_page(found, out)
    if as_json:
        say_json(compared_json(found))
    else:
        say(as_text(found))
        if out is not None:
            say(f"page: {out}")
