"""What every reader of a study should know first, one sentence each."""

from __future__ import annotations

from accounting.audit.rules import rules_sentence
from accounting.cost.models import mixture
from accounting.cost.values import CostView
from accounting.ledger.store import Ledger
from accounting.study.facts import REHEARSAL, StudyFacts


def warning_sentences(info: StudyFacts, ledger: Ledger, view: CostView) -> tuple[str, ...]:
    """That it is a rehearsal, that GPUs of several models were held, damage of the ledger, and older cost rules."""
    damage = tuple(finding.message for finding in ledger.findings if finding.severity == "error")
    rules = rules_sentence(ledger.records, view)
    rehearsal = () if info.rehearsal is None else (REHEARSAL,)
    mixed = mixture(view)
    models = () if mixed is None else (f"{mixed}: their hours are added up here as they were held",)
    return (*rehearsal, *models, *ledger.warnings, *damage, *([rules] if rules else []))
