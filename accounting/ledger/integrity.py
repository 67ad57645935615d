"""Whether a ledger's files are all there, intact and its own: findings, and the files that must not be counted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from accounting.ledger.findings import Finding
from accounting.ledger.index import NAME, Index
from accounting.ledger.records import Kind, Record


@dataclass
class Segment:
    """One file as it was read. ``problems``: (code, message) for each line that is not as it was written."""

    path: Path
    size: int
    """Bytes, including a torn end."""
    sha256: str
    """Hash of the whole segment."""
    opening: Record = field(default_factory=Record)
    records: list[Record] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    warning: str | None = None

    @cached_property
    def name(self) -> str:
        """The name of the file."""
        return self.path.name

    def begins_as(self, size: int, sha256: str) -> bool:
        """Whether its first ``size`` bytes have this hash, even if the file has grown since it was read."""
        if size == self.size:
            return self.sha256 == sha256
        with self.path.open("rb") as file:
            return hashlib.sha256(file.read(size)).hexdigest() == sha256

    @cached_property
    def is_chained(self) -> bool:
        """Whether its format is 2 or later."""
        return bool(self.opening.get("format", 1) >= 2)

    @property
    def own_name(self) -> str:
        """The name that it was given when written, if recorded; otherwise the file's name."""
        return str(self.opening.get("name", self.name))


def check(
    folder: Path, segments: Sequence[Segment], before: Index | None, after: Index | None
) -> tuple[list[Finding], set[str]]:
    """All findings, and the names of files whose records must not be counted (copies, other studies' files).

    ``before`` and ``after`` are the index as read before and after the files, so that a ledger that is being written is
    not taken for a damaged one.
    """
    findings = [Finding("error", code, message) for segment in segments for code, message in segment.problems]
    left_out: set[str] = set()
    for finding, name in [*_copies(segments), *_foreign(segments, after)]:
        findings.append(finding)
        left_out.add(name)
    rest = [segment for segment in segments if segment.name not in left_out]
    findings += _mixed(rest)
    findings += _without_driver(rest)
    if after is None:
        if any(segment.is_chained for segment in rest):
            message = f"{NAME} is gone, so segments may be missing unnoticed; restore it from a copy"
            findings.append(Finding("error", "index_missing", message))
        findings += _of_several_ledgers(rest)
        return findings, left_out
    findings += after.findings
    findings += _missing(folder, before or after, {segment.own_name for segment in rest})
    findings += _unregistered(rest, after)
    findings += _changed(rest, after)
    findings += _cut_index(rest, after)
    return findings, left_out


def _copies(segments: Sequence[Segment]) -> Iterator[tuple[Finding, str]]:
    """A renamed file whose original is there too; of two old files with equal content, the second by name."""
    names = {segment.name for segment in segments}
    seen: dict[str, str] = {}
    for segment in segments:
        original = segment.own_name if segment.own_name in names - {segment.name} else None
        if not segment.is_chained and segment.size:
            original = seen.setdefault(segment.sha256, segment.name)
            original = original if original != segment.name else None
        if original is not None:
            message = f"{segment.name} is a copy of {original}: it is not counted; delete it"
            yield Finding("error", "segment_duplicated", message), segment.name


def _foreign(segments: Sequence[Segment], index: Index | None) -> Iterator[tuple[Finding, str]]:
    if index is None or not index.ledger:
        return
    for segment in segments:
        if segment.opening.get("ledger") not in (None, "", index.ledger):
            message = f"{segment.name} is a segment of another study's ledger: it is not counted; move it back there"
            yield Finding("error", "segment_foreign", message), segment.name


def _mixed(segments: Sequence[Segment]) -> Iterator[Finding]:
    """Old segments do not name their ledger, but their sessions name the study, which could not change."""
    studies = {
        record["study"]: segment.name
        for segment in segments
        if not segment.is_chained
        for record in segment.records
        if record["kind"] == Kind.SESSION_OPENED
    }
    if len(studies) > 1:
        where = ", ".join(f"{study!r} ({name})" for study, name in sorted(studies.items()))
        message = f"the ledger has segments of {len(studies)} studies, {where}: all are counted; move the others away"
        yield Finding("error", "studies_mixed", message)


