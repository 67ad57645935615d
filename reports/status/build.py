"""The progress of a study: jobs by state, spending against budgets, best networks so far. Reads the ledger only."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

from accounting.cost.shares import exports_h, ledger_h, spent_h, startups_h
from accounting.ledger.driver_lock import Driver, Life, find_driver
from accounting.ledger.records import Kind, Phase, Status
from accounting.study.folder import StudyFolder
from accounting.words.names import Unit
from reports.compare.measured import best_within
from reports.data.repeated import repeated_work
from reports.data.source import Source, load_source
from reports.data.undelivered import undelivered_networks
from reports.status.values import STATES, Best, JobsRow, Spend, StudyStatus

OF_STATE = (Status.OK, Status.RUNNING, Status.FAILED, Status.LOST)
"""The job's status in each of :data:`reports.status.values.STATES`."""
PHASE_ORDER = [phase.value for phase in Phase]


def status(folder: Path) -> StudyStatus:
    """The state of the study in ``folder``, with costs in the ledger's unit.

    Raises:
        NotAStudy: the folder is not a study.

    """
    source = load_source(folder)
    view, driver = source.view, _driver(folder, source)
    return StudyStatus(
        study=source.info.name,
        is_rehearsal=source.info.rehearsal is not None,
        unit=view.unit,
        session=view.sessions[-1] if view.sessions else None,
        driver=driver,
        jobs=_jobs(source, driver.life),
        spend=_spend(source),
        exports_h=exports_h(view),
        start_ups_h=startups_h(view),
        allocated_h={Unit.of(kind): hours for kind, hours in sorted(ledger_h(view).items())},
        best=_best(source),
        undelivered=undelivered_networks(source.ledger.records),
        repeated=repeated_work(view, source.ledger.records),
        caveats=source.caveats,
    )


def _jobs(source: Source, life: Life) -> tuple[JobsRow, ...]:
    """Jobs by state; those that were running when a driver was killed are interrupted, as they ended with it."""
    counts: dict[tuple[str, str], Counter[Status]] = {}
    for job in source.view.jobs:
        is_cut = job.status is Status.RUNNING and life is Life.GONE
        counts.setdefault((job.route, job.phase), Counter())[Status.LOST if is_cut else job.status] += 1
    return tuple(
        JobsRow(route, phase, {state: of[each] for state, each in zip(STATES, OF_STATE, strict=True)})
        for (route, phase), of in sorted(counts.items(), key=lambda item: (item[0][0], PHASE_ORDER.index(item[0][1])))
    )


def _spend(source: Source) -> tuple[Spend, ...]:
    """What each route spent in each replicate, compared with its budget."""
    spent = spent_h(source.view)
    return tuple(
        Spend(route, replicate, spent[route, replicate], source.info.budget_h.get(route))
        for route, replicate in sorted(spent)
    )


def _best(source: Source) -> tuple[Best, ...]:
    """Best validation accuracy so far by target and route, and the first replicate that reached it."""
    best: dict[tuple[int, str], tuple[float, int]] = {}
    for target in source.info.targets:
        for route, replicate, val_top1 in best_within(source.view, target):
            best[target, route] = max(best.get((target, route), (-1.0, 0)), (val_top1, -replicate))
    return tuple(
        Best(target, route, val_top1, -replicate) for (target, route), (val_top1, replicate) in sorted(best.items())
    )


def _driver(folder: Path, source: Source) -> Driver:
    """Whether a driver is running, according to its lock, and on which host (the ledger's if the lock file names none)."""
    found = find_driver(StudyFolder(folder).lock)
    drivers = [r for r in source.ledger.records if r["kind"] == Kind.SEGMENT_OPENED and r.get("writer") == "driver"]
    if found.host is not None or not drivers:
        return found
    host, pid = drivers[-1]["host"], drivers[-1]["pid"]
    is_elsewhere = host not in (None, socket.gethostname())
    return Driver(Life.UNKNOWN if found.life is Life.GONE and is_elsewhere else found.life, host, pid)
