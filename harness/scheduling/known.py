"""What a resumed study knows from its ledger: outcomes that are not worked for again, and jobs that no budget paid for."""

from __future__ import annotations

from collections.abc import Sequence

from accounting.cost.attempts import derive
from accounting.ledger.packed import links_of
from accounting.ledger.records import Kind, Phase, Record
from accounting.ledger.specs import HalfName
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from harness.jobs.job import Job, Outcome
from harness.jobs.work import Score

CHOOSING: HalfName = "second"
"""The half of validation on which finalists are scored (:class:`harness.jobs.work.Score`)."""


def chooses(job: Job) -> bool:
    """Whether a job scores finalists, of which one is then trained."""
    return isinstance(job.work, Score) and job.work.half == CHOOSING


def stopped_before(records: Sequence[Record]) -> dict[str, float]:
    """Jobs that did not run because the budget did not pay for them, with that budget in device-hours."""
    return {record["job"]: float(record["budget_h"]) for record in records if record["kind"] == Kind.JOB_STOPPED}


def known_outcomes(paths: StudyFolder) -> dict[str, Outcome]:
    """Outcomes that a resumed study reuses: successes and permanent failures. Other failures are tried again.

    Failed candidates of a search and trials of a recipe are not tried again, because later proposals already depended on
    their failure. Scores that choose among finalists are: nothing followed from their failure.
    """
    records = read_ledger(paths.ledger).records
    candidates = {
        r["job"]
        for r in records
        if r["kind"] == Kind.ATTEMPT_STARTED
        and r["phase"] in (Phase.SEARCH, Phase.TUNE)
        and links_of(r["spec"]).get("score_half") != CHOOSING
    }
    known = {
        record["job"]: Outcome(ok=False, reason=record["reason"])
        for record in records
        if record["kind"] == Kind.JOB_ABANDONED and (record.get("final", True) or record["job"] in candidates)
    }
    done = {job.job: Outcome(ok=True, metrics=job.outcome) for job in derive(records).jobs if job.outcome is not None}
    return known | done
