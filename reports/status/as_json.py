"""A study's status as JSON, as ``status --json`` prints it."""

from __future__ import annotations

from accounting.words.json_values import Fields
from reports.sentences.caveats import caveat_sentences
from reports.sentences.repeated import repeated_sentence
from reports.sentences.undelivered import undelivered_sentence
from reports.status.values import StudyStatus


def as_json(state: StudyStatus) -> Fields:
    """The whole status."""
    session, driver = state.session, state.driver
    return {
        "study": state.study,
        "rehearsal": state.is_rehearsal,
        "unit": str(state.unit),
        "session": None if session is None else {"closed": session.closed, "reason": session.reason},
        "driver": {"life": str(driver.life), "host": driver.host, "pid": driver.pid},
        "jobs": [{"route": row.route, "phase": row.phase, **row.by_state} for row in state.jobs],
        "totals": state.totals,
        "spend": [
            {"route": row.route, "replicate": row.replicate, "spent": row.spent_h, "budget": row.budget_h}
            for row in state.spend
        ],
        "uncharged": state.uncharged_h,
        "allocated": {str(unit): hours for unit, hours in state.allocated_h.items()},
        "best": [
            {"target": row.target, "route": row.route, "val_top1": row.val_top1, "replicate": row.replicate}
            for row in state.best
        ],
        "undelivered": [undelivered_sentence(left, state.unit) for left in state.undelivered],
        "repeated": [repeated_sentence(work) for work in state.repeated],
        "warnings": caveat_sentences(state.caveats),
    }
