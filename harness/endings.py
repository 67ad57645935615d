"""How a study ended: what its budgets left undelivered, what failed, and which exit code that is.

A budget that only ended a search early is an end as planned. One that left a planned network undelivered is not: the
study says which one, why, and how much more it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import StudyFailed
from harness.outlook import Undelivered
from harness.scheduler import Scheduler
from reports.undelivered import undelivered_sentence


def check_ending(
    scheduler: Scheduler, targets: Sequence[int], left: Sequence[Undelivered], unit: str, page: Path
) -> None:
    """``StudyFailed`` unless every planned network was delivered."""
    if scheduler.failed:
        job, reason = next(iter(scheduler.failed.items()))
        raise StudyFailed(f"{len(scheduler.failed)} jobs failed, the first {job}: {reason}; the report is {page}")
    if left:
        sentences = " ".join(undelivered_sentence(each.as_dict(), unit) for each in left)
        raise StudyFailed(f"{sentences} The report is {page}")
    if missing := scheduler.undelivered(targets):
        raise StudyFailed(
            f"no network was delivered by {'; '.join(missing)}: no candidate within it could be trained; "
            f"the report is {page}"
        )
