"""Whether a job is another attempt's by now: it has an outcome on record, or a later attempt at it has begun.

Asked when an attempt begins and before it writes its outcome, so that a job has one outcome even where a node was believed
dead and was not. The ledger's lines are searched as text: few of them are this job's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.records import Kind, Record, Status


class TakenOver(RuntimeError):
    """A later attempt at the job has begun."""


def outcome_on_record(ledger: Path, job: str, since_t: float) -> JobOutcome | None:
    """The outcome of the job's attempt that was ok first since then (Unix seconds), if there is one.

    An older one does not count: whether its files still hold was decided when the job was proposed.
    """
    ended = [r for r in _records_of(ledger, job) if r["kind"] == Kind.ATTEMPT_ENDED and r["status"] == Status.OK]
    ended = [record for record in ended if record["t"] >= since_t]
    return min(ended, key=lambda record: float(record["t"]))["outcome"] if ended else None


def has_later_attempt(ledger: Path, job: str, attempt: str) -> bool:
    """Whether an attempt at the job began after this one."""
    began = {r["attempt"]: float(r["t"]) for r in _records_of(ledger, job) if r["kind"] == Kind.ATTEMPT_STARTED}
    own_t = began.get(attempt, float("-inf"))
    return any(t > own_t for other, t in began.items() if other != attempt)


def _records_of(ledger: Path, job: str) -> Iterator[Record]:
    mark = f'"attempt":{json.dumps(job)[:-1]}#'.encode()
    for path in sorted(ledger.glob("*.jsonl")):
        try:
            content = path.read_bytes()
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
