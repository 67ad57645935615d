"""A note in the study's folder of what a run holds: the only record of how long a killed driver held it.

The ledger has when an allocation opened, but only the driver can say when it closed. An attempt in it shows by its own
records how long it lived; but if no attempt was running, the time that a killed driver held it would stay unpaid. So
the driver notes at every look what it holds, and the next session closes that in the ledger at the time of the last
note. The moment that Ray takes to end after its driver is not billed.
"""

from __future__ import annotations

import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from accounting.cost.evidence import Evidence, SpanKey, Trace, gather
from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter, read_lean
from accounting.study.folder import StudyFolder

log = logging.getLogger(__name__)

DRIVER_DIED = "driver_died"
"""``cause`` of an ``allocation_closed`` that a later session wrote."""


Note = Callable[[float, Sequence[str]], None]
"""Called with a time and the allocations held then."""


@contextmanager
def noting(path: Path, session: str) -> Iterator[Note]:
    """Write a note whenever holdings are reported while the block runs; then the ledger is complete and the note goes.

    The note is written in place, at once and often. A kill of this process does not tear it, and a note damaged by a
    power loss is ignored.
    """
    length = 0

    def note(t: float, allocations: Sequence[str]) -> None:
        nonlocal length
        text = json.dumps({"session": session, "t": t, "allocations": list(allocations)}).encode()
        length = max(length, len(text))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(descriptor, text.ljust(length), 0)
            finally:
                os.close(descriptor)
        except OSError:  # for example a full disk: the next note makes up for it
            log.debug("what is held could not be noted", exc_info=True)

    with suppress(OSError):
        path.unlink(missing_ok=True)
    try:
        yield note
    finally:
        with suppress(OSError):
            path.unlink()


def close_left_open(paths: StudyFolder, ledger: LedgerWriter) -> None:
    """Close, at the time of its last note, what a killed driver held without a running attempt."""
    note = _read(paths.held_note)
    if note is None:
        return
    session, noted_t, allocations = note
    for allocation, t in _left_open(paths, session, noted_t, allocations):
        ledger.append(Kind.ALLOCATION_CLOSED, t=t, session=session, allocation=allocation, cause=DRIVER_DIED)
    with suppress(OSError):
        paths.held_note.unlink()


def _left_open(
    paths: StudyFolder, session: str, noted_t: float, allocations: Sequence[str]
) -> Iterator[tuple[str, float]]:
    found = read_lean(paths.ledger)
    evidence = gather(found.records, found.points)
    by_span: dict[SpanKey, list[Trace]] = defaultdict(list)
    for trace in evidence.traces.values():
        by_span[trace.span].append(trace)
    for allocation in allocations:
        key = (session, allocation)
        traces = by_span[key]
        if _is_open(key, evidence) and all(trace.ended is not None for trace in traces):
            yield allocation, max([noted_t, evidence.opened[key]["t"], *(trace.last_t for trace in traces)])


def _is_open(key: SpanKey, evidence: Evidence) -> bool:
    return key in evidence.opened and key not in evidence.closed and key[0] not in evidence.session_closed


def _read(path: Path) -> tuple[str, float, list[str]] | None:
    """Session, time and allocations; None if there is no readable note."""
    try:
        note = json.loads(path.read_bytes())
        return str(note["session"]), float(note["t"]), [str(name) for name in note["allocations"]]
    except (OSError, ValueError, TypeError, KeyError):
        return None
