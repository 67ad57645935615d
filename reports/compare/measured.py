"""Which measurements are of networks within a target: at the ends of epochs, and as outcomes of jobs.

A supernet in training does not count, as it could not be delivered. Fine-tuning that prunes gradually is in the ledger with
its initial MACs, so only its outcome counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from accounting.cost.attempts import Attempt, CostView
from accounting.ledger.records import Phase


def counts_by_epoch(attempt: Attempt, target: int) -> bool:
    """Whether an attempt's epochs end with a network within the target."""
    macs = attempt.network_macs
    return attempt.phase != Phase.SUPERNET and macs is not None and 0 < macs <= target


def outcome_within(attempt: Attempt, target: int) -> float | None:
    """The validation accuracy of an attempt's resulting network; None if there is none within the target."""
    outcome = attempt.outcome if isinstance(attempt.outcome, dict) else {}
    macs, top1 = outcome.get("macs"), outcome.get("val_top1")
    if isinstance(macs, (int, float)) and 0 < macs <= target and isinstance(top1, (int, float)):
        return float(top1)
    return None


def best_within(view: CostView, target: int) -> Iterator[tuple[str, int, float]]:
    """(route, replicate, best validation accuracy) for each attempt with one, among those for this target or for all."""
    for attempt in view.attempts:
        if attempt.target in (target, None):
            by_epoch = view.progress.best_top1(attempt.attempt) if counts_by_epoch(attempt, target) else None
            found = [top1 for top1 in (by_epoch, outcome_within(attempt, target)) if top1 is not None]
            if found:
                yield attempt.route, attempt.replicate, max(found)
