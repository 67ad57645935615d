"""How far a study is: jobs by state, spend against budgets, best networks so far. Reads the ledger only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from accounting.records import Phase, Status
from reports.anytime import anytime_curve
from reports.costs import HEADLINE_POLICY
from reports.frames import Frames, load_frames
from reports.wording import macs_text, number, percent, unit_text

STATES = {Status.OK: "done", Status.RUNNING: "running", Status.FAILED: "failed", Status.LOST: "interrupted"}
PHASE_ORDER = [phase.value for phase in Phase]
SHOWN_DIGITS = 6


def status(folder: Path) -> dict[str, Any]:
    """Where the study in ``folder`` stands, as JSON-able values; costs in the ledger's unit.

    Raises:
        NotAStudy: the folder is no study.

    """
    frames = load_frames(folder)
    sessions = frames.view.sessions
    jobs = _jobs(frames)
    return {
        "study": frames.info.name,
        "unit": frames.unit,
        "session": None if not sessions else {"closed": sessions[-1].closed, "reason": sessions[-1].reason},
        "jobs": jobs,
        "totals": {state: sum(row[state] for row in jobs) for state in STATES.values()},
        "spend": _spend(frames),
        "best": _best(frames),
        "warnings": list(frames.warnings),
    }


def format_status(state: dict[str, Any]) -> str:
    """The status as plain text, a few lines."""
    unit = unit_text(state["unit"])
    totals = ", ".join(f"{count} {name}" for name, count in state["totals"].items() if count or name == "done")
    lines = [f"{state['study']}: {_session_text(state['session'])}; jobs: {totals}", ""]
    lines += _aligned(
        ["route", "phase", *STATES.values()],
        [[row["route"], row["phase"], *(str(row[name] or "") for name in STATES.values())] for row in state["jobs"]],
    )
    spend = [[row["route"], str(row["replicate"]), number(row["spent"]), _budget_text(row)] for row in state["spend"]]
    lines += ["", *_aligned(["route", "replicate", f"spent ({unit})", f"budget ({unit})"], spend)]
    best = [
        [macs_text(row["target"]), row["route"], percent(row["val_top1"]), str(row["replicate"])]
        for row in state["best"]
    ]
    lines += ["", *_aligned(["target MACs", "route", "best val", "replicate"], best)] if best else []
    lines += [f"warning: {warning}" for warning in state["warnings"]]
    return "\n".join(line.rstrip() for line in lines)


def _jobs(frames: Frames) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str], Counter[str]] = {}
    for job in frames.view.jobs:
        counts.setdefault((job.route, job.phase), Counter())[STATES[job.status]] += 1
    return [
        {"route": route, "phase": phase, **{state: counts[route, phase][state] for state in STATES.values()}}
        for route, phase in sorted(counts, key=lambda key: (key[0], PHASE_ORDER.index(key[1])))
    ]


def _spend(frames: Frames) -> list[dict[str, Any]]:
    """Allocated by route and replicate, every attempt once, against the budget of a route and replicate."""
    spent: dict[tuple[str, int], float] = {}
    for attempt in frames.view.attempts:
        if attempt.device_kind == frames.view.device_kind:
            key = (attempt.route, attempt.replicate)
            spent[key] = spent.get(key, 0.0) + attempt.allocated_s / 3600.0
    return [
        {
            "route": route,
            "replicate": replicate,
            "spent": spent[route, replicate],
            "budget": frames.info.budget_h.get(route),
        }
        for route, replicate in sorted(spent)
    ]


def _best(frames: Frames) -> list[dict[str, Any]]:
    """Best validation accuracy so far by target and route, and the replicate that has it."""
    best: list[dict[str, Any]] = []
    for target in frames.info.targets:
        for route in sorted({attempt.route for attempt in frames.view.attempts}):
            found = [
                (curve.best, -replicate)
                for replicate in {a.replicate for a in frames.view.attempts if a.route == route}
                if (curve := _curve(frames, route, replicate, target)).best is not None
            ]
            if found:
                val_top1, replicate = max(found)
                best.append({"target": target, "route": route, "val_top1": val_top1, "replicate": -replicate})
    return best


def _curve(frames: Frames, route: str, replicate: int, target: int) -> Any:
    return anytime_curve(
        frames.view,
        route=route,
        replicate=replicate,
        target=target,
        policy=HEADLINE_POLICY,
        num_targets=frames.info.num_targets,
    )


def _session_text(session: dict[str, Any] | None) -> str:
    if session is None:
        return "never run"
    return f"stopped ({session['reason']})" if session["closed"] else "running, or cut off without a goodbye"


def _budget_text(row: dict[str, Any]) -> str:
    if row["budget"] is None:
        return "no cap"
    return f"{number(row['budget'])} ({100 * row['spent'] / row['budget']:.0f} %)"


def _aligned(header: list[str], rows: list[list[str]]) -> list[str]:
    """Columns padded to their widest cell."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
