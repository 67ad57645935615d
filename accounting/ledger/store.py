"""The ledger on disk: append-only JSON lines, one segment (file) per writing process, each line fsynced.

:mod:`accounting.ledger.records` says what a line means, :mod:`accounting.cost.attempts` what the lines mean together. A
process can die in the middle of a write, so the last line of a segment may be torn: it is skipped, with a warning.
Anything else that cannot be read means that the costs cannot be trusted, and is an error.

**Format 2** (``format`` of ``segment_opened``; format 1 has none of this and can still be read):

- *One segment per process that writes*: a worker that runs a thousand attempts appends to one file
  (:func:`shared_writer`), so the number of files grows with processes, not with attempts.
- *Lines are chained* (:mod:`accounting.ledger.chain`), so a changed, removed, duplicated or moved line is detected,
  even in a segment whose writer was killed. A chain cannot show that its end was cut off or that all of it is gone.
- *The index* (:mod:`accounting.ledger.index`) shows that: a segment is registered before its first record, and sealed
  with its length and hash when its session is over. ``segment_opened`` carries the ledger's id and the segment's own
  ``name``, to tell apart a file from another study, a copy and a renamed file.
- *Ready to be compacted*: a sealed segment never changes, and its seal vouches for its content. The sealed segments of
  finished sessions can be copied into Parquet (columns ``segment``, ``line``, ``kind``, ``t`` and the record as JSON);
  the JSON lines are kept unchanged, and are read again if a seal does not match.

A plain list of hashes by the driver would not be enough, since workers write on other machines and outlive a killed
driver. Hashing costs about a microsecond per line, little next to an fsync.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from accounting.ledger.chain import Chain
from accounting.ledger.files import sync_folder, write_line
from accounting.ledger.index import Opener, read_index, register, seal
from accounting.ledger.reader import Ledger, LedgerError, read_lean, read_ledger
from accounting.ledger.records import COST_RULES, FORMAT, Kind
from accounting.ledger.validation import problem_of

__all__ = ["FORMAT", "Ledger", "LedgerError", "LedgerWriter", "read_lean", "read_ledger", "shared_writer"]

log = logging.getLogger(__name__)

_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class LedgerWriter:
    """Appends records to a new segment of its own. Safe to share between threads, not between processes.

    ``session_opened`` seals what earlier sessions left; closing the writer after ``session_closed`` seals this
    session's segments.
    """

    def __init__(self, folder: Path, session: str, writer: str, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._clock, self._lock, self._chain = clock, threading.Lock(), Chain()
        host, pid = socket.gethostname(), os.getpid()
        self.path = folder / _segment_name(clock(), writer, host, pid)
        self._fd: int | None = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._seals = False
        try:
            sync_folder(folder)
            opener: Opener = {"writer": writer, "session": session, "host": host, "pid": pid}
            ledger = register(folder, self.path.name, opener)
            self.append(
                Kind.SEGMENT_OPENED, rules=COST_RULES, **opener, format=FORMAT, ledger=ledger, name=self.path.name
            )
        except BaseException:
            self.close()
            raise

    def append(self, kind: Kind, /, t: float | None = None, **fields: object) -> float:
        """Write one record and wait until it is on disk; returns its ``t``, which defaults to the writer's clock.

        A record with a given ``t`` (something that happened earlier) also gets the clock's time, as ``written_t``.

        Raises:
            LedgerError: a field of the kind is missing, has the wrong type or is not JSON (NaN is not), or the writer
                is closed; nothing is written then.
            OSError: the disk refused; the part of the line already written is removed.

        """
        if kind == Kind.SESSION_OPENED:
            seal(self.path.parent, without=self.path.name)
        if kind == Kind.SESSION_CLOSED:
            index, self._seals = read_index(self.path.parent), True
            fields.setdefault("segments", 0 if index is None else index.num_registered)
        with self._lock:
            if self._fd is None:
                raise LedgerError(f"{self.path.name} is closed; open a new LedgerWriter to continue")
            now = self._clock()
            own_t = now if t is None else t
            record = {"kind": str(kind), "t": own_t, **fields}
            if t is not None:
                record["written_t"] = now
            problem = problem_of(record)
            if problem is not None:
                raise LedgerError(f"not written to the ledger: {problem}")
            try:
                body = _ENCODER.encode(record)
            except (TypeError, ValueError) as error:
                raise LedgerError(f"not written to the ledger: {kind}: {error}") from error
            line, digest = self._chain.link(body.encode())
            write_line(self._fd, line)
            self._chain.move_on(digest)
            return own_t

    def close(self) -> None:
        """Close the segment; closing twice is fine."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
        if self._seals:
            self._seals = False
            try:
                seal(self.path.parent)
            except OSError as error:
                log.warning("the ledger's segments were not sealed (%s); the next session does it", error)

    @property
    def closed(self) -> bool:
        """Whether the writer is closed, so that nothing more can be appended."""
        return self._fd is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def shared_writer(folder: Path, session: str, writer: str) -> Iterator[LedgerWriter]:
    """Yield a segment for this process: the one its previous attempt left open, if of the same session; else a new one.

    Attempts that run at the same time in one process get a segment each. If the block fails, its writer is not used
    again, so whatever happened to its file affects no later attempt.
    """
    key = (folder, session, writer, os.getpid())
    idle_key, idle = _IDLE.pop() if _IDLE else (None, None)
    if idle is not None and (idle_key != key or not idle.path.exists()):
        if idle_key is not None and idle_key[-1] == key[-1]:
            idle.close()
        idle = None
    ledger = idle or LedgerWriter(folder, session, writer)
    try:
        yield ledger
    except BaseException:
        ledger.close()
        raise
    if _IDLE or ledger.closed:
        ledger.close()
    else:
        _IDLE.append((key, ledger))


_IDLE: list[tuple[tuple[Path, str, str, int], LedgerWriter]] = []
"""At most one writer that no attempt of this process uses; global, because it must live as long as the process."""


def _segment_name(t: float, writer: str, host: str, pid: int) -> str:
    utc = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(t))
    plain = [re.sub(r"[^A-Za-z0-9_.]+", "_", part)[:60] for part in (writer, host)]
    return f"{utc}-{plain[0]}-{plain[1]}-{pid}-{secrets.token_hex(3)}.jsonl"
