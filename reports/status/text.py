"""A study's status as plain text."""

from __future__ import annotations

from accounting.cost.values import Session
from accounting.ledger.driver_lock import Driver, Life
from accounting.words.columns import in_columns
from accounting.words.names import unit_text
from accounting.words.quantities import macs_text
from reports.sentences.caveats import caveat_sentences
from reports.sentences.repeated import repeated_sentence
from reports.sentences.undelivered import undelivered_sentence
from reports.status.values import STATES, Spend, StudyStatus
from reports.words.wording import number, percent

UNCHARGED = {"exports": "exports (no route)", "start_ups": "start-ups without an attempt (no route)"}


def format_status(state: StudyStatus) -> str:
    """The status as a few lines of plain text."""
    unit = unit_text(state.unit)
    totals = ", ".join(f"{count} {name}" for name, count in state.totals.items() if count or name == "done")
    jobs = [[row.route, row.phase, *(str(count or "") for count in row.by_state.values())] for row in state.jobs]
    best = [[macs_text(row.target), row.route, percent(row.val_top1), str(row.replicate)] for row in state.best]
    lines = [
        f"{state.study}: {_session_text(state.session, state.driver)}; jobs: {totals}",
        *_aligned(["route", "phase", *STATES], jobs),
        *_aligned(["route", "replicate", f"spent ({unit})", f"budget ({unit})"], _spend_rows(state)),
        *_aligned(["target MACs", "route", "best val", "replicate"], best),
    ]
    lines += [line for left in state.undelivered for line in ("", undelivered_sentence(left, state.unit))]
    lines += ["", *map(repeated_sentence, state.repeated)] if state.repeated else []
    lines += [f"warning: {warning}" for warning in caveat_sentences(state.caveats)]
    return "\n".join(line.rstrip() for line in lines)


def _spend_rows(state: StudyStatus) -> list[list[str]]:
    """What each route spent, what is charged to none, and the ledger's total; each further unit has rows of its own."""
    rows = [[row.route, str(row.replicate), number(row.spent_h), _budget_text(row)] for row in state.spend]
    rows += [[UNCHARGED[use], "", number(hours), ""] for use, hours in state.uncharged_h.items() if hours > 0]
    if rows:
        rows.append(["total", "", number(state.allocated_h.get(state.unit, 0.0)), ""])
    others = [(unit, hours) for unit, hours in state.allocated_h.items() if unit != state.unit]
    return rows + [[f"besides, in {unit_text(unit)}", "", number(hours), ""] for unit, hours in others]


def _session_text(session: Session | None, driver: Driver) -> str:
    where = f" ({driver.where})" if driver.where else ""
    if driver.life is Life.ALIVE:
        return f"running{where}"
    if session is None:
        return "never run"
    if session.closed:
        return f"stopped ({session.reason})"
    if driver.life is Life.UNKNOWN:
        return f"not closed; whether its driver{where} lives cannot be known on this host"
    return "not running: its driver ended without closing the session; the same `run` continues"


def _budget_text(row: Spend) -> str:
    if row.budget_h is None:
        return "no cap"
    return f"{number(row.budget_h)} ({100 * row.spent_h / row.budget_h:.0f} %)"


def _aligned(header: list[str], rows: list[list[str]]) -> list[str]:
    """An empty line, then rows with columns padded to their widest cell; nothing if there are no rows."""
    if not rows:
        return []
    return ["", *in_columns([header, *rows], len(header))]
