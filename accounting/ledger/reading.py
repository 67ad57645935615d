"""Reads one segment, in full or lean, and checks each line.

A line whose number and hash follow from the previous line was written by this program, so such lines are parsed many at
a time; epoch ends and heartbeats, which are most of them, by a pattern. Any other line is parsed alone, and its problem
is reported.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from sys import intern

from accounting.ledger.arrays import Floats, Wholes
from accounting.ledger.chain import Checker
from accounting.ledger.findings import Finding
from accounting.ledger.integrity import Segment
from accounting.ledger.lines import blocks_of, take_points
from accounting.ledger.packed import Lines, PackedSpec, Place, links_of
from accounting.ledger.points import Points
from accounting.ledger.records import CLOCK_TOLERANCE_S, COST_RULES, FIELDS, FORMAT, Kind, Record
from accounting.ledger.validation import are_well_formed, problem_of

BATCH = 512
"""How many lines are parsed at a time."""
LONG_BYTES = 4_000_000
"""A segment of at least this size is worth importing Arrow, and its specs stay in the file until they are needed."""
WORDS = ("session", "allocation", "attempt", "job", "route", "phase", "meter")
SHARED = {str(kind): ("kind", *(name for name in WORDS if name in FIELDS[kind])) for kind in Kind}
"""By kind of record: the fields whose words are shared by many records of a ledger."""
POINT_KINDS = frozenset({str(Kind.PROGRESS), str(Kind.HEARTBEAT), str(Kind.NODE_BEAT)})
_OPENED = b'"kind":"segment_opened"'
NEWER = "it takes the version of prune-or-search that wrote it, or a later one"
NOT_JSON = "not_json"
SLIMMED = frozenset({str(Kind.ATTEMPT_STARTED), str(Kind.ATTEMPT_ENDED)})


class LedgerError(ValueError):
    """A ledger that cannot be read, or a record that cannot be written; the message is one line."""


@dataclass
class Reading:
    """How one segment is read. With ``points`` it is read lean, and the order of its times is checked too."""

    strict: bool
    points: Points | None = None
    clean: Callable[[Record], Record] | None = None
    clock: list[Finding] = field(default_factory=list)
    num_cleaned: int = 0
    """Number of records given to ``clean``."""
    _lines: Wholes = field(default_factory=lambda: array("q"))
    _times: Floats = field(default_factory=lambda: array("d"))
    _left_in: Lines | None = None
    """The file in which specs stay, if they do."""
    _is_long: bool = False
    _begin: int = 0
    """Offset of the next line in the file, if specs stay there."""
    _devices: dict[str, dict[str, float]] = field(default_factory=dict)
    """Devices held, by their text: those of many records are equal, and share one object."""

    def segment(self, path: Path, content: bytes | None = None) -> Segment:
        """Read a file as a segment; its ``content`` may be given."""
        content = content_of(path) if content is None else content
        found = Segment(path, len(content), hashlib.sha256(content).hexdigest())
        num_lines, has_torn_end = content.count(b"\n"), not content.endswith(b"\n")
        if not content:
            found.warning = f"{path.name}: empty segment skipped (its writer died before the first record)"
            return found
        if has_torn_end:
            found.warning = f"{path.name}:{num_lines + 1}: torn last line skipped"
        self._is_long = len(content) >= LONG_BYTES
        if self.points is not None and self._is_long:
            self._left_in, self._begin = Lines(path), 0
        self.read_on(found, content, Checker())
        return found

    def read_on(self, found: Segment, content: bytes, checker: Checker, number: int = 0) -> int:
        """Read lines after the first ``number`` of a segment, without a torn end; returns the last one's number."""
        num_lines, has_torn_end = number + content.count(b"\n"), not content.endswith(b"\n")
        for lines in blocks_of(content):
            place = 0
            while place < len(lines):
                follow = checker.follow(lines, place) if number and found.is_chained else 0
                if follow:
                    run = lines[place : place + follow]
                    self._enter_run(found, run, number + 1)
                    number, place = number + follow, place + follow
                    self._begin += sum(map(len, run)) + follow
                    continue
                number, line, place = number + 1, lines[place], place + 1
                self._begin += len(line) + 1
                is_end = number == num_lines and not has_torn_end
                self._enter_odd(found, line, number, checker, is_end=is_end)
        return number

    def _enter_run(self, found: Segment, lines: Sequence[bytes], first: int) -> None:
        """Enter lines known to be written by this program; ``first`` is the number of the first."""
        numbers: Sequence[int] = range(first, first + len(lines))
        begins = (
            None if self._left_in is None else list(accumulate((len(line) + 1 for line in lines), initial=self._begin))
        )
        if self.points is not None:
            numbers, lines = take_points(lines, first, self.points, self._tick_many, is_long=self._is_long)
        for begin in range(0, len(lines), BATCH):
            batch = lines[begin : begin + BATCH]
            whole = b"[" + b",".join(batch) + b"]"
            records = _parsed(whole, batch)
            is_plain = _is_plain(whole)
            if self.points is not None and is_plain and _OPENED not in whole and are_well_formed(records):
                self._enter_many(found, numbers[begin : begin + BATCH], batch, records, begins, first)
                continue
            for number, line, record in zip(numbers[begin : begin + BATCH], batch, records, strict=True):
                problem = record.get(NOT_JSON) or problem_of(record) or _version_problem(record)
                if problem is not None:
                    self._refuse(found, number, str(problem))
                    continue
                del record["seq"], record["chain"]
                text: bytes | Place = line
                if begins is not None and self._left_in is not None and record["kind"] == Kind.ATTEMPT_STARTED:
                    text = Place(self._left_in, begins[number - first], len(line))
                self._enter(found, number, text, record, is_plain=is_plain or _is_plain(line))

    def _enter_many(
        self,
        found: Segment,
        numbers: Sequence[int],
        lines: Sequence[bytes],
        records: list[Record],
        begins: Sequence[int] | None,
        first: int,
    ) -> None:
        """:meth:`_enter` for well-formed records of plain lines, when reading lean; ``begins`` are the offsets of lines."""
        self._tick_many(numbers, [record.get("written_t", record["t"]) for record in records])
        name, devices_held = found.name, self._devices
        for number, line, record in zip(numbers, lines, records, strict=True):
            del record["seq"], record["chain"]
            kind = record["kind"]
            if kind in POINT_KINDS:
                if self.points is not None:
                    self.points.take(record)
                continue
            share_words(record)
            if (devices := record.get("devices")) is not None:
                record["devices"] = devices_held.setdefault(repr(devices), devices)
            if kind in SLIMMED:
                text: bytes | Place = line
                if begins is not None and self._left_in is not None and kind == "attempt_started":
                    text = Place(self._left_in, begins[number - first], len(line))
                _slim(record, text)
            record["segment"], record["line"] = name, number
            found.records.append(record)

    def _enter_odd(self, found: Segment, line: bytes, number: int, checker: Checker, *, is_end: bool) -> None:
        """Enter a line of unknown origin; ``is_end``: it is the last of its file."""
        try:
            record = json.loads(line, parse_constant=_no_number, object_pairs_hook=_each_once)
        except _Unclear as error:
            self._refuse(found, number, str(error))
            checker.unreadable()
            return
        except (ValueError, RecursionError):
            if is_end:
                found.warning = f"{found.name}:{number}: torn last line skipped"
                return
            self._refuse(found, number, "not valid JSON")
            checker.unreadable()
            return
        problem = _problem(record, number) if isinstance(record, dict) else "not a JSON object"
        if problem is not None:
            self._refuse(found, number, problem)
            checker.unreadable()
            return
        if number == 1:
            found.opening = record.copy()
        if found.is_chained and _is_copy(found, checker, line, number, record):
            return
        self._enter(found, number, line, record, is_plain=_is_plain(line))

    def _tick_many(self, numbers: Sequence[int], times: Sequence[float]) -> None:
        """Note when lines were written; they are not read in order."""
        self._lines.extend(numbers)
        self._times.extend(times)

    def check_clock(self, name: str) -> None:
        """Report where the clock of this segment's writer went back."""
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

    def _enter(self, found: Segment, number: int, line: bytes | Place, record: Record, *, is_plain: bool) -> None:
        if self.points is not None:
            self._lines.append(number)
            self._times.append(record.get("written_t", record["t"]))
            if not is_plain and self.clean is not None:
                record = self.clean(record)
                self.num_cleaned += 1
            kind = record["kind"]
            if kind in POINT_KINDS:
                self.points.take(record)
                return
            share_words(record)
            if (devices := record.get("devices")) is not None:
                record["devices"] = self._devices.setdefault(repr(devices), devices)
            if kind in SLIMMED:
                _slim(record, line if is_plain else None)
        record["segment"], record["line"] = found.name, number
        found.records.append(record)

    def _refuse(self, found: Segment, number: int, problem: str) -> None:
        if self.strict or NEWER in problem:
            raise LedgerError(
                f"{found.path}:{number}: {problem}; restore the file from a copy, or move it away and lose its costs"
            )
        found.problems.append(("garbled", f"{found.name}:{number}: {problem}; the line is not counted"))


