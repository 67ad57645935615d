"""Planned networks not delivered because the budget was spent: which, why, and how much more they need."""

from __future__ import annotations

from collections.abc import Sequence

from accounting.ledger.records import Kind, Record, UndeliveredRecord
from accounting.words.names import label_text, unit_text
from accounting.words.quantities import macs_text
from reports.words.wording import number


def undelivered_sentences(records: Sequence[Record], unit: str) -> list[str]:
    """One sentence for each network that the last session left undelivered; none while a session is open."""
    for record in reversed(records):
        if record["kind"] == Kind.SESSION_OPENED:
            return []
        if record["kind"] == Kind.SESSION_CLOSED:
            found = record.get("undelivered")
            found = found if isinstance(found, list) else []
            return [undelivered_sentence(each, unit) for each in found if _is_whole(each)]
    return []


def undelivered_sentence(left: UndeliveredRecord, unit: str) -> str:
    """A sentence such as ``prune at 0.4M MACs, replicate 0, was not delivered: …``."""
    which = f"{label_text(str(left['label']))} at {macs_text(left['target'])} MACs, replicate {left['replicate']}"
    spent, budget, needs, needed = left["spent_h"], left["budget_h"], left["needs_h"], left["budget_needed_h"]
    hours = unit_text(unit)
    payer = left.get("waits_for") or left["route"]
    waits = f"it waits for a network of {payer}, and " if left.get("waits_for") else ""
    why = f"{waits}the budget of {payer} ({number(budget)} {hours}) is spent ({number(spent)})"
    if needs is None or needed is None:
        return (
            f"{which}, was not delivered: {why}; how much more it needs is not known, since no job was done: "
            f"set a larger budget.{payer} and run the same command again."
        )
    return (
        f"{which}, was not delivered: {why}; it needs about {number(needs)} {hours} more, by what the jobs so far took: "
        f"set budget.{payer} to {number(_rounded_up(needed))} h and run the same command again."
    )


def _is_whole(left: object) -> bool:
    """Whether a record has all that a sentence needs; the ledger's own checks ignore optional fields."""
    return (
        isinstance(left, dict)
        and all(isinstance(left.get(key), str) for key in ("label", "route"))
        and isinstance(left.get("waits_for"), (str, type(None)))
        and all(isinstance(left.get(key), int) for key in ("target", "replicate"))
        and all(isinstance(left.get(key), (int, float)) for key in ("spent_h", "budget_h"))
        and all(isinstance(left.get(key), (int, float, type(None))) for key in ("needs_h", "budget_needed_h"))
    )


def _rounded_up(hours: float) -> float:
    """The hours plus a tenth, because they are an estimate, so that the advised budget is enough."""
    return 1.1 * hours
