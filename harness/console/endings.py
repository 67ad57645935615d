"""How a study ended: what its budgets left undelivered, what failed, and the resulting exit code.

A budget that only ends a search early is a normal end. One that leaves a planned network undelivered is not: the study
says which network, why, and how much more it needs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from accounting.cost.attempts import derive
from accounting.ledger.store import read_ledger
from accounting.ledger.undelivered import Undelivered
from accounting.study.folder import StudyFolder
from accounting.study.plans import NotAPlan, read_plans
from harness.config.route_files import delivers_its_own
from harness.config.study import StudyConfig
from harness.console.outlook import Expect, undelivered
from harness.errors import StudyFailed
from harness.plan import NOMINAL
from harness.scheduling.scheduler import Scheduler
from reports.sentences.undelivered import undelivered_sentence


def left_by_budget(scheduler: Scheduler, config: StudyConfig, expect: Expect, paths: StudyFolder) -> list[Undelivered]:
    """The planned networks that are missing because a spent budget stopped their route, or the route they wait for.

    A control waits for what another route would have made, such as the structure that it trains from fresh weights.
    """
    if not scheduler.stopped:
        return []
    view = derive(read_ledger(paths.ledger).records, now=time.time())
    budget_h = config.budget.model_dump()
    missing = undelivered(expect(), view, budget_h, _planned_pace(paths))
    stopped = {(id.route, id.replicate) for id in scheduler.stopped}
    left = [each for each in missing if (each.route, each.replicate) in stopped]
    for each in missing:
        if each in left or delivers_its_own(each.route):
            continue
        before = next(
            (other for other in left if (other.target, other.replicate) == (each.target, each.replicate)), None
        )
        if before is not None:
            left.append(replace(before, label=each.label, route=each.route, waits_for=before.route))
    return left


def _planned_pace(paths: StudyFolder) -> float | None:
    """How much longer jobs take than at the nominal speed of expected jobs, by the study's latest plan; None without one."""
    try:
        plans = read_plans(paths)
    except NotAPlan:
        return None
    speed = plans[-1].speed_macs_per_s if plans else None
    return None if not speed else NOMINAL.parent / speed


def check_ending(
    scheduler: Scheduler, targets: Sequence[int], left: Sequence[Undelivered], unit: str, page: Path
) -> None:
    """``StudyFailed`` unless every planned network was delivered."""
    if scheduler.failed:
        job, reason = next(iter(scheduler.failed.items()))
        num = len(scheduler.failed)
        which = f"1 job failed, {job}" if num == 1 else f"{num} jobs failed, the first {job}"
        raise StudyFailed(f"{which}: {reason}; the report is {page}")
    if left:
        first = undelivered_sentence(left[0], unit)
        more = f" Nor were {len(left) - 1} more, which the report names." if len(left) > 1 else ""
        raise StudyFailed(f"{first}{more} The report is {page}")
    if missing := scheduler.undelivered(targets):
        raise StudyFailed(
            f"no network was delivered by {'; '.join(missing)}: no candidate within it could be trained; "
            f"the report is {page}"
        )
