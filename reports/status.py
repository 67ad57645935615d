"""The progress of a study: jobs by state, spending against budgets, best networks so far. Reads the ledger only."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path
from typing import TypedDict

from accounting.cost.shares import exports_h, ledger_h, spent_h, startups_h
from accounting.ledger.driver_lock import Life, find_driver
from accounting.ledger.records import Kind, Phase, Status
from accounting.study.folder import StudyFolder
from accounting.words.columns import in_columns
from accounting.words.names import Unit, unit_text
from accounting.words.quantities import macs_text
from reports.compare.measured import best_within
from reports.data.repeated import repeated_work
from reports.data.source import Source, load_source
from reports.data.undelivered import undelivered_networks
from reports.sentences.repeated import repeated_sentence
from reports.sentences.undelivered import undelivered_sentence
from reports.words.wording import number, percent

STATES = {Status.OK: "done", Status.RUNNING: "running", Status.FAILED: "failed", Status.LOST: "interrupted"}
UNCHARGED = {"exports": "exports (no route)", "start_ups": "start-ups without an attempt (no route)"}
PHASE_ORDER = [phase.value for phase in Phase]


class JobsRow(TypedDict):
    """The number of jobs of a route and phase in each state."""

    route: str
    phase: str
    done: int
    running: int
    failed: int
    interrupted: int


class Spend(TypedDict):
    """What a route spent in a replicate, and its budget (None: no limit), in the study's unit."""

    route: str
    replicate: int
    spent: float
    budget: float | None


class Best(TypedDict):
    """The best validation accuracy so far at a target, and the first replicate that reached it."""

    target: int
    route: str
    val_top1: float
    replicate: int


class Driver(TypedDict):
    """Whether a driver is alive, and on which host."""

    life: str
    host: str | None
    pid: int | None


class LastSession(TypedDict):
    """How the last session ended, if it has."""

    closed: bool
    reason: str | None


class StudyStatus(TypedDict):
    """The state of a study, as ``status --json`` prints it."""

    study: str
    rehearsal: bool
    unit: str
    session: LastSession | None
    driver: Driver
    jobs: list[JobsRow]
    totals: dict[str, int]
    spend: list[Spend]
    uncharged: dict[str, float]
    allocated: dict[str, float]
    best: list[Best]
    undelivered: list[str]
    repeated: list[str]
    warnings: list[str]


def status(folder: Path) -> StudyStatus:
    """The state of the study in ``folder`` as JSON-able values, with costs in the ledger's unit.

    Raises:
        NotAStudy: the folder is not a study.

    """
    source = load_source(folder)
    sessions = source.view.sessions
    jobs = _jobs(source)
    return {
        "study": source.info.name,
        "rehearsal": source.info.rehearsal is not None,
        "unit": source.view.unit,
        "session": None if not sessions else {"closed": sessions[-1].closed, "reason": sessions[-1].reason},
        "driver": _driver(folder, source),
        "jobs": jobs,
        "totals": {state: sum(_by_state(row)[state] for row in jobs) for state in STATES.values()},
        "spend": _spend(source),
        "uncharged": {"exports": exports_h(source.view), "start_ups": startups_h(source.view)},
        "allocated": {Unit.of(kind): hours for kind, hours in sorted(ledger_h(source.view).items())},
        "best": _best(source),
        "undelivered": [
            undelivered_sentence(left, source.view.unit) for left in undelivered_networks(source.ledger.records)
        ],
        "repeated": [repeated_sentence(work) for work in repeated_work(source.view, source.ledger.records)],
        "warnings": list(source.warnings),
    }


def format_status(state: StudyStatus) -> str:
    """The status as a few lines of plain text."""
    unit = unit_text(state["unit"])
    totals = ", ".join(f"{count} {name}" for name, count in state["totals"].items() if count or name == "done")
    jobs = [
        [row["route"], row["phase"], *(str(count or "") for count in _by_state(row).values())] for row in state["jobs"]
    ]
    spend = _spend_rows(state)
    best = [
        [macs_text(row["target"]), row["route"], percent(row["val_top1"]), str(row["replicate"])]
        for row in state["best"]
    ]
    lines = [
        f"{state['study']}: {_session_text(state['session'], state['driver'])}; jobs: {totals}",
        *_aligned(["route", "phase", *STATES.values()], jobs),
        *_aligned(["route", "replicate", f"spent ({unit})", f"budget ({unit})"], spend),
        *_aligned(["target MACs", "route", "best val", "replicate"], best),
    ]
    lines += [line for text in state["undelivered"] for line in ("", text)]
    lines += ["", *state["repeated"]] if state["repeated"] else []
    lines += [f"warning: {warning}" for warning in state["warnings"]]
    return "\n".join(line.rstrip() for line in lines)


