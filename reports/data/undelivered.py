"""Planned networks that the last session did not deliver because the budget was spent."""

from __future__ import annotations

from collections.abc import Sequence

from accounting.ledger.records import Kind, Record
from accounting.ledger.undelivered import Undelivered


def undelivered_networks(records: Sequence[Record]) -> tuple[Undelivered, ...]:
    """The networks that the last session left undelivered, as it recorded them; none while a session is open."""
    for record in reversed(records):
        if record["kind"] == Kind.SESSION_OPENED:
            return ()
        if record["kind"] == Kind.SESSION_CLOSED:
            said = record.get("undelivered")
            read = map(Undelivered.read, said if isinstance(said, list) else [])
            return tuple(left for left in read if left is not None)
    return ()