def content_of(path: Path) -> bytes:
    """The bytes of a segment.

    Raises:
        LedgerError: there is no such file.

    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise LedgerError(
            f"{path} is not a readable file ({error.strerror}); restore it from a copy, or move it away and lose its costs"
        ) from None


def _is_plain(text: bytes) -> bool:
    """Whether it is printable ASCII without escapes, and so safe to show unchanged."""
    return text.isascii() and b"\\" not in text and b"\x7f" not in text


def share_words(record: Record) -> None:
    """Make equal words in records one object."""
    for name in SHARED[record["kind"]]:
        if type(word := record[name]) is str:  # type: ignore[literal-required]
            record[name] = intern(word)  # type: ignore[literal-required]


def _slim(record: Record, line: bytes | Place | None) -> None:
    """Drop from a record what costs memory and is not needed. ``line`` is its text, if that is safe to show."""
    kind = record["kind"]
    if kind == "attempt_started" and line is not None:  # enums compare more slowly
        spec = record["spec"]
        if isinstance(spec, dict):
            record["spec"] = PackedSpec(links_of(spec), line)  # type: ignore[typeddict-item]
    elif kind == "attempt_ended":
        measurement = record["measurement"]
        if measurement is not None and measurement.get("energy_j") is None:
            record["measurement"] = None


def _is_copy(segment: Segment, checker: Checker, line: bytes, number: int, record: Record) -> bool:
    """Check a line against the chain and remove its chain fields; returns whether it is a copy, not to be counted."""
    seq, chain = record.pop("seq", None), record.pop("chain", None)
    problem, is_copy = checker.problem(line, seq, chain)
    if problem is not None:
        segment.problems.append(("chain_broken", f"{segment.name}:{number}: this line {problem}"))
    return is_copy


def _problem(record: Mapping[str, object], number: int) -> str | None:
    problem = problem_of(record)
    if problem is not None:
        return problem
    if number == 1 and record["kind"] != Kind.SEGMENT_OPENED:
        return f"a segment must begin with {Kind.SEGMENT_OPENED}, found {record['kind']}"
    return _version_problem(record)


def _version_problem(record: Mapping[str, object]) -> str | None:
    """Why this program cannot read the segment that the record opens, if it opens one."""
    if record["kind"] != "segment_opened":
        return None
    if record["rules"] not in range(1, COST_RULES + 1):
        return f"cost rules {record['rules']!r}, this program knows 1 to {COST_RULES}; {NEWER}"
    if record.get("format", 1) not in range(1, FORMAT + 1):
        return f"format {record['format']!r} of a ledger, this program knows 1 to {FORMAT}; {NEWER}"
    return None


def _parsed(whole: bytes, lines: Sequence[bytes]) -> list[Record]:
    """The records of lines, of which ``whole`` is a JSON list; one that is not JSON has its problem under NOT_JSON."""
    try:
        found: list[Record] = json.loads(whole, parse_constant=_no_number)  # keys are shared within one text
    except ValueError:
        return [_parsed_alone(line) for line in lines]
    return found


def _parsed_alone(line: bytes) -> Record:
    try:
        found: Record = json.loads(line, parse_constant=_no_number)
    except ValueError as error:
        problem = str(error) if isinstance(error, _Unclear) else "not valid JSON"
        return {NOT_JSON: problem}  # type: ignore[misc]
    return found


class _Unclear(ValueError):
    """Text that Python's reader takes for JSON and that means nothing, or two things; the message says why."""


def _no_number(constant: str) -> float:
    raise _Unclear(f"{constant} is not a number")


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Unclear(f"the key {twice[:60]!r} is there twice")
    return found
