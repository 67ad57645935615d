"""Networks that were not delivered, in sentences: which, why, and how much more they need."""

from __future__ import annotations

from accounting.ledger.undelivered import Undelivered
from accounting.words.names import label_text, unit_text
from accounting.words.quantities import macs_text
from reports.words.wording import number


def undelivered_sentence(left: Undelivered, unit: str) -> str:
    """A sentence such as ``prune at 0.4M MACs, replicate 0, was not delivered: …``."""
    which = f"{label_text(left.label)} at {macs_text(left.target)} MACs, replicate {left.replicate}"
    hours = unit_text(unit)
    payer = left.waits_for or left.route
    waits = f"it waits for a network of {payer}, and " if left.waits_for else ""
    spent = number(left.spent_h)
    is_spent = left.budget_h is None or left.spent_h >= left.budget_h
    state = f"is spent ({spent})" if is_spent else f"does not pay for it ({spent} spent)"
    why = f"{waits}the budget of {payer} ({number(left.budget_h)} {hours}) {state}"
    if left.needs_h is None or left.budget_needed_h is None:
        return (
            f"{which}, was not delivered: {why}; how much more it needs is not known, since no job was done: "
            f"set a larger budget.{payer} and run the same command again."
        )
    basis = "by the study's plan" if left.by_plan else "by what the jobs so far took"
    return (
        f"{which}, was not delivered: {why}; it needs about {number(left.needs_h)} {hours} more, {basis}: "
        f"set budget.{payer} to {number(_rounded_up(left.budget_needed_h))} h and run the same command again."
    )


def _rounded_up(hours: float) -> float:
    """The hours plus a tenth, because they are an estimate, so that the advised budget is enough."""
    return 1.1 * hours
