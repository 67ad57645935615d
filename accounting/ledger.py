"""The ledger on disk: append-only JSON lines, one segment (file) per writing process, each line fsynced.

What a line says is in :mod:`accounting.records`; what the lines mean together in :mod:`accounting.attempts`.
A process can die in the middle of a write, so the last line of a segment may be torn: it is skipped, with a warning.
Anything else that cannot be read means that the costs cannot be trusted, and is an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from accounting.records import COST_RULES, Kind, Record
from accounting.validation import problem_of


class LedgerError(ValueError):
    """A ledger that cannot be read or a record that cannot be written; the message is one line."""


@dataclass(frozen=True)
class Ledger:
    """All records of a study. Those read from disk also carry ``segment`` (file name) and ``line`` (from 1)."""

    records: tuple[Record, ...] = ()
    """Sorted by ``t``; records of equal time stay in the order of segment name and line."""
    warnings: tuple[str, ...] = ()
    """One line for each torn line that was skipped."""


class LedgerWriter:
    """Appends records to a new segment of its own. Safe to share between threads, not between processes."""

    def __init__(self, folder: Path, session: str, writer: str, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._clock, self._lock = clock, threading.Lock()
        host, pid = socket.gethostname(), os.getpid()
        self.path = folder / _segment_name(clock(), writer, host, pid)
        self._fd: int | None = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self.append(Kind.SEGMENT_OPENED, rules=COST_RULES, session=session, writer=writer, host=host, pid=pid)
        _sync_folder(folder)

    def append(self, kind: Kind, /, t: float | None = None, **fields: Any) -> None:
        """Write one record and wait until it is on disk; ``t`` defaults to the writer's clock.

        A record with a ``t`` of its own (something that happened earlier) also gets the clock, as ``written_t``.

        Raises:
            LedgerError: a field of the kind is missing, has the wrong type or is not JSON (NaN is not); nothing is
                written then. Also when the writer is closed.
            OSError: the disk refused; what was written of the line is taken back.

        """
        with self._lock:
            if self._fd is None:
                raise LedgerError(f"{self.path.name} is closed; open a new LedgerWriter to go on")
            now = self._clock()
            record = {"kind": str(kind), "t": now if t is None else t, **fields}
            if t is not None:
                record["written_t"] = now
            problem = problem_of(record)
            if problem is not None:
                raise LedgerError(f"not written to the ledger: {problem}")
            try:
                line = json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n"
            except (TypeError, ValueError) as error:
                raise LedgerError(f"not written to the ledger: {kind}: {error}") from error
            _write_line(self._fd, line.encode())

    def close(self) -> None:
        """Close the segment; closing twice is fine."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_ledger(folder: Path) -> Ledger:
    """All segments of the folder as one ledger; a missing folder is an empty one.

    Raises:
        LedgerError: a line other than a segment's last is garbled, a segment does not begin with ``segment_opened``,
            a record is malformed, or the rules version is not ours. The message names file and line.

    """
    records: list[Record] = []
    warnings: list[str] = []
    for path in sorted(folder.glob("*.jsonl")):
        segment, warning = _read_segment(path)
        records += segment
        warnings += [warning] if warning else []
    return Ledger(tuple(sorted(records, key=_time_of)), tuple(warnings))


def _read_segment(path: Path) -> tuple[list[Record], str | None]:
    lines = path.read_bytes().split(b"\n")
    unfinished = lines.pop()  # empty when the last line is complete
    if not lines and not unfinished:
        return [], f"{path.name}: empty segment skipped (its writer died before the first record)"
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError:
            if number == len(lines) and not unfinished:
                return records, f"{path.name}:{number}: torn last line skipped"
            raise LedgerError(_refusal(path, number, "not valid JSON")) from None
        problem = "not a JSON object" if not isinstance(record, dict) else problem_of(record)
        if problem is None:
            problem = _opening_problem(record, number)
        if problem is not None:
            raise LedgerError(_refusal(path, number, problem))
        records.append(record | {"segment": path.name, "line": number})
    return records, f"{path.name}:{len(lines) + 1}: torn last line skipped" if unfinished else None


def _opening_problem(record: Record, number: int) -> str | None:
    opens = record["kind"] == Kind.SEGMENT_OPENED
    if number == 1 and not opens:
        return f"a segment must begin with {Kind.SEGMENT_OPENED}, found {record['kind']}"
    if opens and record["rules"] not in range(1, COST_RULES + 1):
        return (
            f"cost rules {record['rules']!r}, this program knows 1 to {COST_RULES}; it takes the version of "
            "prune-or-search that wrote it, or a later one"
        )
    return None


def _refusal(path: Path, number: int, problem: str) -> str:
    return f"{path}:{number}: {problem}; restore the file from a copy, or move it away and lose its costs"


def _segment_name(t: float, writer: str, host: str, pid: int) -> str:
    utc = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(t))
    plain = [re.sub(r"[^A-Za-z0-9_.]+", "_", part)[:60] for part in (writer, host)]
    return f"{utc}-{plain[0]}-{plain[1]}-{pid}-{secrets.token_hex(3)}.jsonl"


def _write_line(fd: int, line: bytes) -> None:
    length = os.fstat(fd).st_size
    try:
        written = os.write(fd, line)
        while written < len(line):
            written += os.write(fd, line[written:])
        os.fsync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, length)
        raise


def _sync_folder(folder: Path) -> None:
    """Make the new file's name durable too; some file systems cannot sync a folder, which is fine."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _time_of(record: Record) -> float:
    return float(record["t"])