def _of_several_ledgers(segments: Sequence[Segment]) -> Iterator[Finding]:
    """Without an index nothing says which ledger this is, but segments name theirs."""
    names = {str(s.opening["ledger"]): s.name for s in segments if s.opening.get("ledger")}
    if len(names) > 1:
        where = ", ".join(f"{name} and others like it" for name in sorted(names.values()))
        message = f"there are segments of {len(names)} studies ({where}): all are counted; move the others away"
        yield Finding("error", "studies_mixed", message)


def _without_driver(segments: Sequence[Segment]) -> Iterator[Finding]:
    """The driver opens its session before any job begins, so a session with workers' segments only has lost one."""
    kinds: dict[str, set[str]] = {}
    for segment in segments:
        if segment.records and "session" in segment.opening:
            kinds.setdefault(segment.opening["session"], set()).update(r["kind"] for r in segment.records)
    for session, found in kinds.items():
        if Kind.ATTEMPT_STARTED in found and Kind.SESSION_OPENED not in found:
            message = (
                f"session {session} has attempts and no opening: the segment of its driver is missing, and with it "
                "what was held how long; restore it from a copy"
            )
            yield Finding("error", "driver_segment_missing", message)


def _missing(folder: Path, index: Index, there: Set[str]) -> Iterator[Finding]:
    """Segments that are gone, and not just under another name (``there`` are the names that segments were given)."""
    for name, entry in index.segments.items():
        if name not in there and not (folder / name).is_file():
            whose = f" (written by the {entry['writer']} on {entry['host']})" if "writer" in entry else ""
            message = f"{name}{whose} is gone: its attempts and costs are missing; restore it from a copy"
            yield Finding("error", "segment_missing", message)


def _unregistered(segments: Sequence[Segment], index: Index) -> Iterator[Finding]:
    for segment in segments:
        if segment.name in index.segments:
            if segment.own_name != segment.name:
                message = f"{segment.name} has the content of {segment.own_name}; restore it from a copy"
                yield Finding("error", "segment_replaced", message)
        elif segment.own_name in index.segments:
            message = f"{segment.name} was renamed; its name is {segment.own_name}: it is counted; rename it back"
            yield Finding("error", "segment_renamed", message)
        elif segment.records:
            message = (
                f"{segment.name} is not in {NAME}: it was put here from elsewhere, or the index was cut; it is counted"
            )
            yield Finding("error", "segment_unregistered", message)


def _changed(segments: Sequence[Segment], index: Index) -> Iterator[Finding]:
    """Compare with the seals; damage that the chain has already found is not reported again."""
    for segment in segments:
        sealed = index.seals.get(segment.name)
        if sealed is None:
            continue
        if segment.size < sealed["bytes"]:
            message = f"{segment.name} was cut: {sealed['bytes'] - segment.size} bytes at its end are missing"
            yield Finding("error", "segment_cut", f"{message}, with what they recorded; restore it from a copy")
        elif not segment.problems and not segment.begins_as(sealed["bytes"], sealed["sha256"]):
            message = f"{segment.name} was changed after its session had ended; restore it from a copy"
            yield Finding("error", "segment_changed", message)


def _cut_index(segments: Sequence[Segment], index: Index) -> Iterator[Finding]:
    counted = max(
        (r.get("segments", 0) for s in segments for r in s.records if r["kind"] == Kind.SESSION_CLOSED), default=0
    )
    if index.num_registered < counted and not index.findings:
        message = (
            f"{NAME} has {index.num_registered} segments, a session that ended counted {counted}: it was cut, and "
            "segments may be missing unnoticed; restore it from a copy"
        )
        yield Finding("error", "index_cut", message)
