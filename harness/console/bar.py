"""The progress bar of a running study, as text: jobs done of those planned, time left, spend against budgets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from accounting.cost.shares import spent_h
from accounting.cost.values import CostView
from accounting.ledger.records import Status
from accounting.words.names import unit_text
from accounting.words.plain_text import plain
from accounting.words.quantities import HOUR_S
from harness.console.outlook import outlook
from harness.scheduling.simulated import PlannedJob
from reports.data.study import read_study
from reports.errors import NotAStudy
from reports.words.wording import number

WIDTH = 24


def bar_text(view: CostView, planned: Sequence[PlannedJob] | None, begin_t: float, width: int, folder: Path) -> str:
    """Two lines, each cut to the terminal's width; the time left is estimated from ``begin_t``, the session's begin."""
    ok = [job for job in view.jobs if job.status is Status.OK]
    running = sum(job.status is Status.RUNNING for job in view.jobs)
    if planned is None:
        parts = [f"{len(ok)} jobs done"]
    else:
        now = outlook(planned, view)
        filled = round(WIDTH * now.share)
        parts = [f"{'█' * filled}{'░' * (WIDTH - filled)} {now.num_done} of {now.num_planned} jobs"]
        parts += _time_left(planned, view, begin_t)
    parts += [f"{running} running"] if running else []
    parts += [f"{view.num_failed} failed"] if view.num_failed else []
    return "\n".join(line[:width] for line in (", ".join(parts), _spend(view, folder)) if line)


def _time_left(planned: Sequence[PlannedJob], view: CostView, begin_t: float) -> list[str]:
    """The time left, from the share of the planned work that this session has done; empty before its first job ends."""
    before = frozenset(a.job for a in view.attempts if a.status is Status.OK and a.end_t < begin_t)
    share = outlook(planned, view).share
    earlier = outlook(planned, _only(view, before)).share if before else 0.0
    if share <= earlier or share >= 1.0:
        return []
    left_s = (time.time() - begin_t) * (1.0 - share) / (share - earlier)
    return [f"about {_short(left_s)} left"]


def _only(view: CostView, jobs: frozenset[str]) -> CostView:
    from dataclasses import replace

    return replace(view, jobs=tuple(job for job in view.jobs if job.job in jobs))


def _spend(view: CostView, folder: Path) -> str:
    """What each route has spent over all replicates, against its budgets."""
    try:
        info, _ = read_study(folder)
    except NotAStudy:
        return ""
    by_route: dict[str, float] = {}
    for (route, _), hours in spent_h(view).items():
        by_route[route] = by_route.get(route, 0.0) + hours
    parts = []
    for route, hours in sorted(by_route.items()):
        budget_h = info.budget_h.get(route)
        of = "" if budget_h is None else f" of {number(budget_h * info.replicates)}"
        parts.append(f"{plain(route)} {number(hours)}{of}")
    return f"spent ({unit_text(view.unit)}): {', '.join(parts)}" if parts else ""


def _short(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / HOUR_S:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
