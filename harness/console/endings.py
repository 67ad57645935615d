"""How a study ended: what its budgets left undelivered, what failed, and which exit code that is.

A budget that only ended a search early is an end as planned. One that left a planned network undelivered is not: the
study says which one, why, and how much more it needs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from accounting.cost.attempts import derive
from accounting.ledger.store import read_ledger
from harness.config.study import StudyConfig
from harness.console.outlook import Expect, Undelivered, undelivered
from harness.errors import StudyFailed
from harness.paths import StudyPaths
from harness.scheduling.scheduler import Scheduler
from reports.data.undelivered import undelivered_sentence


def left_by_budget(scheduler: Scheduler, config: StudyConfig, expect: Expect, paths: StudyPaths) -> list[Undelivered]:
    """The planned networks of routes that a spent budget has stopped, that there are not."""
    if not scheduler.stopped:
        return []
    view = derive(read_ledger(paths.ledger).records, now=time.time())
    return [
        each
        for each in undelivered(expect(), view, config.budget.model_dump())
        if any((id.route, id.replicate) == (each.route, each.replicate) for id in scheduler.stopped)
    ]


def check_ending(
    scheduler: Scheduler, targets: Sequence[int], left: Sequence[Undelivered], unit: str, page: Path
) -> None:
    """``StudyFailed`` unless every planned network was delivered."""
    if scheduler.failed:
        job, reason = next(iter(scheduler.failed.items()))
        raise StudyFailed(f"{len(scheduler.failed)} jobs failed, the first {job}: {reason}; the report is {page}")
    if left:
        first = undelivered_sentence(left[0].as_dict(), unit)
        more = f" Nor were {len(left) - 1} more, which the report names." if len(left) > 1 else ""
        raise StudyFailed(f"{first}{more} The report is {page}")
    if missing := scheduler.undelivered(targets):
        raise StudyFailed(
            f"no network was delivered by {'; '.join(missing)}: no candidate within it could be trained; "
            f"the report is {page}"
        )
