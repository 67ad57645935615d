"""Reads a ledger: all segments of its folder, sorted by time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path

from accounting.ledger.compacted import load_compacted
from accounting.ledger.findings import Finding
from accounting.ledger.index import begins_attempts, read_index, segments_in_turn
from accounting.ledger.integrity import check
from accounting.ledger.points import Points
from accounting.ledger.reading import LedgerError, Reading, content_of
from accounting.ledger.records import Record
from accounting.ledger.shared_reading import Clean, Read, read_beside, read_lines, share_of_second
from accounting.ledger.uncollected import uncollected

__all__ = ["Ledger", "LedgerError", "read_lean", "read_ledger"]


@dataclass(frozen=True)
class Ledger:
    """All records of a study. Those read from disk also carry ``segment`` (file name) and ``line`` (from 1)."""

    records: tuple[Record, ...] = ()
    """Sorted by ``t``; records of equal time stay in the order of segment name and line."""
    warnings: tuple[str, ...] = ()
    """One line for each torn line that was skipped."""
    findings: tuple[Finding, ...] = ()
    """Problems with the files themselves; the audit adds problems with their content."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each segment's bytes as they were read, by its name."""
    points: Points | None = None
    """Epoch ends and heartbeats, if they are not among the records (:func:`read_lean`)."""


def read_ledger(folder: Path, *, strict: bool = True) -> Ledger:
    """Read all segments of the folder as one ledger; a missing folder is an empty ledger.

    Segments that are copies, or belong to another study, are left out, and a finding says so. Without ``strict``,
    unreadable lines become findings too, and are left out.

    Raises:
        LedgerError: a line other than a segment's last is garbled, a segment does not begin with ``segment_opened``,
            a record is malformed, or the cost rules are not known. The message names file and line.

    """
    return _read(folder, lambda: {path: read_lines(path, Reading(strict)) for path in segments_in_turn(folder)})


def read_lean(
    folder: Path, *, strict: bool = True, clean: Clean | None = None, compacted: Path | None = None
) -> Ledger:
    """Read the same in a third of the memory: epoch ends and heartbeats in :attr:`Ledger.points`, specs packed.

    Parts of a measurement that no reader needs are dropped. ``clean`` is applied to records whose text may be unsafe to
    show; all others are printable ASCII. ``compacted`` is the folder of sealed segments in Parquet; if it is given, a
    second process reads about half of the segments that are not there, if they are large.
    """
    ledger = _read(folder, lambda: _read_lean(folder, strict, clean, compacted))
    return ledger if ledger.points is not None else replace(ledger, points=Points())


def _read_lean(folder: Path, strict: bool, clean: Clean | None, compacted: Path | None) -> dict[Path, Read]:
    """Read each segment; workers' segments are looked at after all others, as in :func:`segments_in_turn`."""
    found: dict[Path, Read] = {}
    contents: dict[Path, bytes] = {}
    lines: list[Path] = []
    for path in segments_in_turn(folder):
        if (known := _load(path, clean, compacted)) is not None:
            found[path] = known
        elif begins_attempts(path.name):
            lines.append(path)
        else:
            contents[path] = content_of(path)
    theirs = [] if compacted is None else share_of_second(lines, sum(map(len, contents.values())))
    with read_beside(theirs, strict=strict, clean=clean) as told:
        for path in [*contents, *(path for path in lines if path not in theirs)]:
            found[path] = read_lines(path, Reading(strict, Points(), clean), contents.pop(path, None))
        read = told()
    return found | {path: read.get(path) or read_lines(path, Reading(strict, Points(), clean)) for path in theirs}


def _load(path: Path, clean: Clean | None, compacted: Path | None) -> Read | None:
    """A segment from its compacted file, if there is one."""
    known = None if compacted is None else load_compacted(path, compacted)
    if known is None:
        return None
    segment, points, clock, odd = known
    if clean is not None:
        for place in odd:
            segment.records[place] = clean(segment.records[place])
    return segment, points, clock


def _read(folder: Path, read_all: Callable[[], dict[Path, Read]]) -> Ledger:
    with uncollected():
        before = read_index(folder)
        by_path = read_all()
        read = [by_path[path] for path in sorted(by_path)]
        after = read_index(folder)
        findings, left_out = check(folder, [segment for segment, _, _ in read], before, after)
        warnings = tuple(segment.warning for segment, _, _ in read if segment.warning)
        records: list[Record] = []
        digests = {segment.name: segment.sha256 for segment, _, _ in read}
        points = None
        read.reverse()
        while read:  # popped, so that each one is freed once taken over
            segment, of_segment, clock = read.pop()
            if segment.name not in left_out:
                records += segment.records
                findings += clock
                if of_segment is not None:
                    points = Points() if points is None else points  # not ``or``: one with heartbeats only is falsy
                    points.extend(of_segment)
        records.sort(key=itemgetter("t"))
        return Ledger(tuple(records), warnings, tuple(findings), digests, points)
