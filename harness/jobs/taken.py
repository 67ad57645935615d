"""Whether another attempt has taken a job over: the job has an outcome on record, or a later attempt at it has begun.

This is checked when an attempt begins and before it writes its outcome, so a job has one outcome even if a node was wrongly
believed dead. The ledger's lines are searched as text, since few of them belong to the job. Only workers' segments
are opened, and of those only what was written to since the time in question: an attempt does not read the whole ledger.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from accounting.ledger.index import begins_attempts, read_index, sessions_in
from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.records import Kind, Record, Status

SLACK_S = 600.0
"""How far a file server's clock may lag: segments written to within this time before are opened as well."""


class TakenOver(RuntimeError):
    """A later attempt at the same job has begun."""


def outcome_on_record(ledger: Path, job: str, since_t: float) -> JobOutcome | None:
    """The outcome of the first attempt at the job that succeeded since ``since_t`` (Unix seconds), if there is one.

    Older outcomes do not count: whether their files are still valid was decided when the job was proposed.
    """
    if since_t == float("inf"):
        return None
    ended = [
        r for r in _records_of(ledger, job, since_t) if r["kind"] == Kind.ATTEMPT_ENDED and r["status"] == Status.OK
    ]
    ended = [record for record in ended if record["t"] >= since_t]
    return min(ended, key=lambda record: float(record["t"]))["outcome"] if ended else None


def has_later_attempt(ledger: Path, job: str, attempt: str, since_t: float) -> bool:
    """Whether an attempt at the job has begun after this one, which began at ``since_t``.

    A session's attempts are later than those of the sessions before it, whatever the clock said then.
    """
    began = {
        r["attempt"]: (str(r["session"]), float(r["t"]))
        for r in _records_of(ledger, job, since_t)
        if r["kind"] == Kind.ATTEMPT_STARTED
    }
    own, own_t = began.pop(attempt, ("", float("-inf")))
    turns = _turns(ledger) if any(session != own for session, _ in began.values()) else {}
    return any((turns.get(session, 0), t) > (turns.get(own, 0), own_t) for session, t in began.values())


def _turns(ledger: Path) -> dict[str, int]:
    """The sessions of a ledger, numbered from 1 in the order in which they began to write; none without an index."""
    return {session: number for number, session in enumerate(sessions_in(read_index(ledger)), start=1)}


def _records_of(ledger: Path, job: str, since_t: float) -> Iterator[Record]:
    mark = f'"attempt":{json.dumps(job)[:-1]}#'.encode()
    with os.scandir(ledger) as entries:
        written = sorted(
            entry.name
            for entry in entries
            if entry.name.endswith(".jsonl")
            and begins_attempts(entry.name)
            and entry.stat().st_mtime >= since_t - SLACK_S
        )
    for name in written:
        try:
            content = (ledger / name).read_bytes()
        except FileNotFoundError:
            continue
        if mark not in content:
            continue
        for line in content.split(b"\n"):
            if mark in line:
                try:
                    record = json.loads(line)
                except ValueError:  # torn
                    continue
                yield record
