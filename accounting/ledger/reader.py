"""Reads a ledger: all segments of its folder, each line checked, in the order of time.

A line whose number and hash follow from the line before is what this program wrote, so such lines are parsed many at a time,
and ends of epochs and heartbeats, which are most of them, by a pattern. Any other is parsed alone, and its problem said.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from accounting.ledger.chain import Checker
from accounting.ledger.findings import Finding
from accounting.ledger.index import read_index, segments_in
from accounting.ledger.integrity import Segment, check
from accounting.ledger.packed import PackedSpec
from accounting.ledger.points import Points
from accounting.ledger.records import CLOCK_TOLERANCE_S, COST_RULES, Kind, Record
from accounting.ledger.validation import problem_of

BATCH = 512
"""How many lines are parsed at a time."""
_NUMBER = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_NAME = rb"([ !#-\[\]-~]+)"
_WRITTEN = rb'(?:,"written_t":(' + _NUMBER + rb"))?"
_END = rb',"seq":[0-9]+,"chain":"[0-9a-f]{16}"}'
_BEAT = re.compile(
    rb'{"kind":"heartbeat","t":(' + _NUMBER + rb'),"attempt":"' + _NAME + rb'"' + _WRITTEN + _END
).fullmatch
_PROGRESS = re.compile(
    rb'{"kind":"progress","t":(' + _NUMBER + rb'),"attempt":"' + _NAME + rb'","epoch":([0-9]+),"num_epochs":([0-9]+),'
    rb'"train_loss":(' + _NUMBER + rb'|null),"val_top1":(' + _NUMBER + rb'|null),"checkpointed":(true|false)'
    + _WRITTEN + _END
).fullmatch  # fmt: skip


class LedgerError(ValueError):
    """A ledger that cannot be read or a record that cannot be written; the message is one line."""


@dataclass(frozen=True)
class Ledger:
    """All records of a study. Those read from disk also carry ``segment`` (file name) and ``line`` (from 1)."""

    records: tuple[Record, ...] = ()
    """Sorted by ``t``; records of equal time stay in the order of segment name and line."""
    warnings: tuple[str, ...] = ()
    """One line for each torn line that was skipped."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with the files themselves; the audit adds what is wrong with what they say."""
    points: Points | None = None
    """Ends of epochs and heartbeats, where they are not among the records (:func:`read_lean`)."""


def read_ledger(folder: Path, *, strict: bool = True) -> Ledger:
    """All segments of the folder as one ledger; a missing folder is an empty one.

    Segments that are copies, or of another study, are left out, as the findings say. With ``strict`` off, lines that
    cannot be read are findings too, and are left out.

    Raises:
        LedgerError: a line other than a segment's last is garbled, a segment does not begin with ``segment_opened``,
            a record is malformed, or the cost rules are not known. The message names file and line.

    """
    return _read(folder, lambda: _Reading(strict))


def read_lean(folder: Path, *, strict: bool = True, clean: Callable[[Record], Record] | None = None) -> Ledger:
    """The same in a third of the memory: ends of epochs and heartbeats in :attr:`Ledger.points`, specs packed.

    What of a measurement no reader needs is left out. ``clean`` is applied to records that may have text which is not safe
    to show: all others have printable ASCII letters alone.
    """
    return _read(folder, lambda: _Reading(strict, Points(), clean))


def _read(folder: Path, begin: Callable[[], _Reading]) -> Ledger:
    before = read_index(folder)
    read = []
    for path in segments_in(folder):
        reading = begin()
        read.append((reading, reading.segment(path)))
        reading.check_clock(path.name)
    after = read_index(folder)
    findings, left_out = check(folder, [segment for _, segment in read], before, after)
    kept = [(reading, segment) for reading, segment in read if segment.name not in left_out]
    records = [record for _, segment in kept for record in segment.records]
    records.sort(key=_time_of)
    warnings = tuple(segment.warning for _, segment in read if segment.warning)
    points = None
    for reading, _ in kept:
        findings += reading.clock
        if reading.points is not None:
            points = points or Points()
            points.extend(reading.points)
            reading.points = None
    if points is None and read and read[0][0].points is not None:
        points = Points()
    return Ledger(tuple(records), warnings, tuple(findings), points)