def _spend_rows(state: StudyStatus) -> list[list[str]]:
    """What each route spent, what is charged to none, and the ledger's total; each further unit has rows of its own."""
    rows = [[row["route"], str(row["replicate"]), number(row["spent"]), _budget_text(row)] for row in state["spend"]]
    rows += [[UNCHARGED[name], "", number(hours), ""] for name, hours in state["uncharged"].items() if hours > 0]
    allocated = state["allocated"]
    if rows:
        rows.append(["total", "", number(allocated.get(state["unit"], 0.0)), ""])
    others = [(unit, hours) for unit, hours in allocated.items() if unit != state["unit"]]
    return rows + [[f"besides, in {unit_text(unit)}", "", number(hours), ""] for unit, hours in others]


def _jobs(source: Source) -> list[JobsRow]:
    counts: dict[tuple[str, str], Counter[Status]] = {}
    for job in source.view.jobs:
        counts.setdefault((job.route, job.phase), Counter())[job.status] += 1
    return [
        {
            "route": route,
            "phase": phase,
            "done": of[Status.OK],
            "running": of[Status.RUNNING],
            "failed": of[Status.FAILED],
            "interrupted": of[Status.LOST],
        }
        for (route, phase), of in sorted(counts.items(), key=lambda item: (item[0][0], PHASE_ORDER.index(item[0][1])))
    ]


def _by_state(row: JobsRow) -> dict[str, int]:
    """Counts in the order of :data:`STATES`."""
    counts = (row["done"], row["running"], row["failed"], row["interrupted"])
    return dict(zip(STATES.values(), counts, strict=True))


def _spend(source: Source) -> list[Spend]:
    """What each route spent in each replicate, compared with its budget."""
    spent = spent_h(source.view)
    return [
        {
            "route": route,
            "replicate": replicate,
            "spent": spent[route, replicate],
            "budget": source.info.budget_h.get(route),
        }
        for route, replicate in sorted(spent)
    ]


def _best(source: Source) -> list[Best]:
    """Best validation accuracy so far by target and route, and the first replicate that reached it."""
    best: dict[tuple[int, str], tuple[float, int]] = {}
    for target in source.info.targets:
        for route, replicate, val_top1 in best_within(source.view, target):
            best[target, route] = max(best.get((target, route), (-1.0, 0)), (val_top1, -replicate))
    return [
        {"target": target, "route": route, "val_top1": val_top1, "replicate": -replicate}
        for (target, route), (val_top1, replicate) in sorted(best.items())
    ]


def _driver(folder: Path, source: Source) -> Driver:
    """Whether a driver is running, according to its lock, and on which host (the ledger's if the lock file names none)."""
    found = find_driver(StudyFolder(folder).lock)
    host, pid = found.host, found.pid
    drivers = [r for r in source.ledger.records if r["kind"] == Kind.SEGMENT_OPENED and r.get("writer") == "driver"]
    if host is None and drivers:
        host, pid = drivers[-1]["host"], drivers[-1]["pid"]
    life = found.life
    if life is Life.GONE and found.host is None and host not in (None, socket.gethostname()):
        life = Life.UNKNOWN
    return {"life": str(life), "host": host, "pid": pid}


def _session_text(session: LastSession | None, driver: Driver) -> str:
    where = "" if driver["host"] is None else f" (process {driver['pid']} on {driver['host']})"
    if driver["life"] == Life.ALIVE:
        return f"running{where}"
    if session is None:
        return "never run"
    if session["closed"]:
        return f"stopped ({session['reason']})"
    if driver["life"] == Life.UNKNOWN:
        return f"not closed; whether its driver{where} lives cannot be known on this host"
    return "not running: its driver ended without closing the session; the same `run` continues"


def _budget_text(row: Spend) -> str:
    if row["budget"] is None:
        return "no cap"
    return f"{number(row['budget'])} ({100 * row['spent'] / row['budget']:.0f} %)"


def _aligned(header: list[str], rows: list[list[str]]) -> list[str]:
    """An empty line, then rows with columns padded to their widest cell; nothing if there are no rows."""
    if not rows:
        return []
    return ["", *in_columns([header, *rows], len(header))]