@dataclass
class _Reading:
    """How one segment is read. With ``points`` it is read lean, and the order of its times is checked on the way."""

    strict: bool
    points: Points | None = None
    clean: Callable[[Record], Record] | None = None
    clock: list[Finding] = field(default_factory=list)
    _lines: array[int] = field(default_factory=lambda: array("q"))
    _times: array[float] = field(default_factory=lambda: array("d"))

    def segment(self, path: Path) -> Segment:
        """What is in a file."""
        content = path.read_bytes()
        found = Segment(path, len(content), hashlib.sha256(content).hexdigest())
        lines = content.split(b"\n")
        del content
        unfinished = lines.pop()  # empty when the last line is complete
        if not lines and not unfinished:
            found.warning = f"{path.name}: empty segment skipped (its writer died before the first record)"
            return found
        if unfinished:
            found.warning = f"{path.name}:{len(lines) + 1}: torn last line skipped"
        checker, batch = Checker(), _Batch()
        for number, line in enumerate(lines, start=1):
            if number > 1 and found.is_chained and checker.follows(line):
                if self.points is None or not self._take(line, number, self.points):
                    batch.add(number, line)
                    if len(batch.lines) == BATCH:
                        self._enter_all(found, path, batch)
                continue
            self._enter_all(found, path, batch)
            try:
                record = json.loads(line)
            except ValueError:
                if number == len(lines) and not unfinished:
                    found.warning = f"{path.name}:{number}: torn last line skipped"
                    return found
                self._refuse(found, path, number, "not valid JSON")
                checker.unreadable()
                continue
            problem = _problem(record, number) if isinstance(record, dict) else "not a JSON object"
            if problem is not None:
                self._refuse(found, path, number, problem)
                checker.unreadable()
                continue
            if number == 1:
                found.opening = record.copy()
            if found.is_chained and _is_copy(found, checker, line, number, record):
                continue
            self._enter(found, number, line, record)
        self._enter_all(found, path, batch)
        return found

    def _take(self, line: bytes, number: int, points: Points) -> bool:
        """Read a line of the two kinds that most are of, as this program writes them; whether it is one."""
        if (match := _BEAT(line)) is not None:
            t, name, written = match.groups()
            at = float(t)
            if not isfinite(at):
                return False
            points.beat(name.decode(), at)
        elif (match := _PROGRESS(line)) is not None:
            t, name, epoch, of, loss, top1, kept, written = match.groups()
            at = float(t)
            loss = None if loss == b"null" else float(loss)
            top1 = None if top1 == b"null" else float(top1)
            if not isfinite(at) or not isfinite(loss or 0.0) or not isfinite(top1 or 0.0):
                return False
            points.add(name.decode(), at, int(epoch), int(of), top1, loss, kept == b"true")
        else:
            return False
        self._tick(at if written is None else float(written), number)
        return True

    def _tick(self, t: float, number: int) -> None:
        """Note when a line was written: lines are not read in their order, since most others are parsed together."""
        self._lines.append(number)
        self._times.append(t)

    def check_clock(self, name: str) -> None:
        """The clock of one writer must not go back."""
        if not self._lines:
            return
        import numpy as np  # not at the top: few commands read a ledger lean

        order = np.argsort(np.frombuffer(self._lines, dtype=np.int64))
        times = np.frombuffer(self._times)[order]
        for place in np.flatnonzero(np.diff(times) < -CLOCK_TOLERANCE_S):
            back_s = times[place] - times[place + 1]
            message = f"{name}:{self._lines[order[place + 1]]}: the clock went back by {back_s:.1f} s"
            self.clock.append(Finding("error", "clock_backwards", message))
        self._lines, self._times = array("q"), array("d")

    def _enter_all(self, found: Segment, path: Path, batch: _Batch) -> None:
        for number, line, record in batch.parsed():
            problem = _problem(record, number)
            if problem is not None:
                self._refuse(found, path, number, problem)
                continue
            del record["seq"], record["chain"]
            self._enter(found, number, line, record)

    def _enter(self, found: Segment, number: int, line: bytes, record: Record) -> None:
        name = found.name
        if self.points is not None:
            self._tick(record.get("written_t", record["t"]), number)
            is_odd = b"\\" in line or not line.isascii() or b"\x7f" in line
            if is_odd and self.clean is not None:
                record = self.clean(record)
            if self.points.take(record):
                return
            _slim(record, None if is_odd else line)
        record["segment"], record["line"] = name, number
        found.records.append(record)

    def _refuse(self, found: Segment, path: Path, number: int, problem: str) -> None:
        if self.strict or "cost rules" in problem:
            raise LedgerError(
                f"{path}:{number}: {problem}; restore the file from a copy, or move it away and lose its costs"
            )
        found.problems.append(("garbled", f"{path.name}:{number}: {problem}; the line is not counted"))


@dataclass
class _Batch:
    """Lines that are known to be this program's own, to be parsed together."""

    numbers: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)

    def add(self, number: int, line: bytes) -> None:
        """One more."""
        self.numbers.append(number)
        self.lines.append(line)

    def parsed(self) -> Sequence[tuple[int, bytes, Record]]:
        """Each with its number and its record; nothing is left."""
        if not self.lines:
            return ()
        records: list[Record] = json.loads(b"[" + b",".join(self.lines) + b"]")  # keys are shared within one text
        found = [*zip(self.numbers, self.lines, records, strict=True)]
        self.numbers, self.lines = [], []
        return found


def _slim(record: Record, line: bytes | None) -> None:
    """Take out of a record what costs memory and is not needed as it is. ``line`` is its text, if that may be shown."""
    if record["kind"] == Kind.ATTEMPT_STARTED and line is not None:
        spec = record["spec"]
        if isinstance(spec, dict):
            record["spec"] = PackedSpec(spec, line)  # type: ignore[typeddict-item]
    elif record["kind"] == Kind.ATTEMPT_ENDED:
        measurement = record["measurement"]
        if measurement is not None and measurement.get("energy_j") is None:
            record["measurement"] = None


def _is_copy(segment: Segment, checker: Checker, line: bytes, number: int, record: Record) -> bool:
    """Check a line against the chain, whose fields are taken off; whether it must not be counted again."""
    seq, chain = record.pop("seq", None), record.pop("chain", None)
    problem, is_copy = checker.problem(line, seq, chain)
    if problem is not None:
        segment.problems.append(("chain_broken", f"{segment.name}:{number}: this line {problem}"))
    return is_copy


def _problem(record: Mapping[str, object], number: int) -> str | None:
    problem = problem_of(record)
    if problem is not None:
        return problem
    opens = record["kind"] == Kind.SEGMENT_OPENED
    if number == 1 and not opens:
        return f"a segment must begin with {Kind.SEGMENT_OPENED}, found {record['kind']}"
    if opens and record["rules"] not in range(1, COST_RULES + 1):
        return (
            f"cost rules {record['rules']!r}, this program knows 1 to {COST_RULES}; it takes the version of "
            "prune-or-search that wrote it, or a later one"
        )
    return None


def _time_of(record: Record) -> float:
    return float(record["t"])
